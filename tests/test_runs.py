"""The runs by name: each a recipe of its own, what is taken back is as the preset has it, slips are named."""

from dataclasses import asdict, replace

import pytest

from ralkit.course import runs
from ralkit.course.presets import get_preset
from ralkit.course.runs import RUNS, canonical, control, recipe
from ralkit.errors import RalkitError


@pytest.mark.parametrize("name", ["quick", "deep", "gpu"])
def test_every_run_is_a_recipe_of_its_own(name):
    world = get_preset(name).world()
    cfg = world.ral
    recipes = {run: recipe(run, cfg, world.size) for run in RUNS}
    assert all(r.rollouts >= 2 for r in recipes.values())
    assert [run for run, r in recipes.items() if r == cfg and "x" not in run] == [f"RAL {cfg.reward}"]
    fields = lambda run: asdict(recipes[run]).items()  # noqa: E731
    for run in (run for run in RUNS if run.endswith("taken back")):
        keys = {k for k, _ in fields("RAL anchored") - fields(run)}
        assert keys == set(run.removesuffix(" taken back").split(", ")[1].split(" and "))
        assert all(getattr(recipes[run], key) == getattr(cfg, key) for key in keys)


@pytest.mark.parametrize("levels", [1, 2])
def test_recipes_on_images(levels):
    world = get_preset("deep").world(levels)
    ral, size = world.ral, world.size
    assert recipe("RAL partial", ral, size) == replace(ral, partial=True, updates=2 * ral.updates)
    for n in (8, 2):
        cfg = recipe(f"RAL single {n}x{n}", ral, size)
        assert size / 2**cfg.critic_stages == n and cfg.reward == "single"
    patches = recipe("RAL patches single", ral, size)
    assert (5 * 2**patches.critic_stages - 2) / size == pytest.approx(1 / 3, abs=0.06)  # what a score sees of a side
    assert patches.critic_norm == "channel"
    # No two runs are the same but those whose score map is the preset's own: they are the default runs.
    assert len({recipe(run, ral, size) for run in RUNS}) == len(RUNS) - 2
    n = size // 2**ral.critic_stages
    assert canonical(f"RAL single {n}x{n}", ral, size) == "RAL single"
    assert canonical(f"RAL intermediate {n}x{n}", ral, size) == "RAL intermediate"
    assert canonical("RAL top", ral, size) == "RAL top" and canonical("MLE", ral, size) == "MLE"


def test_the_control_has_ral_s_batch_for_as_long_and_no_dropout():
    world = get_preset("paper-128").world(2)
    cfg = control(world.priors[0], world.ral)
    assert world.priors[0].dropout > 0
    assert (cfg.steps, cfg.batch, cfg.lr, cfg.dropout) == (
        3 * world.ral.updates, world.ral.rollouts, world.ral.lr_prior, 0.0,
    )  # fmt: skip


def test_an_unknown_run_is_named_with_those_there_are():
    ral = get_preset("quick").world().ral
    with pytest.raises(RalkitError, match="unknown method 'GAN'; there are: MLE, MLE continued, RAL single,"):
        recipe("GAN", ral, 32)
    assert runs.METHODS[:2] == runs.MLE


def test_the_control_s_steps_are_counted_in_ral_s_updates():
    history = {"step": [0, 15, 30], "NLL_test": [3.0, 2.0, 1.0]}
    assert runs.in_updates("MLE continued", history) == history | {"step": [0, 5, 10]}
    assert runs.in_updates("RAL single", history) == history
