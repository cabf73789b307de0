"""Frozen worlds: what a preset trains, as committed files, unpacked once and then read as artefacts are.

A world has a file with its weights, and maybe one beside it with what was measured with them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import distributed, store
from ..errors import RalkitError
from .artefacts import Artefacts
from .presets import COMMITTED
from .project import Project

VERSION = 2  # raise it when other worlds are committed
WORLDS = [f"{COMMITTED}-{world}" for world in ("oracle-world", "one-level", "two-levels")]  # in data/pretrained/
State = dict[str, Tensor]
CONTENTS = "contents.pt"  # written last: with it, and all that it names, a folder is whole


@dataclass(frozen=True)
class Frozen:
    """A frozen world: its version, the digest of its weights, the folder it was unpacked into, the priors' seeds."""

    version: int
    digest: str
    folder: Path
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        return f"pretrained, version {self.version}, {self.digest}"


def file_of(project: Project, world: str) -> Path:
    """The file of a project's frozen world, there or not."""
    return project.root / "data" / "pretrained" / f"{project.preset.name}-{world.replace(' ', '-')}.pt"


def numbers_beside(file: Path) -> Path:
    """The file beside a world's that has its numbers, there or not."""
    return file.with_name(f"{file.stem}-numbers{file.suffix}")


def find(project: Project, world: str, networks: Sequence[str]) -> Frozen | None:
    """The frozen world, unpacked; or None, after one sentence that says why, where a file should be and does not fit.

    It fits if the artefacts `networks` are in it. Its folder is its own, so nothing that is trained here mixes with it.
    Raises RalkitError if the folder cannot be written.
    """
    file = file_of(project, world)
    if not file.exists():
        return _none(f"{file} is missing") if file.stem in WORLDS else None
    try:
        files = [x for x in (file, numbers_beside(file)) if x == file or x.is_file()]
        folder = project.frozen / "-".join((file.stem, *(store.digest(x) for x in files)))
        packed = None if distributed.broadcast(_is_whole(folder)) else _complete(file)
    except RalkitError as error:  # the second half of the sentence tells what to do where there is no other way
        return _none(str(error).rpartition("; ")[0])
    if packed:
        _unpack(packed, folder, world)
    contents = store.read(folder / CONTENTS)
    if not set(networks) <= set(contents["names"]):
        return _none(f"{file} was made with other settings or another seed")
    priors = (re.match(r"MLE-(?:top-|bottom-)?(\d+)-", name) for name in contents["names"])
    seeds = sorted({int(prior[1]) for prior in priors if prior})
    return Frozen(contents["version"], contents["digest"], folder, tuple(seeds))


def _none(why: str) -> None:
    if distributed.rank() == 0:
        print(f"{why}; this world is trained here", flush=True)


def _is_whole(folder: Path) -> bool:
    contents = folder / CONTENTS
    return contents.exists() and all((folder / name).exists() for name in store.read(contents)["names"])


def _read(file: Path) -> dict[str, Any]:
    packed = store.read(file)
    known = isinstance(packed, dict) and {"version", "digest", "artefacts"} <= set(packed)
    names = [name for item in packed["artefacts"].items() for name in item if isinstance(name, str)] if known else ()
    if not known or any(Path(name).name != name for name in names):
        raise RalkitError(f"{file} is no frozen world; move it away")
    if packed["version"] > VERSION:
        raise RalkitError(f"{file} has version {packed['version']}, and this code knows {VERSION}; update the code")
    return packed


def _complete(file: Path) -> dict[str, Any]:
    """A file's content with the numbers beside it.

    Where the name of another world's file stands in an artefact's place, that file has the artefact.
    """
    packed = _read(file)
    packed["artefacts"] |= _numbers(numbers_beside(file), packed["digest"])
    for name, content in packed["artefacts"].items():
        if isinstance(content, str):
            there = _read(file.with_name(content))["artefacts"]
            if name not in there:
                raise RalkitError(f"{file} needs {name} of {content}, where it is not; get both files from one version")
            packed["artefacts"][name] = there[name]
    return packed


def _numbers(file: Path, digest: str) -> dict[str, Any]:
    """The numbers of the weights with this digest; none, after one sentence that says why, where they do not fit."""
    if not file.is_file():
        return {}
    try:
        packed = _read(file)
    except RalkitError as error:
        why = str(error).rpartition("; ")[0]
    else:
        if packed["digest"] == digest:
            return packed["artefacts"]
        why = f"{file} is of other weights"
    if distributed.rank() == 0:
        print(f"{why}; what the notebooks need of it is measured here", flush=True)
    return {}


def steps_between(start: State, end: State) -> State:
    """How many float16 numbers lie between two states, parameter by parameter, as int16, which wraps around.

    Fine-tuning moves parameters by little, so these are small numbers, and a compressed file has less to keep.
    """
    return {name: end[name].view(torch.int16) - x.view(torch.int16) for name, x in start.items()}


def steps_from(start: State, steps: State) -> State:
    """The state that so many steps lead to: the inverse of `steps_between`, to the last bit."""
    return {name: (x.view(torch.int16) + steps[name]).view(torch.float16) for name, x in start.items()}


def _add_starts(packed: dict[str, Any]) -> None:
    """Turn steps into the weights that they lead to, where a prior was packed as its way from an MLE prior."""
    for name, starts in packed.get("starts", {}).items():  # files of version 1 have none
        states = packed["artefacts"][name]["content"]["states"]
        for module, start in starts.items():
            states[module] = steps_from(packed["artefacts"][start]["content"]["states"]["prior"], states[module])


def _unpack(packed: dict[str, Any], folder: Path, world: str) -> None:
    """Write what is missing of a frozen world's artefacts; processes that are killed or come together do no harm."""
    if distributed.rank() == 0 and (folder / CONTENTS).exists() and not _is_whole(folder):
        (folder / CONTENTS).unlink(missing_ok=True)  # something was deleted: it is written again
    with Artefacts(folder).made_once(folder / CONTENTS, f"pretrained {world}") as is_there:
        if is_there or distributed.rank() > 0:
            return
        _add_starts(packed)
        for name, content in packed["artefacts"].items():
            if (folder / name).exists():
                continue
            if name.endswith(".int16"):
                store.write_rows(folder / name, [content])
            else:
                store.write(folder / name, content)
        about = {name: packed[name] for name in ("version", "digest")}
        store.write(folder / CONTENTS, about | {"names": list(packed["artefacts"])})
