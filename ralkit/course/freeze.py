"""Freezing: what a study's folder holds becomes two files, small enough to be committed, which `frozen` reads.

One has the weights of a world. The other has what was measured with them, so that a new number does not touch weights.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__, store
from ..errors import RalkitError
from ..training import device_name
from .frozen import VERSION, file_of, numbers_beside, steps_between
from .project import commit_of
from .runs import MLE, RUNS
from .study import Study
from .world import World

# Critics are large. The notebooks look at those of these runs, at the anchored one's of every seed, else of the first.
ALL_CRITICS = ("RAL anchored",)
AUC_ONLY = "critic-fresh-"  # critics of which only the history is shown
FIRST_CRITICS = ("RAL intermediate", "RAL intermediate 8x8", "RAL intermediate 2x2", "RAL partial")
FINE_TUNED = ("MLE continued", *RUNS)
NO_WEIGHTS = ("",)  # every name begins so


def content_of(study: Study) -> dict[str, Any]:
    """The content of a world's file: its networks and codes, its generators, and critics as far as they are used.

    Raises RalkitError, naming them, if networks, codes or MLE priors are not there yet.
    """
    world = study.world
    artefacts = {path.name: _packed(path, left_out) for path, left_out in _chosen(study)}
    return {
        "version": VERSION,
        "digest": _digest(artefacts),
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


def numbers_of(study: Study) -> dict[str, Any]:
    """The content of the file beside a world's: what was measured, and the histories of seeds without weights there.

    Numbers of seeds whose weights are kept count only in a pretrained world, as they are rounded in its file. Numbers
    that the file beside has of these weights stay in it. Raises RalkitError if the world's own file is not there.
    """
    world, file = study.world, file_of(study.world.project, study.world.name)
    packed, beside = store.read(file), numbers_beside(file)
    there = store.read(beside) if beside.is_file() else {}
    numbers = there["artefacts"] if there.get("digest") == packed["digest"] else {}
    if world.frozen:
        new = [path for kind in ("critic", "measured", "completed") for path in _named(study, f"{kind}-*")]
    else:
        later = [seed for seed in study.seeds if seed not in _drawn(study)]
        runs = list(_runs(study, later, ("MLE", *FINE_TUNED)))
        new = [study.trainer.artefacts.path(*of) for run in runs for of in study.artefacts_of(*run)]
        for name, seed in (*runs, *(("rejection", seed) for seed in later)):
            for kind in ("measured", "completed"):
                new += _named(study, f"{kind}*-{name.replace(' ', '-')}-{seed}-*")
    numbers |= {path.name: _packed(path, NO_WEIGHTS) for path in new if path.name not in packed["artefacts"]}
    return {"version": VERSION, "digest": packed["digest"], "artefacts": numbers}


def _named(study: Study, pattern: str) -> list[Path]:
    """The artefacts of a study's world whose names begin as `pattern` says."""
    pattern = f"{pattern}{study.world.name.replace(' ', '-')}-{'[0-9a-f]' * 12}.pt"
    return sorted(study.trainer.artefacts.folder.glob(pattern))


def _drawn(study: Study) -> tuple[int, ...]:
    """The seeds whose weights are kept. Priors of two maps are large, so it is the first one there."""
    return study.seeds if len(study.world.shapes) == 1 else study.seeds[:1]


def _chosen(study: Study) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The artefacts to keep, each with how the names of those of its networks begin that are left out."""
    world, artefacts = study.world, study.trainer.artefacts
    needed = [*world.networks, world.features.factor_network]
    paths = [artefacts.path(*of) for of in needed] + [artefacts.path(*of, ".int16") for of in world.kept_maps]
    paths += [artefacts.path(*of) for seed in _drawn(study) for of in study.artefacts_of("MLE", seed)]
    if missing := [path.name for path in paths if not path.exists()]:
        raise RalkitError(
            f"{artefacts.folder} lacks {', '.join(missing)}; run python -m ralkit reproduce --preset "
            f"{world.project.preset.name} first"
        )
    yield from ((path, ()) for path in paths)
    for method, seed in _runs(study, _drawn(study), FINE_TUNED):
        critic = method in ALL_CRITICS or (method in FIRST_CRITICS and seed == study.seeds[0])
        yield from ((artefacts.path(*of), () if critic else ("critic",)) for of in study.artefacts_of(method, seed))
    for path in _named(study, "critic-*"):
        yield path, ("critic",) if path.name.startswith(AUC_ONLY) else ()


def _runs(study: Study, seeds: Iterable[int], methods: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The methods that are there, by seed."""
    for method in dict.fromkeys(study.canonical(method) for method in methods):
        yield from ((method, seed) for seed in seeds if study.is_stored(method, seed))


def _elsewhere(world: World, artefacts: dict[str, Any]) -> dict[str, str]:
    """By artefact of a world of two maps, the file of one map, where that has it too: the network of the factors."""
    file = file_of(world.project, "one level")
    if len(world.shapes) == 1 or not file.exists():
        return {}
    there = store.read(file)["artefacts"]
    both = artefacts.keys() & there.keys()
    return {name: file.name for name in both if _digest({name: artefacts[name]}) == _digest({name: there[name]})}


def _as_steps(study: Study, artefacts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Pack priors as steps from the MLE priors where they began: by artefact, the MLE artefact of each module."""
    name, starts = study.trainer.artefacts.file_name, {}
    for method, seed in _runs(study, _drawn(study), FINE_TUNED):
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
