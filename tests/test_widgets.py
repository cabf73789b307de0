"""Explorers: the first picture at once, another when a control moves, a callback's error where the reader sees it."""

import re
from functools import partial

import pytest
import torch

from ralkit import training
from ralkit.course import plots, widgets
from ralkit.course.progress import PROGRESS
from ralkit.course.trainer import Fitting, Trainer


def draw(height=2, colour="red"):
    if height == 0:
        raise ValueError("nothing to draw")
    figure, ((ax,),) = plots.new_figure(size=(1, 1))
    ax.bar([0], [height], color=colour)
    ax.set_ylim(0, 5)
    return figure


def parts(box):
    *knobs, trouble, picture = box.children
    return {knob.description: knob for knob in knobs}, trouble, picture


def test_an_explorer_starts_at_the_defaults_and_follows_its_controls():
    knobs, trouble, picture = parts(widgets.explore(draw, height=(0, 4), colour=["blue", "red"]))
    assert (knobs["height"].value, knobs["colour"].value) == (2, "red")
    first = picture.value
    assert bytes(first) == widgets.png(draw()) and bytes(first[:4]) == b"\x89PNG"
    knobs["colour"].value = "blue"
    assert picture.value == widgets.png(draw(colour="blue")) != first
    assert trouble.value == ""


def test_an_error_in_a_callback_is_shown_and_the_next_picture_clears_it():
    knobs, trouble, picture = parts(widgets.explore(draw, height=(0, 4)))
    before = picture.value
    knobs["height"].value = 0
    assert "ValueError: nothing to draw" in trouble.value and picture.value == before
    knobs["height"].value = 3
    assert trouble.value == "" and picture.value != before


def test_an_error_in_the_first_picture_is_the_cell_s():
    with pytest.raises(ValueError, match="nothing to draw"):
        widgets.explore(lambda height: draw(height), height=(0, 0))


def test_a_mask_is_drawn_with_buttons():
    def draw(keep):
        return plots.value_maps({"keep": keep.float()})

    start = torch.tensor([[True, True, False], [True, False, False]])
    box = widgets.explore(lambda keep=start: draw(keep), keep=widgets.Mask(start))
    mask, _, picture = box.children
    assert [b.value for b in mask.children] == [False, False, True, False, True, True]  # pressed: hidden
    before = picture.value
    mask.children[0].value = True
    assert mask.value.tolist() == [[False, True, False], [True, False, False]]
    assert picture.value == widgets.png(draw(mask.value)) != before


def test_curves_are_drawn_while_a_stage_trains(monkeypatch, tmp_path, capsys):
    shown = []
    monkeypatch.setattr(widgets, "display", shown.append)
    values = iter(range(10))
    net = torch.nn.Linear(1, 1)
    seen = []
    trainer = Trainer(tmp_path, torch.device("cpu"), 2, Fitting())
    train = partial(
        training.fit, parts={"net": net}, step=lambda t: {}, steps=4,
        evaluate=lambda: seen.append([p.value for p in shown]) or {"loss": float(next(values))},
    )  # fmt: skip
    with widgets.live(trainer):
        trainer.fit("stage", (), {"net": net}, 0, train)
    (picture,) = shown
    assert bytes(picture.value[:4]) == b"\x89PNG"
    assert seen[0] == [] and seen[1] != seen[2] != [picture.value]
    assert re.search(r"^stage  4/4  \d+ s  loss 0 → 2$", capsys.readouterr().out, re.M)  # told, as without pictures
    assert trainer.on_point == PROGRESS.point
