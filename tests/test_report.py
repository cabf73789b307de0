"""The report: claims are judged by their noise, nothing is lost silently, the README says what the last run said."""

import json
import os
import re
from pathlib import Path

import pytest

from ralkit.course import claims, paper, report, significance
from ralkit.course.record import read_minutes
from ralkit.errors import RalkitError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("change", "noise", "holds"),
    [(-2.0, 1.0, "yes"), (2.0, 1.0, "no"), (-0.5, 1.0, "not decided"), (-5.0, float("inf"), "not decided")],
)
def test_a_claim_is_judged_by_its_noise(change, noise, holds):
    assert claims.claim("lower", "1", "2", change, noise)["holds here"].startswith(holds)


def test_a_spread_is_that_of_one_seed():
    assert significance.spread([1.0, 2.0, 3.0]) == "2 ± 1"
    assert significance.spread([-1.0, -3.0], "+.2f") == "-2.00 ± 1.4"
    assert significance.spread([0.99] * 3) == "0.99 ± 0"


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ([-1.0, -1.1, -0.9], -1),  # noise 4.30 x .1 / sqrt 3
        ([1.0, 1.1, 0.9], 1),
        ([-0.1, -3.0, -0.2], 0),  # all of one sign, and yet
        ([1.0], 0),
        ([1.0, float("nan"), 1.0], 0),
    ],
)
def test_a_direction_is_beyond_chance(changes, sign):
    assert significance.direction(changes) == sign


@pytest.mark.parametrize(
    ("x", "y", "beyond"),
    [
        (2.0, 5.0, 5 - 6.0),  # between the points (1, 8) and (3, 4)
        (0.5, 7.0, 7 - 8.0),  # left of all and lower: against the first point
        (0.5, 9.0, None),  # left, and higher
        (3.5, 1.0, None),
    ],
)
def test_a_row_beside_a_curve(x, y, beyond):
    curve = [{"temperature": 1.0, "x": 1.0, "y": 8.0}, {"temperature": 0.5, "x": 3.0, "y": 4.0}]
    assert significance.beyond(curve, {"x": x, "y": y}, "x", "y") == pytest.approx(beyond or float("nan"), nan_ok=True)


def test_a_row_of_the_curve_itself_lies_on_it():
    """Also between its temperatures, where it is steep: at .93 the straight line from .9 to .95 is .46 above it."""

    def at(T):  # x is least at .95, as a model's NLL_test can be
        return {"temperature": T, "x": 150 + 100 * (T - 0.95) ** 2, "y": 20 * T**2}

    curve = [at(T) for T in (0.9, 0.5, 0.7, 0.8, 0.95, 1.0)]
    for T in (0.55, 0.84, 0.93, 0.949):
        assert significance.beyond(curve, at(T), "x", "y") == pytest.approx(0, abs=0.02)
    assert significance.beyond(curve, at(1.0), "x", "y") == pytest.approx(at(1.0)["y"] - at(0.9)["y"], abs=0.02)
    assert significance.beyond(curve, at(1.0) | {"y": 15.0}, "x", "y") == pytest.approx(15 - at(0.9)["y"], abs=0.02)


def test_what_is_missing_is_named_with_its_notebook(tmp_path):
    assert report.missing(tmp_path) == list(paper.ITEMS)
    rows = report.index(tmp_path)
    assert [row["the paper's"] for row in rows] == [item.name for item in paper.ITEMS]
    assert all(row["ours"] == f"missing: run notebook {row['notebook'][:2]}" for row in rows)


ORIGIN = {"commit": "abc", "seconds": 1.0, "preset": "smoke", "seeds": [1], "device": "a CPU", "versions": {}}
WHOLE = {"kind": "table", "title": "A title", "note": "", "paper": None, "rows": [{"x": 1.5, "y": "a|b"}]}
WHOLE |= {"origin": ORIGIN | {"dataset": {"name": "faces"}}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        json.dumps(WHOLE).encode()[:-20],
        b"\xff\xfe",
        b"[1]",
        b"{}",
        json.dumps(WHOLE | {"rows": []}).encode(),
        json.dumps(WHOLE | {"origin": ORIGIN}).encode(),
        json.dumps(WHOLE | {"origin": "home"}).encode(),
    ],
)
def test_a_damaged_table_is_named_and_counted_as_missing(tmp_path, content):
    (tmp_path / "table-1.json").write_bytes(content)
    (tmp_path / "table-2.json").write_text(json.dumps(WHOLE))
    assert report.damaged(tmp_path) == [tmp_path / "table-1.json"]
    assert list(report.saved(tmp_path)) == ["table-2"]
    assert "table-1" in [item.file for item in report.missing(tmp_path)]
    text = report.write_report(tmp_path, {"03_oracle": 2.0}).read_text()
    assert "## A title\n" in text and "\n| x | y |\n| --- | --- |\n| 1.5 | a\\|b |\n" in text
    assert "missing: run notebook 03" in text


def test_every_figure_and_table_of_the_folder_is_linked(tmp_path):
    folder = ROOT / "figures/deep"
    text = (folder / "REPORT.md").read_text()
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    for name in report.saved(folder):
        shown = {f"{name}.png", f"{name}.md"}
        assert links & shown, name
    assert all((folder / link).exists() for link in links)


def test_the_report_says_what_the_committed_run_says(tmp_path):
    folder = ROOT / "figures/deep"
    for file in [*folder.glob("*.json"), *folder.glob("*.png")]:
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "trade-off.png").unlink()
    minutes = read_minutes(folder / "minutes.json")["minutes"]
    assert report.write_report(tmp_path, minutes).read_text() == (folder / "REPORT.md").read_text()


def test_the_report_is_two_pages_before_its_index():
    head, found, _ = (
        (ROOT / "figures/deep/REPORT.md").read_text().partition("## The paper's tables and figures, and ours")
    )
    assert found and len(head.splitlines()) < 140 and head.count("![") == 1


def test_the_first_screen_of_the_readme_is_short():
    head, found, _ = (ROOT / "README.md").read_text().partition("\n| ")
    assert found and len(head.split()) <= 400
    assert head.index("<!-- time -->") < head.index("    make reproduce")
    for link in re.findall(r"\]\(([^)#]+)", head):
        assert (ROOT / link).exists(), link


def test_a_report_of_nothing(tmp_path):
    text = report.write_report(tmp_path, {}).read_text()
    assert "missing: run notebook 03" in text and "Does RAL help" not in text and "![" not in text
    assert report.readme_parts(tmp_path)["results"].startswith("What came out is in")


def test_a_readme_without_minutes(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/minutes.json").write_text('{"device": "a CPU", "minu')
    assert report.readme_parts(tmp_path)["time"] == "No run has been timed yet."


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("00_a", "02_c"), "the notebooks 00, 02 take 3.0 minutes"),
        ([f"{n:02}_a" for n in range(10)], "all notebooks take 55.0 minutes"),
        ([*(f"{n:02}_a" for n in range(10)), "11_b", "training"], "all notebooks take 78.0 minutes"),
    ],
)
def test_readme_names_the_notebooks_that_were_timed(tmp_path, names, said):
    took = {"device": "a CPU", "minutes": {}, "pretrained minutes": {name: 1.0 + i for i, name in enumerate(names)}}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/minutes.json").write_text(json.dumps(took))
    assert said in report.readme_parts(tmp_path)["time"]


def test_readme_says_what_runs_side_by_side_took_in_all(tmp_path):
    for preset, kind in (("deep", "pretrained minutes"), ("quick", "minutes")):
        (tmp_path / preset).mkdir()
        minutes = {"03_oracle": 4.0, "04_ral": 5.0, "everything": 5.5}
        took = {"device": f"{preset}'s CPU", "minutes": {}} | {kind: minutes}
        (tmp_path / preset / "minutes.json").write_text(json.dumps(took))
    assert report.readme_parts(tmp_path)["time"] == (
        "With the pretrained weights, the notebooks 03, 04 take 5.5 minutes on deep's CPU. `make "
        "reproduce` trains everything, shorter, in 6 minutes on quick's CPU."
    )


def test_a_whole_run_leaves_only_its_own(tmp_path):
    for name in ("old.json", "old.png", "new.json", "new.md", "minutes.json"):
        (tmp_path / name).write_text("{}")
    for name in ("old.json", "minutes.json"):
        os.utime(tmp_path / name, (1000, 1000))
    report.forget(tmp_path, 2000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["minutes.json", "new.json", "new.md"]


def test_every_item_has_a_notebook_and_a_function():
    for item in paper.ITEMS:
        assert (ROOT / f"notebooks/{item.notebook}.ipynb").exists()
        module, *names = item.function.split(".")
        found = __import__(f"ralkit.{module}", fromlist=[names[0]])
        for name in names:
            found = getattr(found, name)


def test_the_readme_says_what_the_committed_run_says():
    parts = report.readme_parts(ROOT / "figures")
    assert report.update_readme(ROOT / "README.md", parts) == (ROOT / "README.md").read_text()


def test_no_item_of_the_paper_is_missing_from_the_committed_run():
    assert report.missing(ROOT / "figures/deep") == []


def test_a_readme_without_its_place(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(RalkitError, match="no place <!-- time -->"):
        report.update_readme(readme, {"time": "x"})
    assert readme.read_text() == "nothing"
