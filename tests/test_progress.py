"""How far trainings are: few short lines on a terminal, one table in a notebook, nothing where nothing is trained."""

import re
import time
from functools import partial

import nbformat
import pytest
import torch
from commands import project_in

from ralkit.course import progress
from ralkit.course.execute import run_notebook
from ralkit.course.progress import Progress, Training, numbers_of
from ralkit.course.trainer import Fitting, Trainer
from ralkit.training import fit

CELL = """
from ralkit.course.progress import PROGRESS
for t, loss in enumerate((3.0, 2.0, 1.0)):
    history = {"step": [0, t], "seconds": [0.0, 0.1], "loss": [3.0, loss]}
    PROGRESS.point("A", 2, history)
PROGRESS.line("B of another process  1/4  7 s  loss 5 → 4\\n")
"""


def lines(shown, capsys):
    return capsys.readouterr().out.splitlines()


def history(t, *losses):
    return {"step": [0, t], "seconds": [0.0, 1.0], "loss": list(losses), "loss_se": [0.0]}


def test_a_terminal_is_told_where_trainings_begin_and_end(capsys):
    shown = Progress()
    for t in range(5):
        shown.point("A", 4, history(t, 3.0, 3.0 - t))
    shown.point("B", 4, history(4, 9.0))
    assert lines(shown, capsys) == [
        "A  0/4  1 s  loss 3 → 3", "A  4/4  1 s  loss 3 → -1", "B  4/4  1 s  loss 9",
    ]  # fmt: skip


def test_a_long_training_is_heard_of_now_and_then(capsys, monkeypatch):
    shown, now = Progress(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "Training", lambda *a: Training(*a, seen=now[0]))
    shown.point("A", 1000, history(0, 3.0))
    for t in range(1, 1000):
        now[0] += 0.1
        shown.step("A", t, 1000)
    told = lines(shown, capsys)
    assert len(told) == 5 and told[1].startswith("A  20")  # a hundred seconds, a line every twenty
    assert 20 <= int(told[1].split("  ")[2].removesuffix(" s")) <= 22  # the seconds go on between two points


def test_a_row_has_a_bar_and_the_time_left_until_it_is_done():
    assert Training("A", 5, 20, 10.0, "loss 3").cells() == ["A", "██········ 5/20", "10 s, 30 s left", "loss 3"]
    assert Training("A", 0, 20).cells() == ["A", "·········· 0/20", "0 s", ""]
    assert Training("A", 20, 20, 40.0, "loss 1").cells() == ["A", "20 steps", "40 s", "loss 1"]


def test_three_numbers_are_shown_and_no_standard_error():
    curve = {"step": [0, 1], "seconds": [0, 1], "a": [1.0, 2.0], "a_se": [1.0, 1.0], "b": [3.0], "c": [4.0], "d": [5.0]}
    assert numbers_of(curve) == "a 1 → 2, b 3, c 4"


@pytest.mark.parametrize("numbers", ["", "loss 3 → 1, AUC 0.5"])
def test_a_line_of_another_process_is_a_row_again(numbers):
    shown, row = Progress(), Training("RAL single 4x4 1 one level", 3, 9, 4.0, numbers)
    shown.line(row.line() + "\n")
    (again,) = shown.rows.values()
    assert (again.line(), again.cells()) == (row.line(), row.cells())


def test_other_lines_of_another_process_are_passed_on(capsys):
    Progress().line("A: continues at step 3 of 9\n")
    assert capsys.readouterr().out == "A: continues at step 3 of 9\n"


def _untimed(text):
    """Its lines, with no time of under ten seconds: a busy machine may take a second where a quiet one takes none."""
    return re.sub(r"\b\d s {2}", "0 s  ", text).splitlines()


def test_a_notebook_keeps_one_table_a_cell_and_its_terminal_gets_lines(tmp_path, capfd):
    source = project_in(tmp_path, CELL, "PROGRESS.point('C', 2, history)") / "notebooks/07_only.ipynb"
    run_notebook(source, tmp_path / "out.ipynb", {"seed": 1})
    *_, cell, other = nbformat.read(tmp_path / "out.ipynb", 4).cells
    (table,), (second,) = cell.outputs, other.outputs
    assert _untimed(table.data["text/plain"]) == [
        "A                     2 steps         0 s             loss 3 → 1",
        "B of another process  ██········ 1/4  7 s, 21 s left  loss 5 → 4",
    ]
    assert _untimed(second.data["text/plain"]) == ["C  2 steps  0 s  loss 3 → 1"]
    told = [line for line in _untimed(capfd.readouterr().out) if "loss" in line]
    assert told == [
        "A  0/2  0 s  loss 3 → 3", "A  2/2  0 s  loss 3 → 1", "C  2/2  0 s  loss 3 → 1",
    ]  # fmt: skip


def test_what_is_loaded_says_nothing(capsys, tmp_path):
    net = torch.nn.Linear(1, 1)
    train = partial(fit, parts={"net": net}, step=lambda t: {"loss": torch.tensor(1.0)}, steps=4)
    for said in (True, False):
        Trainer(tmp_path, torch.device("cpu"), 2, Fitting()).fit("stage", (), {"net": net}, 0, train)
        assert bool(capsys.readouterr().out) == said
