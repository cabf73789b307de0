"""The course's notebooks run in order, with figures, tables and REPORT.md as the result."""

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .. import store
from ..errors import RalkitError
from .presets import COMMITTED, get_preset

REPORT = "09"
AT_ONCE = 4  # notebooks side by side, at most: each takes about a gigabyte
ABLATIONS = "10"  # it trains many more runs: where it is asked for, or where the preset has ablations


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
    pretrained = bool(parameters.get("pretrained"))
    # What the ablations train is in no pretrained world.
    chosen = notebooks(root, only, ablations=get_preset(parameters["preset"]).ablations and not pretrained)
    import torch  # this and the next are slow to import

    from . import report
    from .execute import run_notebook, run_side_by_side, say
    from .outputs import keep_outputs
    from .record import TRAINING, WHOLE
    from .workers import usable_cores

    artefacts, started = run / "artefacts", time.time()
    if force:
        _remove(artefacts)
    from_nothing = not any(artefacts.glob("**/*.pt"))
    timed = Times(figures / "minutes.json", device, pretrained, from_nothing)
    committed = figures == root / "figures" / COMMITTED and parameters["seed"] == 1
    # A notebook keeps about one core busy. A GPU has one at a time, and so has the report, which reads what all left.
    beside = sorted((path for path in chosen if path.name[:2] != REPORT), key=lambda path: -timed.before(path.stem))
    workers = 1 if torch.cuda.is_available() else min(usable_cores(), AT_ONCE, max(1, len(beside)))
    threads = usable_cores() // workers if workers > 1 else None
    rounds = [
        {path.stem: partial(run_notebook, path, run / path.name, parameters, threads) for path in beside},
        {p.stem: partial(run_notebook, p, run / p.name, parameters) for p in chosen if p not in beside},
    ]
    if is_course(path.stem for path in chosen) and not pretrained:
        rounds.insert(0, {TRAINING: partial(train_course, root, parameters)})
    waiting = [name for steps in rounds for name in steps]
    number = len(waiting)
    say(f"{title}: {', '.join(waiting)}; {timed.so_far(waiting, workers)}")
    for steps in rounds:
        for name, took in run_side_by_side(steps, workers):
            waiting.remove(name)
            timed.keep(name, took)
            count = f"[{number - len(waiting)}/{number}]"
            say(f"{count} {name}: {took:.1f} minutes; {timed.so_far(waiting, workers)}")
            if committed and name != TRAINING:
                source = root / "notebooks" / f"{name}.ipynb"
                try:
                    keep_outputs(run / source.name, source, root)
                except RalkitError as error:  # the others are worth running
                    say(f"{source.name} keeps its outputs: {error}")
    if is_course(path.stem for path in chosen):
        timed.keep(WHOLE, timed.passed())
    if only is None:
        report.forget(figures, started)
    say(f"Executed notebooks: {run}. Report: {report.write_report(figures, timed.known['minutes'])}")
    for file in report.damaged(figures):
        say(f"{file} is damaged and left out of the report; delete it, or run the notebook that makes it again")
    readme = root / "README.md"
    if committed and readme.exists():
        text = report.update_readme(readme, report.readme_parts(root / "figures"))
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


class Times:
    """The minutes of the steps of a run, kept in a file that has those of one device, and what they say of the rest."""

    def __init__(self, file: Path, device: str, pretrained: bool, from_nothing: bool):
        from .execute import say
        from .record import MINUTES, read_minutes

        self.file, self.from_nothing, self.began = file, from_nothing, time.monotonic()
        # A run that loads what is there says little of what making it takes; to load is what pretrained worlds are for.
        self.counts = from_nothing or pretrained
        self.known, kind = read_minutes(file), MINUTES[pretrained]
        if file.exists() and not self.known["device"]:
            say(f"{file} cannot be read; the minutes of earlier runs are forgotten")
        self.earlier, self.spent = dict(self.known[kind]), {}
        self.ours = self.known["device"] == device
        if not self.ours:  # another machine's minutes are not kept, and say nothing of this one until its pace is known
            self.known = {"device": device} | {key: {} for key in MINUTES}
        self.minutes = self.known[kind]

    def before(self, name: str) -> float:
        """The minutes of a step in an earlier run, on any device; 0 where they are not known."""
        return self.earlier.get(name, 0.0)

    def passed(self) -> float:
        """The minutes since the run began."""
        return (time.monotonic() - self.began) / 60

    def keep(self, name: str, took: float) -> None:
        """Write the minutes of a step."""
        self.spent[name] = took
        self.minutes[name] = took if self.counts else max(took, self.minutes.get(name, 0.0))
        store.write_bytes(self.file, json.dumps(self.known, indent=1, sort_keys=True).encode())

    def so_far(self, waiting: Sequence[str], workers: int) -> str:
        """How long the run has taken, and what is left."""
        pace = 1.0 if self.ours else _pace(self.spent, self.earlier) if self.from_nothing else None
        left = _minutes_left(waiting, self.earlier, pace, self.from_nothing, workers)
        return f"{_minutes(self.passed())} so far{left}"


def _minutes(minutes: float) -> str:
    n = round(minutes)
    return f"{n} minute{'s' * (n != 1)}"


def _pace(spent: dict[str, float], earlier: dict[str, float]) -> float | None:
    """How many times as long as in earlier runs the notebooks of this one took; None where that is unknown."""
    before = sum(earlier.get(name, 0.0) for name in spent)
    return sum(minutes for name, minutes in spent.items() if name in earlier) / before if before else None


def _minutes_left(
    names: Sequence[str], earlier: dict[str, float], pace: float | None, from_nothing: bool, workers: int = 1
) -> str:
    """What earlier runs say of the time for these steps, where everything takes `pace` times as long.

    Notebooks run `workers` at a time; nothing else does.
    """
    if pace is None or not all(name in earlier for name in names):
        return ", no earlier run to judge by"
    from .record import TRAINING  # slow to import

    alone = (TRAINING, REPORT)
    left = _minutes(pace * sum(earlier[n] / (1 if n.startswith(alone) else workers) for n in names))
    # The minutes are those of making everything, and what is there already is only loaded.
    return f", about {left} left" if from_nothing else f", at most about {left} left"
