"""Figures and tables as files, each with its origin: what it was made from, by which code, on what machine."""

import csv
import io
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from matplotlib.figure import Figure

from .. import __version__, store
from ..training import device_name
from . import origin, plots
from .project import commit_of
from .world import World

TRAINING = "training"  # among the minutes of notebooks: what `reproduce` trains before them
WHOLE = "everything"  # among them: what `reproduce` takes in all, with notebooks side by side
MINUTES = "minutes", "pretrained minutes"  # of runs from scratch, and of those with worlds from data/pretrained/


def made_on(world: World) -> dict[str, str]:
    """What a row of numbers was made by: commit, version of torch, device."""
    return {"commit": commit_of(), "torch": str(torch.__version__), "device": device_name(world.device)}


class Record:
    """The folder in which a run of a world leaves its figures and tables; `seeds` are those they are made from."""

    def __init__(self, world: World, seeds: Sequence[int] | None = None):
        self.world, self.figures = world, world.project.figures
        self.seeds = world.seeds if seeds is None else seeds  # default: all of the world
        self.began = time.monotonic()

    def about(self, notebook: str) -> str:
        """A few words on this run, and the minutes that `notebook` ("03_oracle") took in the recorded ones."""
        project, device = self.world.project, device_name(self.world.device)
        took = []
        for file in sorted((project.root / "figures").glob("*/minutes.json")):
            run = read_minutes(file)
            for key in MINUTES:
                if notebook in run[key]:
                    kind = f"{file.parent.name}{', pretrained,' * (key != 'minutes')}"
                    took.append(f"{run[key][notebook]:.1f} minutes with {kind} on {run['device']}")
        about = (
            f"Preset {project.preset.name}, data set {project.dataset}, seed{'s' * (len(self.seeds) > 1)} "
            f"{', '.join(map(str, self.seeds))}, on {device}. The networks are {self.world.weights}."
        )
        return f"{about} When all notebooks ran, this one took {'; '.join(took)}." if took else about

    def origin(self) -> dict[str, Any]:
        """Where a number comes from: preset, configuration, data, seeds, device, versions, time, commit."""
        world = self.world
        return {
            "preset": world.project.preset.name,
            "configuration": asdict(world.config),
            "world": world.name,
            "weights": world.weights,
            "features": world.metric,
            "fitting": asdict(world.fitting),
            "seeds": list(self.seeds),
            "dataset": world.about_images,
            "device": device_name(world.device),
            "versions": {"ralkit": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "seconds": round(time.monotonic() - self.began, 1),
            "commit": commit_of(),
        }

    def figure(self, name: str, figure: Figure, title: str, data: Any = None, note: str = "") -> Figure:
        """Keep a figure as figures/<preset>/<name>.png, its data and origin beside it; return it, to be shown."""
        store.write_bytes(self.figures / f"{name}.png", plots.png_of(figure))
        self._save_about(name, {"kind": "figure", "title": title, "data": data, "note": note})
        return figure

    def table(
        self, name: str, rows: list[dict[str, Any]], title: str, note: str = "", paper: list[dict] | None = None
    ) -> "Shown":
        """Keep rows as <name>.csv and a page .md, their origin beside; return what a notebook shows of them.

        That is the table, the paper's beside it where it is given, and the note.
        """
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        about = {"kind": "table", "title": title, "rows": rows, "paper": paper, "note": note}
        store.write_bytes(self.figures / f"{name}.csv", buffer.getvalue().encode())
        page = table_page(about)
        store.write_bytes(self.figures / f"{name}.md", f"# {title}\n\n{page}\n".encode())
        self._save_about(name, about)
        return Shown(page)

    def _save_about(self, name: str, about: dict[str, Any]) -> None:
        """Write what a figure or table is, with what of its origin the folder's origin.json does not say."""
        whole = self.origin()
        with FileLock(self.world.project.run / "origin.lock"):  # notebooks run side by side
            if origin.shared(self.figures) is None:
                origin.write_shared(self.figures, whole)
        of_all = origin.shared(self.figures)
        content = json.dumps(about | {"origin": origin.without_shared(whole, of_all)}, indent=1)
        store.write_bytes(self.figures / f"{name}.json", f"{content}\n".encode())


def read_minutes(file: Path) -> dict[str, Any]:
    """The device, and the minutes of each notebook, that runs recorded in `file`; none where it cannot be read."""
    try:
        run = {"pretrained minutes": {}} | json.loads(file.read_text())
        return {"device": str(run["device"])} | {k: {str(n): float(v) for n, v in run[k].items()} for k in MINUTES}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {"device": ""} | {key: {} for key in MINUTES}


def in_all(minutes: dict[str, float]) -> float:
    """How long a run of all these takes: less than their sum where notebooks ran side by side."""
    return minutes.get(WHOLE, sum(minutes.values()))


def timed_notebooks(minutes: dict[str, float]) -> list[str]:
    """The notebooks among these, in order."""
    return sorted(minutes.keys() - {TRAINING, WHOLE})


class Shown(str):
    """Markdown that a notebook shows as what it says."""

    def _repr_markdown_(self) -> str:
        return self


def table_page(about: dict[str, Any]) -> str:
    """A table in markdown: ours, the paper's, and what was concluded."""
    parts = [markdown_table(about["rows"])]
    if about.get("paper"):
        parts += ["The paper's:", markdown_table(about["paper"])]
    return "\n\n".join([*parts, *([about["note"]] if about["note"] else [])])


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """A markdown table of rows with the same columns; floats of more than five digits get four."""

    def show(v: Any) -> str:
        if isinstance(v, float):
            v = float(f"{v:.9g}")  # 127.99999999999997 is 128
            v = f"{v:.4g}" if len(f"{v:.9g}") > 6 else v
        return f"{v}".replace("|", r"\|")

    lines = [
        [show(name) for name in rows[0]],
        ["---"] * len(rows[0]),
        *([show(v) for v in row.values()] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
