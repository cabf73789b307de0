"""Frozen worlds: the same codes and rounded weights elsewhere and nothing trained, or one sentence and training."""

import copy
import hashlib
import multiprocessing
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ralkit import store
from ralkit.course import frozen
from ralkit.course.artefacts import Artefacts
from ralkit.course.commands import freeze
from ralkit.course.freeze import content_of, numbers_of
from ralkit.course.frozen import VERSION, file_of, numbers_beside, steps_between, steps_from
from ralkit.course.oracle import OracleWorld
from ralkit.course.presets import PRESETS, get_preset
from ralkit.course.record import Record
from ralkit.course.study import Study
from ralkit.course.workers import train_command, train_together
from ralkit.course.world import World
from ralkit.errors import RalkitError

ROOT = Path(__file__).parents[1]
SEEDS = (1, 2)
OTHER = b"of another kind" * 9


@pytest.fixture(scope="module")
def small():
    """The smoke preset with fewer steps; two seeds, so that there is a RAL run without its critic."""
    smoke = get_preset("smoke")
    short = {name: replace(getattr(smoke, name), steps=3) for name in ("vqvae", "factors", "oracle", "generator")}
    ral = replace(smoke.ral, warmup=2, updates=2)
    return replace(smoke, **short, ral=ral, n_train=64, n_test=64, n_oracle=64, n_eval=32, n_curve=32, points=1)


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A study whose world was trained and measured, with its frozen file."""
    study = Study(OracleWorld(small, root=tmp_path_factory.mktemp("trained")))
    for seed in SEEDS:
        for method in ("MLE continued", "RAL intermediate"):
            study.measure(method, seed)
    for name in ("alone", "fresh"):
        study.critic_alone(name, 1, study.recipe("RAL intermediate"), 2)
    store.write(file_of(study.world.project, study.world.name), content_of(study))
    return study


@pytest.fixture
def root(trained, tmp_path):
    """Another project's folder, which has the frozen file and nothing else."""
    shutil.copytree(trained.world.project.root / "data", tmp_path / "data")
    return tmp_path


@pytest.fixture
def untrained(monkeypatch):
    modules = {"world": "vqvae", "oracle": "mle", "study": "ral", "faces": "factors"}
    for function in ("study.train_mle", *(f"{module}.train_{of}" for module, of in modules.items())):
        monkeypatch.setattr(f"ralkit.course.{function}", lambda *_, **__: pytest.fail("trained"))


def weights(networks):
    return torch.cat([x.flatten().double() for network in networks for x in network.state_dict().values()])


def rounded(networks):
    return weights(copy.deepcopy(network).half() for network in networks)


def test_it_is_the_same_elsewhere_and_nothing_is_trained(small, trained, root, untrained, capsys):
    study = Study(OracleWorld(small, root=root, pretrained=True))
    ours, theirs = study.world, trained.world
    for split in ("train", "test"):
        assert torch.equal(ours.oracle_codes[split][0], theirs.oracle_codes[split][0])
    assert torch.equal(ours.codes["test"][0], theirs.codes["test"][0])
    assert len(ours.codes["train"][0]) == 64  # encoded again
    for mine, other in ((ours.vqvae, theirs.vqvae), (ours.oracle, theirs.oracle)):
        assert torch.equal(weights([mine]), rounded([other]))
    assert torch.equal(weights([ours.features.factor_net]), rounded([theirs.features.factor_net]))
    for method in ("MLE", "MLE continued", "RAL intermediate"):
        for seed in SEEDS:
            assert torch.equal(weights(study.generator(method, seed)), rounded(trained.generator(method, seed)))
            assert study.history(method, seed) == trained.history(method, seed)
    assert capsys.readouterr().out == ""
    assert not ours.project.artefacts.exists()
    assert {p.dtype for p in ours.vqvae.parameters()} == {torch.float32}


def test_critics_are_kept_as_far_as_they_are_used(small, trained, root, untrained, monkeypatch):
    monkeypatch.setattr("ralkit.course.study.train_critic", lambda *_, **__: pytest.fail("trained"))
    study = Study(OracleWorld(small, root=root, pretrained=True))
    critics = [s.ral("RAL intermediate", 1)[1] for s in (study, trained)]
    assert torch.equal(weights(critics[:1]), rounded(critics[1:]))
    alone = [s.critic_alone("alone", 1, s.recipe("RAL intermediate"), 2)[0] for s in (study, trained)]
    assert torch.equal(weights(alone[:1]), rounded(alone[1:]))
    critic, history = study.critic_alone("fresh", 1, study.recipe("RAL intermediate"), 2)
    assert critic is None and history["AUC"]  # only its history is shown anywhere
    study.generator("RAL intermediate", 2)
    with pytest.raises(
        RalkitError, match=r"RAL-intermediate-2-.* without its critic; set pretrained = False \(--no-pre"
    ):
        study.ral("RAL intermediate", 2)


def test_critics_of_all_seeds_of_a_run_that_is_asked_about(trained, monkeypatch):
    def kept():
        states = [
            v["content"]["states"] for k, v in content_of(trained)["artefacts"].items() if "RAL-intermediate" in k
        ]
        return sorted("critic" in state for state in states if "prior 0" in state)

    assert kept() == [False, True]
    monkeypatch.setattr("ralkit.course.freeze.ALL_CRITICS", ("RAL intermediate",))
    assert kept() == [True, True]


def test_what_was_fine_tuned_is_packed_as_small_steps(trained):
    """So a compressed file has less to keep; that they lead back to the same weights is tested above."""
    content = content_of(trained)
    runs = [name for name in content["artefacts"] if name.startswith(("RAL", "MLE-continued"))]
    assert runs and set(content["starts"]) == set(runs)
    for run in runs:
        for module, start in content["starts"][run].items():
            states = [content["artefacts"][name]["content"]["states"] for name in (run, start)]
            steps = states[0][module]
            assert {x.dtype for x in steps.values()} == {torch.int16} and steps.keys() == states[1]["prior"].keys()
    x = {"w": torch.tensor([0.5, -1.0, 2.0]).half()}
    steps = steps_between(x, y := {"w": torch.tensor([0.5, 1.0, torch.inf]).half()})
    assert steps["w"][0] == 0 and torch.equal(steps_from(x, steps)["w"], y["w"])


@pytest.fixture(scope="module")
def two_maps(small, tmp_path_factory):
    """A frozen world of two maps and two seeds, in which every method has been measured, and what came out."""
    images = small.images
    two = replace(images.two, vqvae=replace(images.two.vqvae, steps=2), seeds=2, ral=replace(images.two.ral, updates=1))
    two = replace(two, priors=tuple(replace(prior, steps=2) for prior in two.priors))
    small = replace(small, images=replace(images, n_train=32, n_test=32, n_eval=24, n_curve=20, two=two))
    options = {"levels": 2, "root": tmp_path_factory.mktemp("two")}
    study = Study(World(small, **options))
    numbers, file = {}, file_of(study.world.project, study.world.name)
    for kept in (False, True):
        study = study if not kept else Study(World(small, **options, pretrained=True))
        for seed in SEEDS:
            for method in ("MLE", "MLE continued", "RAL intermediate"):
                numbers[method, seed] = study.measure(method, seed), study.measure_faces(method, seed)
        if not kept:
            store.write(file, content_of(study))
        store.write(numbers_beside(file), numbers_of(study))
    return study, small, numbers


def test_of_two_maps_only_the_first_seed_keeps_its_weights(two_maps, untrained, tmp_path):
    study, small, numbers = two_maps
    shutil.copytree(study.world.project.root / "data", tmp_path / "data")
    again = Study(World(small, levels=2, root=tmp_path, pretrained=True))
    assert again.seeds == SEEDS and again.world.frozen.digest == study.world.frozen.digest
    train_together((again, ("MLE continued", "RAL intermediate"), SEEDS))
    for (method, seed), (row, faces) in numbers.items():
        assert again.measure(method, seed) == row and torch.equal(again.measure_faces(method, seed), faces)
        assert again.history(method, seed) == study.history(method, seed)
        if seed == 1:
            assert torch.equal(weights(again.generator(method, seed)), weights(study.generator(method, seed)))
        else:
            with pytest.raises(RalkitError, match=f"{method.split()[-1]}.*-{seed}-.*frozen without its weights; set"):
                again.generator(method, seed)
    with pytest.raises(RalkitError, match="frozen without its weights"):  # not trained from priors without weights
        again.generator("RAL single", 2)
    assert all(torch.equal(a, b) for a, b in zip(again.world.codes["test"], study.world.codes["test"], strict=True))


def test_numbers_are_kept_beside_the_weights_they_are_of(small, trained, root, untrained):
    assert not numbers_of(trained)["artefacts"]  # measured before the weights were rounded
    study = Study(OracleWorld(small, root=root, pretrained=True))
    file = file_of(study.world.project, study.world.name)
    numbers, weights_there = study.measure("MLE", 1), file.read_bytes()
    store.write(numbers_beside(file), numbers_of(study))
    again = Study(OracleWorld(small, root=root, pretrained=True))
    assert again.world.frozen.folder != study.world.frozen.folder  # so it is unpacked with them
    assert again.world.frozen.digest == study.world.frozen.digest and file.read_bytes() == weights_there
    again.generator = lambda *_: pytest.fail("measured again")
    assert again.measure("MLE", 1) == numbers
    assert numbers_of(again)["artefacts"].keys() == numbers_of(study)["artefacts"].keys()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_bytes(b"short" * 9), "is damaged (its digest does not match)"),
        (lambda file: store.write(file, store.read(file) | {"digest": "0" * 12}), "is of other weights"),
    ],
)
def test_numbers_that_do_not_fit_are_measured_again(two_maps, tmp_path, capsys, spoil, said):
    study, small, numbers = two_maps
    shutil.copytree(study.world.project.root / "data", tmp_path / "data")
    file = numbers_beside(file_of(study.world.project, study.world.name))
    file = tmp_path / file.relative_to(study.world.project.root)
    spoil(file)
    again = Study(World(small, levels=2, root=tmp_path, pretrained=True))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"{file} {said}; what the notebooks need of it is measured here"
    assert again.seeds == SEEDS[:1] and again.measure("MLE", 1) == pytest.approx(numbers["MLE", 1][0])


def test_what_is_missing_is_made_from_the_frozen_weights_and_kept_apart(small, trained, root):
    frozen_study = Study(OracleWorld(small, root=root, pretrained=True))
    made = frozen_study.generator("RAL intermediate", 1)
    here = Study(OracleWorld(small, root=root, seed=1))
    assert here.trainer.artefacts.folder == here.world.project.artefacts != frozen_study.trainer.artefacts.folder
    assert not here.is_stored("RAL intermediate", 1) and not here.is_stored("MLE", 1)
    again = Study(OracleWorld(small, root=root, pretrained=True))
    assert again.is_stored("RAL intermediate", 1)
    assert torch.equal(weights(again.generator("RAL intermediate", 1)), weights(made))


def test_another_file_is_unpacked_into_another_folder(small, trained, root):
    first = OracleWorld(small, root=root, pretrained=True)
    packed = store.read(file_of(first.project, first.name))
    store.write(file_of(first.project, first.name), packed | {"made": {"commit": "another"}})
    assert OracleWorld(small, root=root, pretrained=True).frozen.folder != first.frozen.folder


def test_where_the_weights_come_from_is_recorded(small, trained, root):
    world = OracleWorld(small, root=root, pretrained=True)
    record = Record(world)
    digest = store.read(file_of(world.project, world.name))["digest"]
    assert record.origin()["weights"] == f"pretrained, version {VERSION}, {digest}"
    assert f"The networks are pretrained, version {VERSION}, {digest}." in record.about("03_oracle")
    assert Record(OracleWorld(small, root=root)).origin()["weights"] == "trained here"
    assert "--pretrained" in train_command(world, [])
    assert "--pretrained" not in train_command(OracleWorld(small, root=root), [])


# ---- What does not fit: one sentence, and the ordinary folder ----


def flipped(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def changed(**changes):
    return lambda file: store.write(file, store.read(file) | changes)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (flipped, "is damaged (its digest does not match)"),
        (lambda file: file.write_bytes(b""), "cannot read"),
        (lambda file: file.write_bytes(b"short" * 9), "is damaged"),
        (lambda file: file.write_bytes(OTHER + hashlib.sha256(OTHER).digest()), "of another kind"),
        (lambda file: store.write(file, [1, 2]), "is no frozen world"),
        (changed(artefacts={"../../evil.pt": 1}), "is no frozen world"),
        (changed(artefacts={"net.pt": "../../evil.pt"}), "is no frozen world"),
        (changed(version=VERSION + 1), f"has version {VERSION + 1}, and this code knows {VERSION}"),
        (lambda file: file.unlink() or file.mkdir(), "cannot read"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(small, root, capsys, spoil, said):
    file = root / "data/pretrained/smoke-oracle-world.pt"
    spoil(file)
    world = OracleWorld(small, root=root, pretrained=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert str(file) in line and said in line and line.endswith("; this world is trained here")
    assert world.frozen is None and world.trainer.artefacts.folder == world.project.artefacts
    assert not list(root.rglob("evil.pt"))


def test_nothing_is_unpickled(small, root, capsys):
    """A file with code in it, whose digest holds, is of another kind."""
    file = root / "data/pretrained/smoke-oracle-world.pt"
    store.write(file, store.read(file) | {"made": Evil(root / "ran")})
    assert OracleWorld(small, root=root, pretrained=True).frozen is None
    assert "of another kind" in capsys.readouterr().out and not (root / "ran").exists()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("other", [{"vqvae": 4}, {"oracle": 4}, {"seed": 2}])
def test_a_world_of_other_settings(small, root, capsys, other):
    seed = other.pop("seed", 1)
    changes = {name: replace(getattr(small, name), steps=steps) for name, steps in other.items()}
    world = OracleWorld(replace(small, **changes), seed=seed, root=root, pretrained=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "smoke-oracle-world.pt was made with other settings or another seed; this world is trained here"
    )
    assert world.frozen is None


def test_a_missing_file_is_said_where_one_belongs(tmp_path, smoke, root, capsys):
    assert OracleWorld("deep", root=tmp_path, pretrained=True).frozen is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("data/pretrained/deep-oracle-world.pt is missing; this world is trained here")
    for world in (
        World(smoke, root=root, levels=1, pretrained=True),
        OracleWorld("deep", dataset=str(tmp_path), root=root, pretrained=True),
        OracleWorld("deep", root=root),
        OracleWorld("quick", root=root, pretrained=True),
    ):
        assert world.frozen is None and capsys.readouterr().out == ""


def test_what_is_not_trained_cannot_be_frozen(small, tmp_path):
    with pytest.raises(
        RalkitError, match=r"lacks VQ-VAE-oracle-world-.*; run python -m ralkit reproduce --preset smoke"
    ):
        content_of(Study(OracleWorld(small, root=tmp_path)))


# ---- Packing and unpacking ----


@pytest.mark.parametrize(("largest", "dtype"), [(255, torch.uint8), (256, torch.int16), (2**15 - 1, torch.int16)])
def test_codes_survive(trained, tmp_path, monkeypatch, largest, dtype):
    artefacts, codes = Artefacts(tmp_path / "a"), torch.tensor([[0, 1, 2], [3, 4, largest]])
    artefacts.rows("codes", (), [codes], 3)
    monkeypatch.setattr("ralkit.course.freeze._chosen", lambda _: [(artefacts.path("codes", (), ".int16"), ())])
    monkeypatch.setattr("ralkit.course.freeze._runs", lambda *_: [])
    store.write(tmp_path / "file", content_of(trained))
    packed = store.read(tmp_path / "file")
    assert [x.dtype for x in packed["artefacts"].values()] == [dtype]
    frozen._unpack(packed, tmp_path / "b", "world")
    assert torch.equal(Artefacts(tmp_path / "b").rows("codes", (), pytest.fail, 3).long(), codes)


def test_weights_that_float16_cannot_hold_stay(trained, tmp_path, monkeypatch):
    artefacts = Artefacts(tmp_path)
    state = {"large": torch.tensor([1.0, 1e6]), "small": torch.tensor([0.1]), "count": torch.tensor(70_000)}
    artefacts.get("net", (), lambda _: {"states": {"net": state}, "history": {"loss": [0.1]}})
    monkeypatch.setattr("ralkit.course.freeze._chosen", lambda _: [(artefacts.path("net", ()), ())])
    monkeypatch.setattr("ralkit.course.freeze._runs", lambda *_: [])
    ((_, kept),) = content_of(trained)["artefacts"].items()
    states = kept["content"]["states"]["net"]
    assert kept["content"]["history"] == {"loss": [0.1]}
    assert torch.equal(states["large"], state["large"])
    assert states["small"].dtype == torch.float16 and states["count"].item() == 70_000


def _open(preset, root, slow=0.0):
    write = store.write
    store.write = lambda *a: time.sleep(slow) or write(*a)
    assert OracleWorld(preset, root=root, pretrained=True).frozen is not None


def test_an_unpacking_that_was_killed_is_completed(small, trained, root, untrained):
    process = multiprocessing.get_context("fork").Process(target=_open, args=(small, root, 0.5))
    process.start()
    folder, deadline = root / "runs/smoke/pretrained/artefacts", time.monotonic() + 30
    while not list(folder.rglob("*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.join(30)
    assert list(folder.rglob("*.pt")) and not list(folder.rglob("contents.pt"))
    study = Study(OracleWorld(small, root=root, pretrained=True))
    assert torch.equal(
        weights(study.generator("RAL intermediate", 2)), rounded(trained.generator("RAL intermediate", 2))
    )
    lost = study.trainer.artefacts.path(*study.artefacts_of("MLE", 1)[0])
    lost.unlink()  # what somebody deletes comes from the file again, and is not trained
    study = Study(OracleWorld(small, root=root, pretrained=True))
    assert lost.exists() and study.is_stored("MLE", 1)


def test_two_processes_unpack_it_together(small, trained, root):
    racers = [multiprocessing.get_context("fork").Process(target=_open, args=(small, root, 0.02)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]


def with_short_images(preset):
    def short(models):
        priors = tuple(replace(prior, steps=3) for prior in models.priors)
        return replace(models, vqvae=replace(models.vqvae, steps=3), priors=priors, seeds=1)

    images = preset.images
    return replace(preset, images=replace(images, one=short(images.one), two=short(images.two), n_train=64, n_test=64))


def test_all_worlds_of_a_preset_are_frozen_and_told_apart(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PRESETS, "smoke", with_short_images(small))
    for world in (OracleWorld("smoke", root=tmp_path), *(World("smoke", root=tmp_path, levels=n) for n in (1, 2))):
        study = Study(world)
        world.prepare()
        _ = world.features.factor_net
        for seed in study.seeds:
            study.generator("MLE", seed)
    capsys.readouterr()
    for n in (None, 1, 2):
        freeze("smoke", n, tmp_path, pretrained=False)
    lines = capsys.readouterr().out.splitlines()
    names = ["smoke-oracle-world.pt", "smoke-one-level.pt", "smoke-two-levels.pt"]
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / "data/pretrained" / name) for name in names]
    worlds = [World("smoke", root=tmp_path, levels=n, pretrained=True) for n in (1, 2)]
    assert len({world.frozen.folder for world in worlds}) == 2
    assert torch.equal(worlds[0].codes["test"][0], World("smoke", root=tmp_path, levels=1).codes["test"][0])
    packed = [store.read(file_of(world.project, world.name))["artefacts"] for world in worlds]
    (shared,) = packed[0].keys() & packed[1].keys()  # the network of the factors is kept once, and read from there
    assert shared.startswith("factor-network") and packed[1][shared] == names[1]
    assert torch.equal(*(weights([world.features.factor_net]) for world in worlds))
    again = worlds[1].encode(worlds[1].images.test)  # two maps are not kept: rounded weights made them
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(worlds[1].codes["test"], again, strict=True))
    freeze("smoke", 1, tmp_path, pretrained=True)
    (tmp_path / "data/pretrained" / names[1]).unlink()
    with pytest.raises(RalkitError, match="there is no pretrained one level of smoke; run freeze without --pretrained"):
        freeze("smoke", 1, tmp_path, pretrained=True)
