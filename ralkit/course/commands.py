"""What the command line does beside `reproduce`: train generators, sample them, complete images, list presets."""

import io
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import distributed, store
from ..errors import RalkitError
from ..protocols import Codes
from ..sampling import check_number, check_temperature, complete
from ..training import seeded
from .checks import check_seed
from .freeze import content_of, numbers_of
from .frozen import file_of, numbers_beside
from .oracle import OracleWorld
from .presets import PRESETS, get_preset
from .project import project_root
from .study import Priors, Study
from .trainer import Fitting
from .world import World


def make_world(
    preset: str, dataset: str, seed: int, levels: int | None, features: str | None, root: Path | None,
    pretrained: bool, **fitting: Any,
) -> World:  # fmt: skip
    """The world that the options name: of images with `levels` maps of codes, else that of the oracle experiment."""
    options = {"root": root, "fitting": Fitting(**fitting), "pretrained": pretrained}
    if levels is None:
        if features is not None:
            raise RalkitError(
                f"--features {features} is for images: give --levels 1 or 2 with it (the oracle experiment measures "
                "FD-faces)"
            )
        return OracleWorld(preset, dataset, seed, **options)
    return World(preset, dataset, seed, levels=levels, features=features or "auto", **options)


def train(method: list[str] | None, generator: list[int] | None, **options: Any) -> None:
    """Train generators, or continue or load them; without a method, make the world that they learn in.

    Under torchrun all its processes train each of them together.
    """
    method, generator = method or [], generator or []
    if len(method) != len(generator):
        raise RalkitError(f"{len(method)} times --method and {len(generator)} times --generator; give one for each")
    with distributed.process_group():
        study = Study(make_world(**options))
        for name in method:
            study.recipe(name)  # an unknown one is said before hours of training
        if not method:
            study.world.prepare()
        for name, seed in zip(method, generator, strict=True):
            study.generator(name, seed)


def sample(method: str, generator: int | None, number: int, temperature: float, out: Path, **options: Any) -> None:
    """Draw images from a generator: a sheet as PNG at `out`, their codes beside it."""
    study = Study(make_world(**options))
    priors = _ready(study, method, generator, number, temperature)
    codes = study.world.sample(priors, number, study.world.seed, temperatures=[temperature] * len(priors))
    _write(study.world, out, codes, study.world.decode(*codes), columns=min(number, 8))


def complete_images(
    method: str,
    generator: int | None,
    number: int,
    temperature: float,
    rows: int,
    tries: int,
    out: Path,
    **options: Any,
) -> None:
    """Complete the first test images below their first `rows` rows of (top) codes: images above, completions below."""
    study = Study(make_world(**options))
    world, (H, W) = study.world, study.world.shapes[0]
    check_number("--rows", rows, 0, H)
    check_number("--tries", tries, 1)
    check_number("--number", number, 1, world.about_images["test"])
    priors = _ready(study, method, generator, number, temperature)
    real = world.encode(world.images.first("test", number))
    keep = torch.arange(H)[:, None].expand(H, W) < rows
    with seeded(world.seed):
        codes = complete(priors, real, keep, tries=tries, temperature=temperature)
    _write(world, out, codes, torch.cat([world.decode(*real), world.decode(*codes)]), columns=number)


def _ready(study: Study, method: str, generator: int | None, number: int, temperature: float) -> Priors:
    """The priors to draw `number` images from at `temperature`; what is not there yet is trained first."""
    check_number("--number", number, 1)
    check_temperature(temperature)
    study.recipe(method)
    seed = study.seeds[0] if generator is None else generator
    if not study.is_stored(method, seed):
        print(
            f"{method} of seed {seed} is not in {study.trainer.artefacts.folder} yet: it is trained first", flush=True
        )
    return study.generator(method, seed)


def _write(world: World, out: Path, codes: Codes, images: Tensor, columns: int) -> None:
    from PIL import Image

    from .plots import tile

    picture, numbers = io.BytesIO(), io.BytesIO()
    Image.fromarray(tile(images, columns)).save(picture, "PNG")
    names = [name or "codes" for name in world.level_names]
    np.savez_compressed(numbers, **{name: c.cpu().numpy() for name, c in zip(names, codes, strict=True)})
    for file, content in ((out.with_suffix(".png"), picture), (out.with_suffix(".npz"), numbers)):
        store.write_bytes(file, content.getvalue())
    print(f"{out.with_suffix('.png')}, its codes ({', '.join(names)}) in {out.with_suffix('.npz')}")


def freeze(preset: str, levels: int | None, root: Path | None, pretrained: bool) -> None:
    """Write a world that runs of a preset left to its file in data/pretrained/; of a pretrained world its numbers."""
    world = make_world(preset, "faces", 1, levels, None, root, pretrained)
    if pretrained and not world.frozen:
        raise RalkitError(f"there is no pretrained {world.name} of {preset}; run freeze without --pretrained")
    study, file = Study(world), file_of(world.project, world.name)
    if not pretrained:
        _keep(file, content_of(study))
    if (numbers := numbers_of(study))["artefacts"]:
        _keep(numbers_beside(file), numbers)


def _keep(file: Path, content: dict[str, Any]) -> None:
    store.write(file, content, compressed=True)
    print(f"{file}: {len(content['artefacts'])} artefacts, {file.stat().st_size / 1e6:.1f} MB")


def bench(
    world: list[str] | None, method: list[str] | None, generators: str | None, out: Path | None, preset: str,
    root: Path | None, pretrained: bool,
) -> None:  # fmt: skip
    """Score methods in worlds of the test bed, and print each beside all that were scored before."""
    from . import bench as bed
    from .record import markdown_table
    from .workers import call_apart

    for name in method or ():
        if name not in bed.METHODS:
            bed.load(name)  # what is wrong with it is said before any work
    options = {"root": root, "pretrained": pretrained}
    bench, worlds = bed.Bench(get_preset(preset), **options), world or list(bed.WORLDS)
    asked = None if generators is None else _seeds("--generators", generators)
    jobs = [(w, m, s) for w in worlds for m in method or () for s in asked or bench.study(w).seeds]
    jobs = [job for job in jobs if job[1] not in bed.METHODS or not bench.has(*job)]
    own, waiting = {name: {} for name in worlds}, Counter(name for name, _, _ in jobs)

    def show(name: str) -> None:
        if out is not None and own[name]:
            file = out.with_name(f"{out.stem}-{name.replace(' ', '-')}{out.suffix}")
            content = {"world": name, "weights": bench.study(name).world.weights, "rows": own[name]}
            store.write_bytes(file, f"{json.dumps(content, indent=1)}\n".encode())
        print(f"\n{name}\n\n{markdown_table(bed.comparison(bed.found(bench, name) | own[name]))}\n", flush=True)

    for name in worlds:
        if not waiting[name]:
            show(name)
    # Side by side, because each of these networks is too small for two cores.
    measured = call_apart(partial(bed.measure, bench.preset, options), jobs)
    for count, ((name, label, seed), rows) in enumerate(measured, 1):
        print(f"{count} of {len(jobs)}: {name}, {label}, generator {seed}", flush=True)
        if label not in bed.METHODS:
            own[name].setdefault(label, {})[seed] = rows
        waiting[name] -= 1
        if not waiting[name]:
            show(name)


def _seeds(option: str, seeds: str) -> list[int]:
    """The numbers of "1,2"; RalkitError, which names the option, for what is none."""
    if not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        raise RalkitError(f"{option} {seeds}: give seeds, such as 1,2")
    found = [int(seed) for seed in seeds.split(",")]
    for seed in found:
        check_seed(seed, option)
    return found


def photographs(dataset: str, features: str | None, seeds: str, out: Path | None, root: Path | None) -> None:
    """Measure MLE and RAL on real images, and print what the rows of all seeds so far say."""
    from . import photographs as photos

    folder = photos.measure(dataset, features, _seeds("--seeds", seeds), out, root=root)
    print("\n".join((*photos.sentences(photos.read(folder)), str(folder / "REPORT.md"))))


def presets(check: str | None) -> None:
    """List the presets and what they cost; or build one, run a step of every stage, and estimate its full run."""
    chosen = None if check is None else get_preset(check)
    from . import costs
    from .record import in_all, read_minutes, timed_notebooks

    if chosen:
        return costs.check(chosen)
    for preset in PRESETS.values():
        print(f"{preset.name}: {preset.about}")
        run = read_minutes(project_root() / "figures" / preset.name / "minutes.json")
        if run["minutes"]:
            number = len(timed_notebooks(run["minutes"]))
            print(f"    measured: {number} notebooks in {in_all(run['minutes']):.0f} minutes on {run['device']}")
        for name, cfg in costs.experiments(preset).items():
            sizes = costs.parameters(cfg).items()
            print(f"    {name}, million parameters: " + ", ".join(f"{key} {n / 1e6:.3g}" for key, n in sizes))
