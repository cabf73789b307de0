"""RAL on photographs: each seed trains a world of its own, VQ-VAE and all, and leaves its rows beside the others'.

So the rows of a seed may be made on another machine, or on another day, than those of the next. Methods are compared
within their seed, and a difference is decided over the seeds.
"""

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from torch import Tensor

from .. import store
from ..errors import RalkitError
from ..inception import FILE
from ..metrics import frechet_distance
from ..protocols import Codes, Prior
from .claims import PRICE, REJECTED
from .predictions import ON_PHOTOGRAPHS
from .record import made_on, markdown_table
from .significance import LEVEL, bare, direction, holm, over, p_value, side
from .study import MEASURE_RECIPE, Study
from .world import LEAST, Numbers, World

PRESET = "photographs"
TEMPERATURES = (1.0, 0.9, 0.8, 0.7)  # of MLE
METHODS = (
    "MLE continued", "RAL single", "RAL intermediate", "RAL patches single", "RAL patches intermediate", "RAL anchored",
)  # fmt: skip
REAL, DECODED = "to real", "to reconstructed"  # images that a set is compared with
CHOOSING = "to held-out real"  # what the temperature of MLE is chosen by
BEST = "MLE at its best T"
RIVALS = "MLE", "MLE continued", BEST, REJECTED


def colder(temperature: float) -> str:
    """What MLE is called at a temperature below 1."""
    return f"MLE, T {temperature:g}"


class Photographs(World):
    """Images with one map of codes, whose test images are two halves: one judges, by the other a temperature is chosen.

    `compare` has one more distance: to the images of the second half.
    """

    def watch(self, priors: Sequence[Prior], codes: Codes, images: Tensor) -> Numbers:
        """NLL_test alone: Inception would take longer than the updates, and so few images give it no distance."""
        return {"NLL_test": self.nll(priors, self.test_codes(self.config.n_curve))}

    @cached_property
    def n_eval(self) -> int:
        n = min(self.config.n_eval, self.about_images["train"], self.about_images["test"] // 2)
        if n < LEAST:
            raise RalkitError(
                f"{self.about_images['name']} has {self.about_images['test']} test images; give {2 * LEAST} or more, "
                "because one half of them chooses a temperature and the other half judges"
            )
        return n

    @property
    def numbers_inputs(self) -> tuple:
        return *super().numbers_inputs, CHOOSING  # rows of another world of these images lack that distance

    @property
    def about(self) -> dict[str, Any]:
        """What the rows of all seeds have in common."""
        settings = store.key("photographs", self.config, METHODS, TEMPERATURES, PRICE, MEASURE_RECIPE)
        images = self.about_images | {"key": self.images_key}
        return {"dataset": images, "features": self.metric, "n_eval": self.n_eval, "settings": settings}

    def compare(self, features: Tensor) -> Numbers:
        n = self.n_eval
        inputs = (self.images_key, n, self.metric, *self.features.inputs)
        held_out = self.trainer.tensor(
            f"features {self.metric} held-out real {self.name}", inputs,
            lambda: self.features(self.images.test[n : 2 * n]),
        )  # fmt: skip
        return super().compare(features) | {f"{self.metric} {CHOOSING}": frechet_distance(held_out, features)}


def measure(dataset: str, features: str | None, seeds: Sequence[int], folder: Path | None, **options: Any) -> Path:
    """Train and measure every method on the photographs of `dataset`, in a world for each seed; returns the folder.

    The rows are added to `rows.json` in `folder` (default: figures/ in the run's own folder), and a REPORT.md is
    written of all rows there. Networks and rows that are there already are not made again. `features` is as `Features`
    takes it (default: the file in data/). Raises RalkitError for the faces, which are no photographs, for a data set or
    network that is missing or cannot be read, and for rows of other images, of another network or of other settings.
    """
    if dataset == "faces":
        raise RalkitError("--dataset faces: give a folder, zip or lmdb of photographs, such as img_align_celeba.zip")
    for seed in seeds:
        world = Photographs(PRESET, dataset, seed, levels=1, features=features or "auto", **options)
        if features is None and world.features.name == "faces":
            raise RalkitError(f"no FID network in data/: put {FILE} there, or give --features inception")
        folder = folder or world.project.figures
        folder.mkdir(parents=True, exist_ok=True)
        kept, about = read(folder), world.about
        if kept and (other := [key for key, value in about.items() if kept["about"].get(key) != value]):
            raise RalkitError(
                f"{folder / 'rows.json'} has other {' and '.join(other)} than this run; give another --out"
            )
        if str(seed) not in kept.get("seeds", {}):
            rows = _rows(Study(world), seed)
            with FileLock(world.project.run / "rows.lock"):  # another process may have added a seed meanwhile
                of_seeds = read(folder).get("seeds", {}) | {str(seed): rows}
                kept = {"about": about, "seeds": dict(sorted(of_seeds.items(), key=lambda item: int(item[0])))}
                store.write_bytes(folder / "rows.json", f"{json.dumps(kept, indent=1)}\n".encode())
    store.write_bytes(folder / "REPORT.md", report(read(folder)).encode())
    return folder


def _rows(study: Study, seed: int) -> dict[str, Any]:
    """The numbers of every method in the world of one seed, its floors, and what they were made by."""
    world = study.world

    def said(what: str, numbers: Callable[[], Numbers]) -> Numbers:
        print(f"seed {seed}: {what}", flush=True)
        return numbers()

    rows = {m: said(m, lambda m=m: study.measure(m, seed)) for m in ("MLE", *METHODS)}
    rows |= {colder(t): said(colder(t), lambda t=t: study.measure("MLE", seed, t)) for t in TEMPERATURES[1:]}
    rows[REJECTED] = said(REJECTED, lambda: study.measure_rejection(seed, PRICE))
    histories = {m: study.history(m, seed) for m in ("MLE", *METHODS)}
    signals = {m: h for m, h in histories.items() if "AUC" in h}
    return {
        "methods": rows,
        "floors": said("floors", lambda: world.floors),
        "AUC": {m: [h["AUC"][0], h["AUC"][-1]] for m, h in signals.items()},
        "SNR": {m: float(np.mean(h["SNR"])) for m, h in signals.items()},
        "training seconds": round(sum(h["seconds"][-1] for h in study.trainer.histories.values())),
        "made": made_on(world),
    }


def read(folder: Path) -> dict[str, Any]:
    """What `rows.json` in a folder holds; nothing where there is no such file. RalkitError if it is damaged."""
    file = folder / "rows.json"
    try:
        kept = json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise RalkitError(f"{file} is damaged; take it from git again, or remove it") from error
    if kept and not (isinstance(kept, dict) and {"about", "seeds"} <= kept.keys()):
        raise RalkitError(f"{file} is no file of `photographs`; give another --out")
    return kept


# ---- What the rows say ----


def by_method(kept: dict[str, Any]) -> dict[str, list[Numbers]]:
    """The numbers of each method and rival, one row a seed, in the order of the seeds."""
    found: dict[str, list[Numbers]] = {}
    for of_seed in kept["seeds"].values():
        rows = of_seed["methods"]
        curve = {T: rows["MLE" if T == 1 else colder(T)] for T in TEMPERATURES}
        T = min(curve, key=lambda T: curve[T][f"{kept['about']['features']} {CHOOSING}"])
        for method, row in (rows | {BEST: curve[T] | {"temperature": T}}).items():
            found.setdefault(method, []).append(row)
    return found


def numbers_table(kept: dict[str, Any]) -> list[dict[str, str]]:
    """A line for each method and for each floor: distances, fidelity and NLL_test, over the seeds."""
    rows, metric = by_method(kept), kept["about"]["features"]
    for of_seed in kept["seeds"].values():
        for name, floor in of_seed["floors"].items():
            rows.setdefault(f"floor: {name}", []).append(floor)
    columns = {f"{metric} {REAL}": ".4f", f"{metric} {DECODED}": ".4f", "precision": ".3f", "recall": ".3f"}
    columns["NLL_test"] = ".1f"
    return [
        {"method": name} | {key: bare([r[key] for r in of], x) if key in of[0] else "" for key, x in columns.items()}
        for name, of in rows.items()
    ]


def differences(kept: dict[str, Any], where: str = REAL) -> dict[str, dict[str, np.ndarray]]:
    """The distance of each RAL method less that of each rival, by seed: below 0 RAL is better."""
    key = f"{kept['about']['features']} {where}"
    distance = {method: np.array([row[key] for row in rows]) for method, rows in by_method(kept).items()}
    return {m: {rival: distance[m] - distance[rival] for rival in RIVALS} for m in METHODS if m not in RIVALS}


def differences_table(kept: dict[str, Any], where: str = REAL) -> list[dict[str, str]]:
    """`differences` as lines: mean, spread, and whether RAL is lower or higher beyond chance."""
    return [
        {"method": method} | {f"minus {rival}": f"{bare(d, '+.3g')}: {side(d)}" for rival, d in beside.items()}
        for method, beside in differences(kept, where).items()
    ]


def decided(kept: dict[str, Any], where: str = REAL) -> str:
    """How many of the `differences` are decided, each alone and after Holm's correction, and which T was chosen."""
    tests = [d for beside in differences(kept, where).values() for d in beside.values()]
    p = holm([p_value(d.mean(), float(np.std(d, ddof=1)), len(d)) for d in tests if len(d) > 1])
    chosen = ", ".join(f"{row['temperature']:g}" for row in by_method(kept)[BEST])
    alone = sum(direction(d) != 0 for d in tests)
    return (
        f"Of these {len(tests)} differences {alone} are decided, each judged alone (95 %, Student's t over seeds), and "
        f"{sum(x < 1 - LEVEL for x in p)} after Holm's correction for all of them. *{BEST}* is {chosen}, seed by seed."
    )


def sentences(kept: dict[str, Any], where: str = REAL) -> list[str]:
    """One sentence for each RAL method: which rivals it beats and which beat it, by one distance."""
    said, metric, one = [], kept["about"]["features"], len(kept["seeds"]) == 1
    for method, beside in differences(kept, where).items():
        sides = {rival: int(np.sign(d[0])) if one else direction(d) for rival, d in beside.items()}
        parts = [
            f"{words} {_listed([rival for rival, s in sides.items() if s == which])}"
            for which, words in ((-1, "below that of"), (1, "above that of"), (0, "not decided beside that of"))
            if which in sides.values()
        ]
        said.append(f"**{method}**: its {metric} {where} is {'; '.join(parts)}{' (one run decides nothing)' * one}.")
    return said


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]


def signals_table(kept: dict[str, Any]) -> list[dict[str, str]]:
    """A line for each RAL method: its critic's AUC before the first update and after the last, and the mean SNR."""
    seeds = list(kept["seeds"].values())
    return [
        {
            "method": method,
            "AUC, first": bare([seed["AUC"][method][0] for seed in seeds], ".2f"),
            "AUC, last": bare([seed["AUC"][method][-1] for seed in seeds], ".2f"),
            "SNR, mean": bare([seed["SNR"][method] for seed in seeds], ".2f"),
        }
        for method in seeds[0]["AUC"]
    ]


def report(kept: dict[str, Any]) -> str:
    """The rows as a page: what they say, the numbers, the comparisons, what they took."""
    about, seeds = kept["about"], kept["seeds"]
    data, n = about["dataset"], about["n_eval"]
    tried = ", ".join(f"{t:g}" for t in TEMPERATURES)
    how = (
        f"{data['train']} images to train on, {n} in every set that is measured. Real images are the first {n} test "
        f"images, and reconstructions are what the VQ-VAE keeps of them; precision and recall are beside these. "
        f"*{BEST}* is the temperature of {tried} whose samples are nearest to the next {n} test images, seed by seed. "
        "A distance depends on the number of images, so these are not comparable with published ones. Floors are of "
        "images that no prior made. Behind a mean, ± is the standard deviation over seeds."
    )
    made = [
        f"* seed {seed}: {row['training seconds'] / 60:.0f} minutes of training, measuring not counted, on "
        f"{row['made']['device']}, torch {row['made']['torch']}, commit {row['made']['commit']}"
        for seed, row in seeds.items()
    ]
    parts = [
        f"# RAL on photographs: {data['name']} at {data['size']}x{data['size']}",
        "\n".join(f"* {sentence}" for where in (REAL, DECODED) for sentence in sentences(kept, where)),
        f"## The numbers, {over([*seeds])}", how, markdown_table(numbers_table(kept)),
        "## Distance to real images, minus that of each rival", markdown_table(differences_table(kept)), decided(kept),
        "## Distance to reconstructions, minus that of each rival", markdown_table(differences_table(kept, DECODED)),
        decided(kept, DECODED) + " It was chosen by the distance to real images.",
        "## What the critics see, and how much of an update is signal", markdown_table(signals_table(kept)),
        "## What we expected before the first run",
        "\n".join(f"* **{method}**: {why}." for method, why in ON_PHOTOGRAPHS.items()),
        "## What it took", "\n".join(made),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"
