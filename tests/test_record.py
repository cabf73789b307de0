"""Figures and tables with their origin; the folders of a run; minutes that can be read or not."""

import pytest

from ralkit.course.oracle import OracleWorld
from ralkit.course.plots import new_figure
from ralkit.course.record import Record, markdown_table, read_minutes
from ralkit.course.report import write_report
from ralkit.course.saved import saved

NO_MINUTES = {"device": "", "minutes": {}, "pretrained minutes": {}}


def test_figures_tables_and_report(tiny, tmp_path):
    record = Record(OracleWorld(tiny, root=tmp_path))
    figure, ((ax,),) = new_figure()
    ax.plot([0, 1])
    record.figure("figure-4", figure, "Fig. 4", data={"x": [1]})
    rows = [{"method": "MLE", "NLL": 1.23456}]
    record.table("table-1", rows, "Table 1", note="So it is.", paper=[{"method": "MLE", "NLL": 7.55}])
    origin = saved(record.figures)["table-1"]["origin"]
    assert origin["preset"] == "smoke" and origin["world"] == "oracle world" and origin["features"] == "FD-faces"
    assert origin["configuration"]["ral"]["rollouts"] == tiny.ral.rollouts
    assert origin["fitting"]["bf16"] is False
    assert origin["dataset"]["train"] == 64
    assert (record.figures / "table-1.csv").read_text() == "method,NLL\nMLE,1.23456\n"
    report = write_report(record.figures, {"03_oracle": 1.25}).read_text()
    for part in (
        "## Table 1",
        "| MLE | 1.235 |",
        "| MLE | 7.55 |",
        "So it is.",
        "![Fig. 4](figure-4.png)",
        "03_oracle",
    ):
        assert part in report


def test_other_peoples_pictures_stay_out_of_the_committed_folder(tiny, tmp_path):
    assert OracleWorld(tiny, "some/celeba.zip", root=tmp_path).project.figures == tmp_path / "runs/smoke-celeba/figures"
    assert OracleWorld(tiny, root=tmp_path).project.figures == tmp_path / "figures/smoke"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"device": 1}', '{"device": "x", "minutes": {"00": "y"}}', "\x00"])
def test_minutes_that_cannot_be_read_are_none(tmp_path, content):
    file = tmp_path / "figures" / "quick" / "minutes.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert read_minutes(file) == NO_MINUTES
    assert read_minutes(tmp_path / "none") == NO_MINUTES


def test_what_a_notebook_took_is_said(tiny, tmp_path):
    for preset, content in (("quick", '{"device": "a CPU", "minutes": {"03_oracle": 2.04}}'), ("gpu", "{")):
        (tmp_path / "figures" / preset).mkdir(parents=True)
        (tmp_path / "figures" / preset / "minutes.json").write_text(content)
    record = Record(OracleWorld(tiny, root=tmp_path))
    assert record.about("03_oracle").endswith("this one took 2.0 minutes with quick on a CPU.")
    assert record.about("04_ral").endswith("The networks are trained here.")  # no time is recorded


def test_minutes_with_pretrained_worlds_are_told_apart(tiny, tmp_path):
    file = tmp_path / "figures" / "quick" / "minutes.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"device": "a CPU", "minutes": {"03_oracle": 9}, "pretrained minutes": {"03_oracle": 1.5}}')
    assert read_minutes(file)["minutes"] == {"03_oracle": 9.0}
    about = Record(OracleWorld(tiny, root=tmp_path)).about("03_oracle")
    assert about.endswith("took 9.0 minutes with quick on a CPU; 1.5 minutes with quick, pretrained, on a CPU.")


def test_markdown_table():
    assert markdown_table([{"a": 1, "b": 0.123456}]) == "| a | b |\n| --- | --- |\n| 1 | 0.1235 |"
    rounded = markdown_table([{"a": 128 - 2**-46, "b": 7.0, "c": "x|y"}])  # an exponential that should be 128
    assert rounded.endswith("| 128.0 | 7.0 | x\\|y |")


def test_a_figure_is_recorded_without_drawing_the_faces(tiny, tmp_path, monkeypatch):
    """Else the first figure of a notebook that needs no images would wait for all of them."""
    monkeypatch.setattr("ralkit.course.data.faces_module.faces", lambda *_, **__: pytest.fail("drawn"))
    world = OracleWorld(tiny, root=tmp_path)
    assert Record(world).origin()["dataset"] == {"name": "faces", "size": 32, "train": 64, "test": 64}
