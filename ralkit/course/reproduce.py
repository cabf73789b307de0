"""The course's notebooks run in order, with figures, tables and REPORT.md as the result."""

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import store
from ..errors import RalkitError
from .presets import get_preset

ABLATIONS = "10"  # it has many more runs, and is run where it is asked for, or where the preset has ablations


def notebooks(root: Path, only: str | None = None, *, ablations: bool = True) -> list[Path]:
    """The course's notebooks in order, or those whose numbers `only` lists ("03", "3" or "01,03")."""
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise RalkitError(f"no notebooks in {root / 'notebooks'}; run the command in the project's folder")
    if only is None:
        return [path for path in found if ablations or path.name[:2] != ABLATIONS]
    there = [path.name[:2] for path in found]
    wanted = [number.strip().zfill(2) for number in only.split(",") if number.strip()]
    if not wanted:
        raise RalkitError(f"--only {only!r} names no notebook; the numbers are {', '.join(there)}")
    if missing := [number for number in wanted if number not in there]:
        raise RalkitError(f"there is no notebook {', '.join(missing)}; the numbers are {', '.join(there)}")
    return [path for path in found if path.name[:2] in wanted]


def is_course(notebooks: Iterable[str]) -> bool:
    """Whether the course's own notebooks, 00 to 09, are all among these names; what comes after them is an appendix."""
    return {f"{n:02}" for n in range(10)} <= {name[:2] for name in notebooks}


def reproduce(
    *, root: Path, run: Path, figures: Path, parameters: dict[str, Any], title: str, device: str,
    only: str | None = None, force: bool = False,
) -> None:  # fmt: skip
    """Run the notebooks of the project in `root` headless; write their figures, tables and REPORT.md.

    At the committed settings README.md and the outputs of the notebooks themselves are written, too.
    `parameters` are those of every notebook. The executed notebooks are written to `run`, where `run`/artefacts holds
    what was trained; that is not made again, unless with `force`. `title` is shown with the progress, and `device` is
    recorded with the minutes. Raises RalkitError for a notebook that fails, and for a file that cannot be written.
    """
    chosen = notebooks(root, only, ablations=get_preset(parameters["preset"]).ablations)
    from . import report  # these are slow to import
    from .execute import run_notebook, say
    from .outputs import keep_outputs
    from .record import MINUTES, TRAINING, read_minutes

    artefacts, times = run / "artefacts", figures / "minutes.json"
    if force:
        _remove(artefacts)
    from_nothing = not any(artefacts.glob("**/*.pt"))
    known = read_minutes(times)
    if times.exists() and not known["device"]:
        say(f"{times} cannot be read; the minutes of earlier runs are forgotten")
    kind = "pretrained minutes" if parameters.get("pretrained") else "minutes"
    earlier, ours, spent = dict(known[kind]), known["device"] == device, {}
    if not ours:  # another machine's minutes are not kept, and say nothing of this one until its pace is known
        known = {"device": device} | {key: {} for key in MINUTES}
    minutes = known[kind]
    committed = figures == root / "figures" / "quick" and parameters["seed"] == 1
    started, clock = time.time(), time.monotonic()
    steps = {path.stem: lambda path=path: run_notebook(path, run / path.name, parameters) for path in chosen}
    if is_course(steps) and not parameters.get("pretrained"):
        steps = {TRAINING: lambda: train_course(root, parameters)} | steps
    for i, (name, step) in enumerate(steps.items()):
        pace = 1.0 if ours else _pace(spent, earlier) if from_nothing else None
        left = _minutes_left(list(steps)[i:], earlier, pace, from_nothing)
        count = f"[{i + 1}/{len(steps)}]"
        say(f"{count} {name} ({title}), {_minutes((time.monotonic() - clock) / 60)} so far{left}")
        began = time.monotonic()
        step()
        spent[name] = took = (time.monotonic() - began) / 60
        # A run that loads what is there says little of what making it takes; to load is what pretrained worlds are for.
        always = from_nothing or kind == "pretrained minutes"
        minutes[name] = took if always else max(took, minutes.get(name, 0.0))
        store.write_bytes(times, json.dumps(known, indent=1, sort_keys=True).encode())
        say(f"{count} {name}: {took:.1f} minutes")
        if committed and name != TRAINING:
            source = root / "notebooks" / f"{name}.ipynb"
            try:
                keep_outputs(run / source.name, source, root)
            except RalkitError as error:  # the others are worth running
                say(f"{source.name} keeps its outputs: {error}")
    if only is None:
        report.forget(figures, started)
    say(f"Executed notebooks: {run}. Report: {report.write_report(figures, known['minutes'])}")
    for file in report.damaged(figures):
        say(f"{file} is damaged and left out of the report; delete it, or run the notebook that makes it again")
    readme = root / "README.md"
    if committed and readme.exists():
        text = report.update_readme(readme, report.readme_parts(figures, "figures/quick/"))
        store.write_bytes(readme, text.encode())
    here = {source.stem for source in chosen}
    gone = [item for item in report.missing(figures) if item.notebook in here]
    if gone:
        items = ", ".join(f"{item.name} ({item.notebook})" for item in gone)
        raise RalkitError(f"notebooks ran to their end and left out: {items}; that is a defect of theirs")


def train_course(root: Path, parameters: dict[str, Any]) -> None:
    """Train what the course's notebooks load, side by side on a CPU's cores; elsewhere they train it themselves."""
    from . import runs
    from .commands import make_world
    from .study import Study
    from .workers import train_side_by_side

    preset, dataset, seed = (parameters[key] for key in ("preset", "dataset", "seed"))
    levels = [n for n in runs.COURSE if n in get_preset(preset).levels]
    studies = [Study(make_world(preset, dataset, seed, n, None, root, False)) for n in levels]
    train_side_by_side(*((study, runs.COURSE[n], study.seeds) for n, study in zip(levels, studies, strict=True)))


def _remove(folder: Path) -> None:
    if folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise RalkitError(
                f"cannot remove {error.filename or folder}: {error.strerror}; remove it yourself"
            ) from error


def _minutes(minutes: float) -> str:
    n = round(minutes)
    return f"{n} minute{'s' * (n != 1)}"


def _pace(spent: dict[str, float], earlier: dict[str, float]) -> float | None:
    """How many times as long as in earlier runs the notebooks of this one took; None where that is unknown."""
    before = sum(earlier.get(name, 0.0) for name in spent)
    return sum(minutes for name, minutes in spent.items() if name in earlier) / before if before else None


def _minutes_left(names: Sequence[str], earlier: dict[str, float], pace: float | None, from_nothing: bool) -> str:
    """What earlier runs say of the time that notebooks will take where everything takes `pace` times as long."""
    if pace is None or not all(name in earlier for name in names):
        return ", no earlier run to judge by"
    left = _minutes(pace * sum(earlier[name] for name in names))
    # The minutes are those of making everything, and what is there already is only loaded.
    return f", about {left} left" if from_nothing else f", at most about {left} left"
