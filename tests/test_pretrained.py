"""The committed worlds: small, and made with the settings that their preset has now."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from ralkit import store
from ralkit.course.artefacts import Artefacts
from ralkit.course.freeze import content_of
from ralkit.course.frozen import CONTENTS
from ralkit.course.oracle import OracleWorld
from ralkit.course.presets import COMMITTED
from ralkit.course.runs import MLE, RUNS
from ralkit.course.study import Study
from ralkit.course.world import World

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "data/pretrained").glob("*.pt"))
WORLDS = [file for file in FILES if not file.stem.endswith("-numbers")]


@pytest.mark.skipif(not FILES, reason="data/pretrained/ holds no world yet")
def test_the_committed_worlds_are_small_and_fit_their_preset(tmp_path):
    assert sum(file.stat().st_size for file in FILES) <= 12e6
    shutil.copytree(ROOT / "data/pretrained", tmp_path / "data/pretrained")
    makers = {
        "oracle-world": OracleWorld,
        "one-level": partial(World, levels=1),
        "two-levels": partial(World, levels=2),
    }
    for file in WORLDS:
        world = makers[file.stem.removeprefix(f"{COMMITTED}-")](COMMITTED, root=tmp_path, pretrained=True)
        assert world.frozen, world.name
        content_of(Study(world))  # networks, codes and MLE priors of all seeds are there
        names = store.read(world.frozen.folder / CONTENTS)["names"]  # with the numbers beside
        methods = [of for m in (*MLE, *RUNS) for seed in world.seeds for of in Study(world).artefacts_of(m, seed)]
        known = {Artefacts.file_name(*of) for of in (*world.networks, world.features.factor_network, *methods)}
        known |= {Artefacts.file_name(*of, ".int16") for of in world.kept_maps}
        others = ("critic-", "measured-", "completed-")
        assert {name for name in names if not name.startswith(others)} <= known


def test_what_was_published_is_measured_again(tmp_path):
    """NLL_test of every seed's MLE generator, from the frozen weights and codes, is the number that was frozen."""
    file = ROOT / "data/pretrained/deep-oracle-world.pt"
    if file not in FILES:
        pytest.skip("the oracle world is not in data/pretrained/ yet")
    (tmp_path / "data/pretrained").mkdir(parents=True)
    shutil.copy(file, tmp_path / "data/pretrained")
    world = OracleWorld(COMMITTED, root=tmp_path, pretrained=True)
    study = Study(world)
    for seed in world.seeds:
        again = world.nll(study.generator("MLE", seed), world.test_codes(world.config.n_eval))
        published = study.measure("MLE", seed)
        assert again == pytest.approx(published["NLL_test"], abs=0.005)
    # The report's table has the same numbers, rounded.
    rows = json.loads((ROOT / "figures/deep/table-1-runs.json").read_text())["rows"]
    assert {r["seed"]: r["NLL_test"] for r in rows if r["method"] == "MLE"}[seed] == published["NLL_test"]
