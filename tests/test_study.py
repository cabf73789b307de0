"""The studies, at smoke size: the same numbers from the same seed, keys that follow what makes a thing, one warm-up."""

from dataclasses import replace

import pytest
import torch

from ralkit import ral
from ralkit.course.oracle import OracleWorld
from ralkit.course.runs import METHODS
from ralkit.course.study import Study, rejection_threshold
from ralkit.course.trainer import Fitting
from ralkit.course.world import World
from ralkit.errors import RalkitError


def oracle_study(preset, root, seed=4, **options):
    return Study(OracleWorld(preset, seed=seed, root=root, **options))


def weights(priors):
    return torch.cat([p.flatten() for prior in priors for p in prior.parameters()])


def test_two_runs_give_the_same_numbers(tiny, tmp_path):
    numbers = []
    for name in ("a", "b"):
        study = oracle_study(tiny, tmp_path / name)
        row = {m: study.measure(m, 4) for m in METHODS}
        curves = {k: v for h in study.trainer.histories.values() for k, v in h.items() if k != "seconds"}
        numbers.append((row, study.world.floors, curves))
    assert numbers[0] == numbers[1]


def test_what_is_there_is_loaded(tiny, tmp_path, capsys):
    first = oracle_study(tiny, tmp_path)
    trained = weights(first.generator("RAL single", 4))
    folder = first.world.project.artefacts
    made = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert not [name for name in made if name.endswith(".checkpoint")]
    again = oracle_study(tiny, tmp_path)
    capsys.readouterr()
    assert torch.equal(weights(again.generator("RAL single", 4)), trained)
    assert capsys.readouterr().out == ""
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == made
    assert again.history("RAL single", 4) == first.history("RAL single", 4)


def keys(preset, method, seed=4, levels=None, **options):
    world = OracleWorld(preset, seed=seed, **options) if levels is None else World(preset, levels=levels, **options)
    return Study(world).keys(method, seed)


def test_keys_follow_what_makes_a_thing_and_nothing_else(tiny):
    """Without anything being made: a key is a matter of the configuration."""
    same = (
        replace(tiny, points=7, n_curve=11, n_eval=13, seeds=3),  # how it is looked at
        replace(tiny, about="other words", images=None),
    )
    for preset in same:
        for method in METHODS:
            assert keys(preset, method) == keys(tiny, method), method
    one, one_too = (replace(tiny, ral=replace(tiny.ral, gamma=gamma)) for gamma in (1, 1.0))
    assert keys(one, "RAL single") == keys(one_too, "RAL single")
    other = replace(tiny, ral=replace(tiny.ral, gamma=0.5))
    assert keys(other, "MLE") == keys(tiny, "MLE")
    assert keys(other, "RAL single") != keys(tiny, "RAL single")
    deeper = replace(tiny, vqvae=replace(tiny.vqvae, lr=1e-4))
    assert all(keys(deeper, m) != keys(tiny, m) for m in METHODS)  # made from other codes
    annealed = replace(tiny, ral=replace(tiny.ral, anneal=not tiny.ral.anneal))
    assert keys(annealed, "MLE") == keys(tiny, "MLE")
    assert keys(annealed, "MLE continued") != keys(tiny, "MLE continued")  # its learning rate falls as RAL's does
    assert keys(tiny, "MLE", seed=5) != keys(tiny, "MLE")


def test_other_levels_and_features_do_not_touch_a_level_s_key(smoke, tmp_path):
    two = smoke.images.two
    top, bottom = two.priors
    other = replace(smoke, images=replace(smoke.images, two=replace(two, priors=(top, replace(bottom, lr=0.5)))))
    (top_key, bottom_key), (top_other, bottom_other) = (keys(p, "MLE", levels=2) for p in (smoke, other))
    assert top_key == top_other and bottom_key != bottom_other
    weights = tmp_path / "weights-inception-2015-12-05-x.pth"
    torch.save({"pool1.x": torch.zeros(1)}, weights)
    for method in METHODS:
        ours, theirs = (keys(smoke, method, levels=2, features=f) for f in ("faces", f"{weights}:64"))
        assert ours == theirs, method


@pytest.mark.parametrize("recipe", ["VQVAE_RECIPE", "MLE_RECIPE", "RAL_RECIPE"])
def test_another_recipe_of_the_mathematics_has_another_key(tiny, monkeypatch, recipe):
    before = keys(tiny, "RAL single")
    for module in ("world", "oracle", "study"):
        monkeypatch.setattr(f"ralkit.course.{module}.{recipe}", 99, raising=False)
    assert keys(tiny, "RAL single") != before


def test_runs_share_the_warm_up_and_are_the_same_without_sharing(tiny, tmp_path, monkeypatch):
    warmed, warm = [], ral.warm_up
    monkeypatch.setattr("ralkit.training.warm_up", lambda *a, **k: warmed.append(0) or warm(*a, **k))
    shared = oracle_study(tiny, tmp_path / "shared", seed=1)
    ours = [shared.generator(m, 1) for m in ("RAL single", "RAL intermediate")]
    assert len(warmed) == 1
    alone = oracle_study(tiny, tmp_path / "alone", seed=1).generator("RAL intermediate", 1)
    assert len(warmed) == 2
    a, b, c = map(weights, (*ours, alone))
    assert torch.equal(b, c) and (a != b).any()
    shared.generator("RAL without layer norm", 1)  # another critic, which needs its own
    assert len(warmed) == 3


def test_the_reference(tiny, tmp_path):
    """With the oracle as reference and no other reward one plain step goes down KL(G || oracle), with MLE it stands."""
    study = oracle_study(tiny, tmp_path, seed=1)
    still = replace(study.recipe("RAL, true reward"), updates=1, lr_prior=1e-5, reference="MLE", baseline="none")
    start = weights(study.generator("MLE", 1))
    moved = {
        name: (weights(study.ral(f"towards {name}", 1, replace(still, reference=name))[0]) - start).abs().max().item()
        for name in ("MLE", "oracle")
    }
    assert moved["MLE"] == 0 < moved["oracle"]
    with pytest.raises(RalkitError, match="unknown reference 'GAN'; it must be MLE or oracle"):
        study.ral("towards GAN", 1, replace(still, reference="GAN"))
    with pytest.raises(RalkitError, match="images have no reference 'oracle'"):
        World("smoke", root=tmp_path, levels=1).reference("oracle", ())


def test_mle_continued_has_no_dropout(tmp_path, smoke):
    """The control follows its recipe: its prior has no dropout, whatever the generator's has."""
    wet = replace(smoke, generator=replace(smoke.generator, dropout=0.5))
    study = oracle_study(wet, tmp_path)
    rates = lambda method: {  # noqa: E731
        m.p for p in study.generator(method, 4) for m in p.modules() if isinstance(m, torch.nn.Dropout)
    }
    assert rates("MLE") == {0.5} and rates("MLE continued") == {0.0}


def test_the_temperature_reaches_every_number(tmp_path, smoke):
    for world in (OracleWorld(smoke, root=tmp_path), World(smoke, root=tmp_path, levels=1)):
        warm, cold = (Study(world).measure("MLE", 1, T) for T in (1.0, 0.5))
        unchanged = {k for k in warm if warm[k] == cold[k]}
        assert unchanged <= {"precision", "recall", "density", "coverage"}, world.name  # at smoke they are all 0


def test_exposure_is_the_divergence_of_the_last_rows(tiny, tmp_path):
    study = oracle_study(tiny, tmp_path)
    world, (prior,) = study.world, study.generator("MLE", 4)
    (real,), ((H, _),) = world.test_codes(tiny.n_curve), world.shapes
    assert world.exposure(world.oracle, 2, 1.0) == 0 < abs(world.exposure(world.oracle, 2, 0.7))
    with torch.no_grad():  # with all rows real nothing is sampled
        apart = prior.log_prob(real) - world.oracle.log_prob(real)
    assert study.measure_exposure("MLE", 4, H) == pytest.approx(apart[:, -(H // 4) :].mean().item(), abs=1e-5)
    measured = study.measure_exposure("MLE", 4, 0)
    study.generator = None  # it is loaded
    assert study.measure_exposure("MLE", 4, 0) == measured


@pytest.mark.parametrize("price", [1.5, 4, 16])
def test_one_of_price_is_kept(price):
    D = 3 * torch.randn(1000, generator=torch.Generator().manual_seed(0)) + 2
    assert torch.sigmoid(D - rejection_threshold(D, price)).mean().item() == pytest.approx(1 / price, abs=1e-5)


def test_rejection_keeps_as_many_samples_as_are_compared_and_the_better_ones(tiny, tmp_path, monkeypatch):
    study = Study(World(tiny, seed=4, root=tmp_path, levels=1))
    looked_at = []
    # Images as bright as their codes are large, and a critic that likes dark ones: what is kept is darker.
    brightness = lambda c: (c.float().mean((1, 2)) / 32)[:, None, None, None].expand(-1, 3, 64, 64)  # noqa: E731
    monkeypatch.setattr(study.world, "decode", brightness)
    monkeypatch.setattr(study, "_warm", lambda critic, *_: setattr(critic, "forward", lambda x: -50 * x.mean(1)))
    monkeypatch.setattr(study.world, "features", lambda images: looked_at.append(images) or torch.randn(len(images), 8))
    monkeypatch.setattr(study.world, "compare", lambda features: {"n": len(features)})
    monkeypatch.setattr(World, "numbers_inputs", ("none",))
    numbers = study.measure_rejection(4, 4)
    drawn = study.world.decode(*study.world.sample(study.generator("MLE", 4), 5 * study.world.n_eval, 7))
    assert numbers["n"] == study.world.n_eval
    assert looked_at[0].mean() < drawn.mean() - 0.5 * drawn[:, 0, 0, 0].std()
    study.generator = None  # it is loaded
    assert study.measure_rejection(4, 4) == numbers


def test_training_that_diverges_stores_nothing(tmp_path, tiny):
    hot = replace(tiny, ral=replace(tiny.ral, lr_prior=1e30, updates=3))
    study = oracle_study(hot, tmp_path)
    with pytest.raises(RalkitError, match="not finite"):
        study.generator("RAL single", 4)
    assert not list(study.world.project.artefacts.glob("RAL-single*.pt"))


def test_unknown_methods_are_named(tiny, tmp_path):
    for call in (Study.generator, Study.measure, Study.is_stored):
        with pytest.raises(RalkitError, match="unknown method 'GAN'; there are: MLE"):
            call(oracle_study(tiny, tmp_path), "GAN", 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at_once": 0}, "--at-once is 0; it must be 1 or more"),
        ({"save_minutes": -1.0}, "--save-minutes is -1.0"),
        ({"save_minutes": float("nan")}, "--save-minutes is nan"),
        ({"device": "toaster"}, "--device toaster: torch sees no such device"),
    ],
)
def test_a_fitting_that_cannot_be(options, said, tiny):
    with pytest.raises(RalkitError, match=said):
        OracleWorld(tiny, fitting=Fitting(**options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_the_gpu_preset_without_a_gpu():
    with pytest.raises(RalkitError, match="needs a CUDA GPU and torch sees none; use --preset quick"):
        OracleWorld("gpu")
