"""RAL on images, at smoke size: names and recipes of the runs, one and two levels, measuring, completion."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ralkit.course.experiment import train_together
from ralkit.course.images import RUNS, ImageExperiment
from ralkit.course.presets import get_preset
from ralkit.errors import RalkitError
from ralkit.vqvae import VQVAE2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(params=[1, 2], ids=["one level", "two levels"])
def exp(request, folder):
    return ImageExperiment("smoke", seed=1, root=folder, levels=request.param)


def test_codes_and_images(exp):
    codes, images = exp.codes["test"], exp.images.test
    assert [tuple(c.shape[1:]) for c in codes] == exp.shapes == ([(8, 8)] if exp.levels == 1 else [(8, 8), (16, 16)])
    assert isinstance(exp.vqvae, VQVAE2) == (exp.levels == 2)
    assert exp.decode(*codes).shape == images.shape
    train = exp.codes["train"]
    assert all(c.dtype == torch.int16 for c in train)
    for c, encoded in zip(train, exp.encode(exp.images.train), strict=True):
        assert torch.equal(c.long(), encoded)


@pytest.mark.parametrize("method", ["MLE", "MLE continued", "RAL intermediate", "RAL partial"])
def test_a_run_is_measured_and_loaded_again(exp, method):
    row = exp.measure(method, 1)
    assert {"FD-faces to real", "FD-faces to reconstructed", "precision", "coverage", "NLL_test"} <= set(row)
    assert all(abs(v) < float("inf") for v in row.values())
    again = ImageExperiment("smoke", seed=1, root=exp.root, levels=exp.levels)
    assert again.measure(method, 1) == row
    assert all((a == b).all() for p, q in zip(exp.generator(method, 1), again.generator(method, 1), strict=True)
               for a, b in zip(p.parameters(), q.parameters(), strict=True))  # fmt: skip


def test_nll_of_both_levels_is_that_of_the_pair(exp):
    priors, codes = exp.generator("MLE", 1), tuple(c[:20] for c in exp.codes["test"])
    with torch.no_grad():
        total = priors[0].log_prob(codes[0]).sum()
        if exp.levels == 2:
            total += priors[1].log_prob(codes[1], codes[0]).sum()
    assert exp.nll(priors, codes) == pytest.approx(-total.item() / 20, rel=1e-5)


def test_only_the_level_that_learns_is_moved(folder):
    exp = ImageExperiment("smoke", seed=1, root=folder, levels=2)
    before = exp.generator("MLE", 1)
    for run, moved in (("RAL top", [True, False]), ("RAL bottom", [False, True]), ("RAL intermediate", [True, True])):
        after = exp.generator(run, 1)
        changed = [any((a != b).any() for a, b in zip(p.parameters(), q.parameters(), strict=True))
                   for p, q in zip(before, after, strict=True)]  # fmt: skip
        assert changed == moved, run


def test_recipes(exp):
    ral = exp.config.ral
    control = exp._recipe("MLE continued")
    assert (control.steps, control.batch, control.lr) == (ral.updates, ral.rollouts, ral.lr_prior)
    assert exp._recipe("RAL partial") == replace(ral, partial=True, updates=2 * ral.updates)
    for n in (8, 2):
        cfg = exp._recipe(f"RAL single {n}x{n}")
        assert exp.preset.size / 2**cfg.critic_stages == n and cfg.reward == "single"
    # No two runs are the same but those whose score map is the preset's own: they are the default runs.
    assert len({exp._recipe(run) for run in RUNS}) == len(RUNS) - 2
    n = exp.preset.size // 2**ral.critic_stages
    assert exp.canonical(f"RAL single {n}x{n}") == "RAL single"
    assert exp.canonical(f"RAL intermediate {n}x{n}") == "RAL intermediate"
    assert exp.canonical("RAL top") == "RAL top" and exp.canonical("MLE") == "MLE"


def test_floors_and_completion(exp):
    assert exp.floors["reconstructions, other ones"]["FD-faces to reconstructed"] >= 0
    whole = exp.measure_completion("MLE", 1, exp.shapes[0][0])
    assert whole["FD-faces"] == pytest.approx(0, abs=1e-3)  # all rows given: the reconstructions themselves
    assert 0 <= exp.measure_completion("MLE", 1, 2)["factors kept"] <= 1


@pytest.mark.skipif(torch.cuda.is_available() or os.cpu_count() == 1, reason="trained one after the other here")
def test_runs_side_by_side_are_found_by_the_process_that_asked(tmp_path, monkeypatch):
    """Other processes train both runs; this one only loads them, each moved away from MLE in its own direction."""
    exp = ImageExperiment("smoke", seed=1, root=tmp_path, levels=1)
    exp.generator("MLE", 1)
    monkeypatch.setattr("ralkit.course.images.train_ral", lambda *_, **__: pytest.fail("trained in this process"))
    other = ImageExperiment("smoke", seed=1, root=tmp_path, levels=2)
    other.generator("MLE", 1)
    train_together((exp, ("MLE", "RAL single", "RAL intermediate"), (1,)), (other, ("RAL top",), (1,)))
    assert "RAL top 2 1" in other.histories
    weights = [
        torch.nn.utils.parameters_to_vector(exp.generator(m, 1)[0].parameters())
        for m in ("MLE", "RAL single", "RAL intermediate")
    ]
    assert all((a != b).any() for a, b in ((weights[0], weights[1]), (weights[0], weights[2]), weights[1:]))
    assert all(
        exp.histories[f"{m} 1 1"]["step"][-1] == exp.config.ral.updates for m in ("RAL single", "RAL intermediate")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(levels=3), "1 or 2 levels of codes, not 3"),
        (dict(features="inception:many"), "after the colon stands a tap"),
        (dict(features="nowhere.pth:768"), "nowhere.pth"),
    ],
)
def test_bad_arguments(folder, options, message):
    with pytest.raises(RalkitError, match=message):
        _ = ImageExperiment("smoke", seed=1, root=folder, **options).feature_net


WEIGHTS = Path(__file__).parents[2] / "shared/weights/inception-2015-12-05-to-mixed_7a.pth"


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no Inception weights beside the project")
def test_weights_in_the_data_folder_are_found_for_real_images_and_name_the_metric(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / WEIGHTS.name).symlink_to(WEIGHTS)
    assert ImageExperiment("smoke", "some/folder", root=tmp_path).metric == "FID-768"
    assert ImageExperiment("smoke", "faces", root=tmp_path).metric == "FD-faces"
    assert ImageExperiment("smoke", "some/folder", root=tmp_path / "elsewhere").metric == "FD-faces"


def test_a_small_data_set_is_compared_with_as_many_samples(tmp_path, smoke):
    few = replace(smoke, images=replace(smoke.images, n_train=50, n_test=20, n_eval=64))
    exp = ImageExperiment(few, root=tmp_path, levels=1)
    assert (len(exp.images.test), exp.preset.n_eval) == (20, 20)


def test_unknown_runs_are_named(folder):
    with pytest.raises(RalkitError, match="unknown run 'RAL best'"):
        ImageExperiment(get_preset("smoke"), seed=1, root=folder).generator("RAL best", 1)
