"""The course's notebooks run in order, with figures, tables and REPORT.md as the result."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import store
from ..errors import RalkitError


def notebooks(root: Path, only: str | None = None) -> list[Path]:
    """The course's notebooks in order, or those whose numbers `only` lists ("03", "3" or "01,03")."""
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise RalkitError(f"no notebooks in {root / 'notebooks'}; run the command in the project's folder")
    if only is None:
        return found
    there = [path.name[:2] for path in found]
    wanted = [number.strip().zfill(2) for number in only.split(",") if number.strip()]
    if not wanted:
        raise RalkitError(f"--only {only!r} names no notebook; the numbers are {', '.join(there)}")
    if missing := [number for number in wanted if number not in there]:
        raise RalkitError(f"there is no notebook {', '.join(missing)}; the numbers are {', '.join(there)}")
    return [path for path in found if path.name[:2] in wanted]


def reproduce(
    *, root: Path, run: Path, figures: Path, parameters: dict[str, Any], title: str, device: str,
    only: str | None = None, force: bool = False,
) -> None:  # fmt: skip
    """Run the notebooks of the project in `root` headless; write their figures, tables and REPORT.md.

    `parameters` are those of every notebook. The executed notebooks are written to `run`, where `run`/artefacts holds
    what was trained; that is not made again, unless with `force`. `title` is shown with the progress, and `device` is
    recorded with the minutes. Raises RalkitError for a notebook that fails, and for a file that cannot be written.
    """
    chosen = notebooks(root, only)
    from . import report  # these are slow to import
    from .execute import run_notebook, say
    from .record import read_minutes

    artefacts, times = run / "artefacts", figures / "minutes.json"
    if force:
        _remove(artefacts)
    from_nothing = not any(artefacts.glob("*.pt"))
    known = read_minutes(times)
    if times.exists() and not known["device"]:
        say(f"{times} cannot be read; the minutes of earlier runs are forgotten")
    minutes = known["minutes"] if known["device"] == device else {}  # another machine's say nothing of this one
    started, clock = time.time(), time.monotonic()
    for i, source in enumerate(chosen, 1):
        left = _minutes_left(chosen[i - 1 :], minutes, from_nothing)
        say(f"[{i}/{len(chosen)}] {source.stem} ({title}), {_minutes((time.monotonic() - clock) / 60)} so far{left}")
        began = time.monotonic()
        run_notebook(source, run / source.name, parameters)
        spent = (time.monotonic() - began) / 60
        # A run that loads what is there says little of what making it takes.
        minutes[source.stem] = spent if from_nothing else max(spent, minutes.get(source.stem, 0.0))
        took = {"device": device, "minutes": minutes}
        store.write_bytes(times, json.dumps(took, indent=1, sort_keys=True).encode())
        say(f"[{i}/{len(chosen)}] {source.stem}: {spent:.1f} minutes")
    if only is None:
        report.forget(figures, started)
    say(f"Executed notebooks: {run}. Report: {report.write_report(figures, minutes)}")
    for file in report.damaged(figures):
        say(f"{file} is damaged and left out of the report; delete it, or run the notebook that makes it again")
    readme = root / "README.md"
    if figures == root / "figures" / "quick" and readme.exists():
        text = report.update_readme(readme, report.readme_parts(figures, "figures/quick/"))
        store.write_bytes(readme, text.encode())
    here = {source.stem for source in chosen}
    gone = [item for item in report.missing(figures) if item.notebook in here]
    if gone:
        items = ", ".join(f"{item.name} ({item.notebook})" for item in gone)
        raise RalkitError(f"notebooks ran to their end and left out: {items}; that is a defect of theirs")


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


def _minutes_left(chosen: Sequence[Path], minutes: dict[str, float], from_nothing: bool) -> str:
    """What earlier runs say of the time that the notebooks `chosen` will take; nothing if one of them is unknown."""
    if not all(source.stem in minutes for source in chosen):
        return ""
    left = _minutes(sum(minutes[source.stem] for source in chosen))
    # The minutes are those of making everything, and what is there already is only loaded.
    return f", about {left} left" if from_nothing else f", at most about {left} left"
