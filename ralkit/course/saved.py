"""What a run left in its folder: every figure and table with its origin, those that are damaged, those missing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .. import store
from ..errors import RalkitError
from . import origin, paper
from .record import table_page

Saved = dict[str, dict[str, Any]]  # by name, what `Record` wrote beside a figure or table


def saved(folder: Path) -> Saved:
    """All figures and tables of `folder`, the paper's first and in its order; damaged ones are left out."""
    of_all = origin.shared(folder)
    return {file.stem: about for file in _files(folder) if (about := _read(file, of_all)) is not None}


def damaged(folder: Path) -> list[Path]:
    """The files of figures and tables in `folder` that cannot be read, as after a crash or a careless edit.

    Last among them is origin.json where a figure needs it and it cannot be read, or is not that figure's.
    """
    of_all = origin.shared(folder)
    return [f for f in _files(folder) if _read(f, of_all) is None] + [folder / origin.NAME] * bool(unknown(folder))


def unknown(folder: Path) -> list[str]:
    """The names of the figures and tables whose origin.json is missing, damaged, or another one by now."""
    of_all = origin.shared(folder)
    return [
        file.stem
        for file in _files(folder)
        if _read(file, of_all) is not None and not origin.is_known(json.loads(file.read_text())["origin"], of_all)
    ]


def missing(folder: Path) -> list[paper.Item]:
    """The paper's tables and figures that no run has left in `folder`."""
    items = saved(folder)
    return [item for item in paper.ITEMS if item.file not in items]


def forget(folder: Path, before: float) -> None:
    """Remove the figures and tables that were last written before a time, and write what the others share anew.

    After a whole run the folder then holds that run's only. Raises RalkitError for a file that cannot be removed.
    """
    for about in _files(folder):
        try:
            if about.stat().st_mtime < before:
                for suffix in (".png", ".csv", ".md", ".json"):
                    about.with_suffix(suffix).unlink(missing_ok=True)
        except OSError as error:
            raise RalkitError(f"cannot remove {error.filename}: {error.strerror}; remove it yourself") from error
    share(folder)


def share(folder: Path) -> None:
    """Make origin.json of the origin that most figures of `folder` have, and leave to each .json what differs.

    Killed at any moment, it has lost nothing: each .json is whole until the new origin.json is there.
    """
    items, unclear = saved(folder), unknown(folder)
    known = {name: about for name, about in items.items() if name not in unclear}
    shares = [json.dumps({k: v for k, v in a["origin"].items() if k not in origin.OWN}) for a in known.values()]
    if not shares:
        return
    most = json.loads(Counter(shares).most_common(1)[0][0])
    if most != origin.shared(folder):
        for name, about in known.items():
            _write(folder, name, about)
        origin.write_shared(folder, most)
    for name, about in known.items():
        short = about | {"origin": origin.without_shared(about["origin"], most)}
        if short != json.loads((folder / f"{name}.json").read_text(encoding="utf-8")):
            _write(folder, name, short)


def _write(folder: Path, name: str, about: dict[str, Any]) -> None:
    store.write_bytes(folder / f"{name}.json", f"{json.dumps(about, indent=1)}\n".encode())


def _files(folder: Path) -> list[Path]:
    order = [item.file for item in paper.ITEMS]
    place = lambda file: (order.index(file.stem) if file.stem in order else len(order), file.stem)  # noqa: E731
    return sorted((f for f in folder.glob("*.json") if f.name not in ("minutes.json", origin.NAME)), key=place)


def _read(file: Path, of_all: origin.Origin | None) -> dict[str, Any] | None:
    """What a figure's or table's .json says, with its whole origin; None if anything is damaged that is used."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        about["origin"] = origin.whole(about["origin"], of_all)
        origin_line(about["origin"]), float(about["origin"]["seconds"]), str(about["origin"]["commit"])
        about["title"].strip(), about["note"].strip()
        if about["kind"] != "figure":
            table_page(about)
        return about
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def origin_line(of: origin.Origin) -> str:
    """An origin in two sentences: preset, data set, seeds, device, versions."""
    versions = ", ".join(f"{name} {v}" for name, v in of["versions"].items())
    seeds = ", ".join(map(str, of["seeds"])) or "unknown"
    return (
        f"Preset `{of['preset']}`, data set {of['dataset']['name']}, seeds {seeds}. Device: {of['device']}; {versions}."
    )
