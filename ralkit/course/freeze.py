"""Freezing: what a study's folder holds becomes one file, small enough to be committed, which `frozen` reads."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__, store
from ..errors import RalkitError
from ..training import device_name
from .frozen import VERSION
from .project import commit_of
from .runs import RUNS
from .study import Study

# Critics are large. The notebooks look at those of these runs, at the anchored one's of every seed, else of the first.
ALL_CRITICS = ("RAL anchored",)
AUC_ONLY = "critic-fresh-"  # critics of which only the history is shown
FIRST_CRITICS = ("RAL intermediate", "RAL intermediate 8x8", "RAL intermediate 2x2", "RAL partial")


def content_of(study: Study) -> dict[str, Any]:
    """The content of a world's file: its networks and codes, its generators, and critics as far as they are used.

    Of a pretrained world also what was measured in it; elsewhere that was measured with weights that are rounded here.
    Raises RalkitError, naming them, if networks, codes or MLE priors are not there yet.
    """
    world = study.world
    artefacts = {path.name: _packed(path, critic) for path, critic in _chosen(study)}
    return {
        "version": VERSION,
        "digest": world.frozen.digest if world.frozen else _digest(artefacts),  # it stays when numbers join the weights
        "preset": world.project.preset.name,
        "world": world.name,
        "seed": world.seed,
        "dataset": world.project.dataset,
        "made": {
            "commit": commit_of(), "ralkit": __version__, "torch": str(torch.__version__),
            "device": device_name(world.device),
        },
        "artefacts": artefacts,
    }  # fmt: skip


def _chosen(study: Study) -> Iterator[tuple[Path, bool]]:
    """The artefacts to keep, each with whether its critic is kept."""
    world, artefacts = study.world, study.trainer.artefacts
    needed = [*world.networks, world.features.factor_network]
    needed += [of for seed in study.seeds for of in study.artefacts_of("MLE", seed)]
    paths = [artefacts.path(*of) for of in needed] + [artefacts.path(*of, ".int16") for of in world.kept_maps]
    if missing := [path.name for path in paths if not path.exists()]:
        raise RalkitError(
            f"{artefacts.folder} lacks {', '.join(missing)}; run python -m ralkit reproduce --preset "
            f"{world.project.preset.name} first"
        )
    yield from ((path, True) for path in paths)
    for method in dict.fromkeys(study.canonical(method) for method in ("MLE continued", *RUNS)):
        for seed in study.seeds:
            if study.is_stored(method, seed):
                critic = method in ALL_CRITICS or (method in FIRST_CRITICS and seed == study.seeds[0])
                yield from ((artefacts.path(*of), critic) for of in study.artefacts_of(method, seed))
    kinds = ("critic", "measured", "completed") if world.frozen else ("critic",)
    for kind in kinds:
        pattern = f"{kind}-*-{world.name.replace(' ', '-')}-{'[0-9a-f]' * 12}.pt"
        yield from ((path, not path.name.startswith(AUC_ONLY)) for path in sorted(artefacts.folder.glob(pattern)))


def _packed(path: Path, critic: bool) -> Any:
    """An artefact's content: codes as uint8 where they fit, weights as float16."""
    if path.suffix == ".int16":
        codes = store.read_rows(path, 1).flatten()
        return codes.to(torch.uint8) if codes.max() < 256 else codes
    artefact = store.read(path)
    if isinstance(artefact["content"], dict) and "states" in artefact["content"]:
        states = artefact["content"]["states"]
        artefact["content"]["states"] = {
            module: {name: _rounded(x) for name, x in state.items()}
            for module, state in states.items()
            if critic or module != "critic"
        }
    return artefact


def _digest(artefacts: dict[str, Any]) -> str:
    """12 digits that tell these weights from others."""
    whole = hashlib.sha256()
    for artefact in artefacts.values():
        for state in artefact["content"]["states"].values() if isinstance(artefact, dict) else ():
            for x in state.values():
                whole.update(x.numpy().tobytes())
    return whole.hexdigest()[:12]


def _rounded(x: Tensor) -> Tensor:
    """Float32 numbers as float16, unless one of them is too large for it."""
    half = x.half() if x.dtype == torch.float32 else x
    return half if half.isfinite().all() else x
