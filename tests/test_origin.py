"""One origin a folder: each figure keeps what differs, reading joins both, and nothing is guessed when it is lost."""

import json

import pytest

from ralkit.course import origin, report, saved
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record

ROWS = [{"method": "MLE", "NLL": 1.5}]


@pytest.fixture
def record(tiny, tmp_path):
    record = Record(OracleWorld(tiny, root=tmp_path))
    for name in ("table-1", "table-2"):
        record.table(name, ROWS, f"Of {name}")
    return record


def written(record, name):
    return json.loads((record.figures / f"{name}.json").read_text())["origin"]


def test_what_all_share_is_written_once_and_joined(record):
    assert written(record, "table-1").keys() == {"seconds", "commit", "shared"}
    whole = json.loads(json.dumps(record.origin()))
    for about in saved.saved(record.figures).values():
        assert about["origin"] | {"seconds": 0} == whole | {"seconds": 0}


def test_another_world_keeps_what_differs_of_it(record, monkeypatch):
    other = record.origin()
    other["configuration"] = other["configuration"] | {"size": 99, "vqvae": other["configuration"]["vqvae"] | {"K": 7}}
    monkeypatch.setattr(record, "origin", lambda: other)
    record.table("table-3a", ROWS, "Of another world")
    assert written(record, "table-3a")["configuration"] == {"size": 99, "vqvae": {"K": 7}}
    assert saved.saved(record.figures)["table-3a"]["origin"] == json.loads(json.dumps(other))


def test_what_an_origin_lacks_is_not_taken_from_the_shared_one():
    of_all, without = {"a": 1, "b": {"c": 1, "d": 2}}, {"a": 1, "b": {"c": 1}}
    assert origin.without_shared(without, of_all) == without
    assert origin.whole(without, of_all) == without


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff", b'{"preset": "another"}'])
def test_a_lost_origin_is_named_and_its_figures_stay(record, content):
    file = record.figures / "origin.json"
    file.unlink() if content is None else file.write_bytes(content)
    assert report.damaged(record.figures) == [file]
    items = report.saved(record.figures)
    assert list(items) == ["table-1", "table-2"]
    assert items["table-1"]["origin"]["device"] == "unknown" and items["table-1"]["rows"] == ROWS
    text = report.write_report(record.figures, {}).read_text()
    (sentence,) = (line for line in text.splitlines() if "origin.json" in line)
    assert "run" in sentence


def test_the_next_figure_heals_a_lost_origin_of_the_same_run(record):
    (record.figures / "origin.json").write_text("{")
    record.table("table-3a", ROWS, "Of the same run")
    assert report.damaged(record.figures) == []


def test_a_whole_run_shares_what_most_of_its_figures_have(record, monkeypatch):
    moved = record.origin() | {"device": "another machine"}
    monkeypatch.setattr(record, "origin", lambda: moved)
    for name in ("figure-a", "figure-b", "figure-c"):
        record.table(name, ROWS, "Of another machine")
    before = saved.saved(record.figures)
    assert written(record, "figure-a")["device"] == "another machine"
    saved.share(record.figures)
    assert saved.saved(record.figures) == before
    assert origin.shared(record.figures)["device"] == "another machine"
    assert "device" not in written(record, "figure-a") and "device" in written(record, "table-1")


def test_sharing_that_is_killed_half_way_loses_nothing(record, monkeypatch):
    moved = record.origin() | {"device": "another machine"}
    monkeypatch.setattr(record, "origin", lambda: moved)
    for name in ("figure-a", "figure-b", "figure-c"):
        record.table(name, ROWS, "Of another machine")
    before, write, left = saved.saved(record.figures), saved.store.write_bytes, [0]

    def killed(path, content):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(saved.store, "write_bytes", killed)
    for writes in range(12):  # five whole, origin.json, five short: the last is not killed
        left[0] = writes
        try:
            saved.share(record.figures)
        except KeyboardInterrupt:
            assert saved.saved(record.figures) == before
    assert saved.saved(record.figures) == before and report.damaged(record.figures) == []


def test_a_table_is_a_page_of_its_own(record):
    record.table("table-1", ROWS, "Table 1", note="So it is.", paper=[{"method": "MLE", "NLL": 7.55}])
    page = (record.figures / "table-1.md").read_text()
    ours, theirs = "| method | NLL |\n| --- | --- |\n| MLE | 1.5 |", "| method | NLL |\n| --- | --- |\n| MLE | 7.55 |"
    assert page == f"# Table 1\n\n{ours}\n\nThe paper's:\n\n{theirs}\n\nSo it is.\n"
