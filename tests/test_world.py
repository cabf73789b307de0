"""The world of images and the studies in it, at smoke size: one and two levels, measuring, completion, slips."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ralkit.course.study import Study
from ralkit.course.world import Splits, World
from ralkit.errors import RalkitError
from ralkit.vqvae import VQVAE2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(params=[1, 2], ids=["one level", "two levels"])
def study(request, folder):
    return Study(World("smoke", seed=1, root=folder, levels=request.param))


def test_codes_and_images(study):
    world = study.world
    codes, images = world.codes["test"], world.images.test
    shapes = [(8, 8)] if world.levels == 1 else [(8, 8), (16, 16)]
    assert [tuple(c.shape[1:]) for c in codes] == world.shapes == shapes
    assert isinstance(world.vqvae, VQVAE2) == (world.levels == 2)
    assert world.decode(*codes).shape == images.shape
    train = world.codes["train"]
    assert all(c.dtype == torch.int16 for c in train)
    for c, encoded in zip(train, world.encode(world.images.train), strict=True):
        assert torch.equal(c.long(), encoded)


def test_a_split_is_made_when_it_is_asked_for():
    made = []
    splits = Splits(lambda split: made.append(split) or split.upper())
    assert splits["test"] == splits["test"] == "TEST" and made == ["test"]
    assert dict(splits) == {"train": "TRAIN", "test": "TEST"} and made == ["test", "train"]
    with pytest.raises(KeyError):
        splits["valid"]


@pytest.mark.parametrize("method", ["MLE", "MLE continued", "RAL intermediate", "RAL partial"])
def test_a_run_is_measured_and_loaded_again(study, method):
    row = study.measure(method, 1)
    assert {"FD-faces to real", "FD-faces to reconstructed", "precision", "coverage", "NLL_test"} <= set(row)
    assert all(abs(v) < float("inf") for v in row.values())
    again = Study(World("smoke", seed=1, root=study.world.project.root, levels=study.world.levels))
    assert again.measure(method, 1) == row
    assert all((a == b).all() for p, q in zip(study.generator(method, 1), again.generator(method, 1), strict=True)
               for a, b in zip(p.parameters(), q.parameters(), strict=True))  # fmt: skip


def test_nll_of_both_levels_is_that_of_the_pair(study):
    priors, codes = study.generator("MLE", 1), tuple(c[:20] for c in study.world.codes["test"])
    with torch.no_grad():
        total = priors[0].log_prob(codes[0]).sum()
        if len(priors) == 2:
            total += priors[1].log_prob(codes[1], codes[0]).sum()
    assert study.world.nll(priors, codes) == pytest.approx(-total.item() / 20, rel=1e-5)


def test_only_the_level_that_learns_is_moved(folder):
    study = Study(World("smoke", seed=1, root=folder, levels=2))
    before = study.generator("MLE", 1)
    for run, moved in (("RAL top", [True, False]), ("RAL bottom", [False, True]), ("RAL intermediate", [True, True])):
        after = study.generator(run, 1)
        changed = [any((a != b).any() for a, b in zip(p.parameters(), q.parameters(), strict=True))
                   for p, q in zip(before, after, strict=True)]  # fmt: skip
        assert changed == moved, run


def test_what_a_run_of_ral_shows_on_its_way(study):
    history = study.history("RAL intermediate", 1)
    signals = {"SNR"} if study.world.levels == 1 else {"SNR top", "SNR bottom"}
    assert {"FD-faces", "NLL_test", "AUC", "gap", "critic_loss", "prior_loss"} | signals <= set(history)
    assert history["step"][-1] == study.world.config.ral.updates


def test_floors_and_completion(study):
    assert study.world.floors["reconstructions, other ones"]["FD-faces to reconstructed"] >= 0
    whole = study.measure_completion("MLE", 1, study.world.shapes[0][0])
    assert whole["FD-faces"] == pytest.approx(0, abs=1e-3)  # all rows given: the reconstructions themselves
    assert 0 <= study.measure_completion("MLE", 1, 2)["factors kept"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(levels=3), "1 or 2 levels of codes, not 3"),
        (dict(features="inception:many"), "after the colon stands a tap"),
        (dict(features="inception:767"), "after the colon stands a tap"),
        (dict(features="nowhere.pth:768"), r"nowhere\.pth.*: no such file"),
        (dict(features="nope"), "no such file; give faces, inception, or a file"),
    ],
)
def test_bad_arguments_are_said_before_anything_is_trained(folder, options, message):
    with pytest.raises(RalkitError, match=message):
        World("smoke", seed=1, root=folder, **options)


WEIGHTS = Path(__file__).parents[2] / "shared/weights/inception-2015-12-05-to-mixed_7a.pth"


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no Inception weights beside the project")
def test_weights_in_the_data_folder_are_found_for_real_images_and_name_the_metric(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / WEIGHTS.name).symlink_to(WEIGHTS)
    assert World("smoke", "some/folder", root=tmp_path).metric == "FID-768"
    assert World("smoke", "faces", root=tmp_path).metric == "FD-faces"
    assert World("smoke", "some/folder", root=tmp_path / "elsewhere").metric == "FD-faces"
    with pytest.raises(RalkitError, match="holds the network up to tap 768; ask for"):
        World("smoke", root=tmp_path, features=str(WEIGHTS))


def test_a_small_data_set_is_compared_with_as_many_samples(tmp_path, smoke):
    few = replace(smoke, images=replace(smoke.images, n_train=50, n_test=20, n_eval=64))
    world = World(few, root=tmp_path, levels=1)
    before = world.config
    assert (len(world.images.test), world.n_eval) == (20, 20)
    assert world.config == before  # reading the images changes no configuration
