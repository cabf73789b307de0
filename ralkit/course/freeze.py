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
from .frozen import VERSION, file_of, steps_between
from .project import commit_of
from .runs import MLE, RUNS
from .study import Study
from .world import World

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
    artefacts = {path.name: _packed(path, left_out) for path, left_out in _chosen(study)}
    digest = world.frozen.digest if world.frozen else _digest(artefacts)  # it stays when numbers join the weights
    return {
        "version": VERSION,
        "digest": digest,
        "preset": world.project.preset.name,
        "world": world.name,
        "seed": world.seed,
        "dataset": world.project.dataset,
        "made": {
            "commit": commit_of(), "ralkit": __version__, "torch": str(torch.__version__),
            "device": device_name(world.device),
        },
        "starts": _as_steps(study, artefacts),
        "artefacts": artefacts | _elsewhere(world, artefacts),
    }  # fmt: skip


def _chosen(study: Study) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The artefacts to keep, each with how the names of those of its networks begin that are left out."""
    world, artefacts = study.world, study.trainer.artefacts
    needed = [*world.networks, world.features.factor_network]
    paths = [artefacts.path(*of) for of in needed] + [artefacts.path(*of, ".int16") for of in world.kept_maps]
    generators = {artefacts.path(*of): s for s in study.seeds for of in study.artefacts_of("MLE", s)}
    if missing := [path.name for path in (*paths, *generators) if not path.exists()]:
        raise RalkitError(
            f"{artefacts.folder} lacks {', '.join(missing)}; run python -m ralkit reproduce --preset "
            f"{world.project.preset.name} first"
        )
    yield from ((path, ()) for path in paths)
    yield from ((path, _undrawn(study, seed)) for path, seed in generators.items())
    for method, seed in _runs(study):
        critic = method in ALL_CRITICS or (method in FIRST_CRITICS and seed == study.seeds[0])
        left_out = _undrawn(study, seed) + (() if critic else ("critic",))
        yield from ((artefacts.path(*of), left_out) for of in study.artefacts_of(method, seed))
    kinds = ("critic", "measured", "completed") if world.frozen else ("critic",)
    for kind in kinds:
        pattern = f"{kind}-*-{world.name.replace(' ', '-')}-{'[0-9a-f]' * 12}.pt"
        for path in sorted(artefacts.folder.glob(pattern)):
            yield path, ("critic",) if path.name.startswith(AUC_ONLY) else ()


def _runs(study: Study) -> Iterator[tuple[str, int]]:
    """The methods that are there, by seed, but MLE itself."""
    for method in dict.fromkeys(study.canonical(method) for method in ("MLE continued", *RUNS)):
        yield from ((method, seed) for seed in study.seeds if study.is_stored(method, seed))


def _elsewhere(world: World, artefacts: dict[str, Any]) -> dict[str, str]:
    """By artefact of a world of two maps, the file of one map, where that has it too: the network of the factors."""
    file = file_of(world.project, "one level")
    if len(world.shapes) == 1 or not file.exists():
        return {}
    there = store.read(file)["artefacts"]
    both = artefacts.keys() & there.keys()
    return {name: file.name for name in both if _digest({name: artefacts[name]}) == _digest({name: there[name]})}


def _undrawn(study: Study, seed: int) -> tuple[str, ...]:
    """("prior",) where nothing is drawn from the priors of a seed any more.

    Those of two maps are large, so once they are measured only those of the first seed are kept.
    """
    drawn = len(study.world.shapes) == 1 or seed == study.seeds[0]
    return () if drawn or not study.world.frozen else ("prior",)


def _as_steps(study: Study, artefacts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Pack priors as steps from the MLE priors where they began: by artefact, the MLE artefact of each module."""
    name, starts = study.trainer.artefacts.file_name, {}
    for method, seed in _runs(study):
        mle = [name(*of) for of in study.artefacts_of("MLE", seed)]
        own = [name(*of) for of in study.artefacts_of(method, seed)]
        for level, start in enumerate(mle):
            of, module = (own[level], "prior") if method in MLE else (own[0], f"prior {level}")
            begin, states = (artefacts[n]["content"]["states"] for n in (start, of))
            if module in states and "prior" in begin and _all_half(begin["prior"], states[module]):
                states[module] = steps_between(begin["prior"], states[module])
                starts.setdefault(of, {})[module] = start
    return starts


def _all_half(*states: dict[str, Tensor]) -> bool:
    return all(x.dtype == torch.float16 for state in states for x in state.values())


def _packed(path: Path, left_out: tuple[str, ...]) -> Any:
    """An artefact's content without the networks left out: codes as uint8 where they fit, weights as float16."""
    if path.suffix == ".int16":
        codes = store.read_rows(path, 1).flatten()
        return codes.to(torch.uint8) if codes.max() < 256 else codes
    artefact = store.read(path)
    if isinstance(artefact["content"], dict) and "states" in artefact["content"]:
        states = artefact["content"]["states"]
        artefact["content"]["states"] = {
            module: {name: _rounded(x) for name, x in state.items()}
            for module, state in states.items()
            if not module.startswith(left_out)
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
