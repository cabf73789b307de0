"""REPORT.md and the README's generated parts: what a run left in its folder, beside the paper's numbers."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.stats import t as student

from .. import store
from ..errors import RalkitError
from . import paper
from .record import markdown_table, read_minutes

Saved = dict[str, dict[str, Any]]  # by name, what save_figure and save_table wrote beside a figure or table


def saved(folder: Path) -> Saved:
    """All figures and tables of `folder`, the paper's first and in its order; damaged ones are left out."""
    return {file.stem: about for file in _files(folder) if (about := _read(file)) is not None}


def damaged(folder: Path) -> list[Path]:
    """The files of figures and tables in `folder` that cannot be read, as after a crash or a careless edit."""
    return [file for file in _files(folder) if _read(file) is None]


def _files(folder: Path) -> list[Path]:
    order = [item.file for item in paper.ITEMS]
    place = lambda file: (order.index(file.stem) if file.stem in order else len(order), file.stem)  # noqa: E731
    return sorted((file for file in folder.glob("*.json") if file.stem != "minutes"), key=place)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        entry(file.stem, about), _origin_line(about["origin"]), float(about["origin"]["seconds"])  # all that is used
        return about
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def forget(folder: Path, before: float) -> None:
    """Remove the figures and tables that were last written before a time.

    After a whole run the folder then holds that run's only. Raises RalkitError for a file that cannot be removed.
    """
    for about in _files(folder):
        try:
            if about.stat().st_mtime < before:
                for suffix in (".png", ".csv", ".md", ".json"):
                    about.with_suffix(suffix).unlink(missing_ok=True)
        except OSError as error:
            raise RalkitError(f"cannot remove {error.filename}: {error.strerror}; remove it yourself") from error


def missing(folder: Path) -> list[paper.Item]:
    """The paper's tables and figures that no run has left in `folder`."""
    items = saved(folder)
    return [item for item in paper.ITEMS if item.file not in items]


def spread(values: Sequence[float], mean: str = ".4g") -> str:
    """The mean ± the standard deviation of one value for each seed; `mean` is the format of the mean."""
    return f"{np.mean(values):{mean}} ± {round(np.std(values, ddof=1), 12):.2g}"  # equal values: 0, not 1e-16


def noise_over_seeds(changes: Sequence[float]) -> float:
    """How far from 0 the mean of one change for each seed may be by chance (95 %, Student's t).

    It is infinite for a single seed.
    """
    n = len(changes)
    return student.ppf(0.975, n - 1) * np.std(changes, ddof=1) / n**0.5 if n > 1 else np.inf


def direction(changes: Sequence[float]) -> int:
    """-1 or 1 if the mean of one change for each seed is below or above 0 by more than its noise, else 0."""
    mean = np.mean(changes)
    return int(np.sign(mean)) if abs(mean) > noise_over_seeds(changes) else 0


def beyond(curve: Sequence[dict[str, float]], row: dict[str, float], x: str, y: str) -> float:
    """How far the point (x, y) of `row` lies above a curve of points (x, y), one for each temperature.

    The curve is a cubic spline over temperature, because it turns upright where x is least, and straight lines between
    its points would lie above it there. Points warmer than that are left out, since x grows again. A row outside the
    range of x gives nan. The exception is a row left of the curve and lower than its first point, which is compared
    with that point.
    """
    rows = sorted(curve, key=lambda r: r["temperature"])
    T = [r["temperature"] for r in rows]
    xs, ys = (CubicSpline(T, [r[k] for r in rows])(np.linspace(T[0], T[-1], 1001)) for k in (x, y))
    colder = slice(xs.argmin(), None, -1)  # from the least x
    xs, ys = xs[colder], ys[colder]
    return float(row[y] - np.interp(row[x], xs, ys, left=ys[0] if row[y] < ys[0] else np.nan, right=np.nan))


def claim(says: str, theirs: str, ours: str, change: float, noise: float) -> dict[str, str]:
    """A row of a table of claims. A claim holds if its `change` is below 0, and is undecided within `noise` of 0."""
    undecided = "not decided: one run" if noise == np.inf else "not decided: within the noise"
    holds = undecided if abs(change) <= noise else "yes" if change < 0 else "no"
    return {"the paper says": says, "the paper's": theirs, "ours": ours, "holds here": holds}


def claims(folder: Path) -> list[dict[str, str]]:
    """The claims that the notebooks checked, in the order of the notebooks."""
    return [row for name, about in saved(folder).items() if name.endswith("-claims") for row in about["rows"]]


def index(folder: Path, link: str = "") -> list[dict[str, str]]:
    """A row for each table and figure of the paper: what it shows, ours, the notebook, the function.

    Links to ours begin with `link`.
    """
    gone = missing(folder)
    return [
        {
            "the paper's": item.name,
            "shows": item.shows,
            "ours": f"missing: run notebook {item.notebook[:2]}" if item in gone else _link(folder, item.file, link),
            "notebook": item.notebook,
            "function": f"`ralkit.{item.function}`",
        }
        for item in paper.ITEMS
    ]


def _link(folder: Path, name: str, link: str) -> str:
    file = f"{name}.png" if (folder / f"{name}.png").exists() else f"{name}.md"
    return f"[{name}]({link}{file})"


def entry(name: str, about: dict[str, Any]) -> str:
    """A figure or table in markdown, with the paper's table below ours."""
    lines = [f"## {about['title']}", ""]
    if about["kind"] == "figure":
        lines += [f"![{about['title']}]({name}.png)", ""]
    else:
        lines += [markdown_table(about["rows"]), ""]
        if about.get("paper"):
            lines += ["The paper's:", "", markdown_table(about["paper"]), ""]
    if about["note"]:
        lines += [about["note"], ""]
    return "\n".join([*lines, f"<sub>{name}, commit {about['origin']['commit']}; all about it: {name}.json</sub>", ""])


def _origin_line(origin: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in origin["versions"].items())
    seeds = ", ".join(map(str, origin["seeds"]))
    return (
        f"Preset `{origin['preset']}`, data set {origin['dataset']['name']}, seeds {seeds}. "
        f"Device: {origin['device']}; {versions}."
    )


def write_report(folder: Path, minutes: dict[str, float]) -> Path:
    """Write REPORT.md of the figures and tables in `folder`; `minutes` are those of each notebook's last run."""
    items = saved(folder)
    lines = ["# Report", "", "Generated from the files in this folder by `python -m ralkit reproduce`.", ""]
    if items:
        origin = max((about["origin"] for about in items.values()), key=lambda o: o["seconds"])
        lines += [_origin_line(origin), ""]
    if minutes:
        total = {"notebook": "all", "minutes": round(sum(minutes.values()), 1)}
        rows = [{"notebook": name, "minutes": round(m, 1)} for name, m in sorted(minutes.items())]
        lines += [markdown_table([*rows, total]), ""]
    if claims(folder):
        lines += ["## What the paper says, and what came out here", "", markdown_table(claims(folder)), ""]
    lines += ["## The paper's tables and figures", "", markdown_table(index(folder)), ""]
    lines += [entry(name, about) for name, about in items.items() if not name.endswith("-claims")]
    store.write_bytes(folder / "REPORT.md", "\n".join(lines).encode())
    return folder / "REPORT.md"


def readme_parts(folder: Path, link: str) -> dict[str, str]:
    """The README's generated parts by name, from the run in `folder`; `link` leads from the README to it."""
    took, items = read_minutes(folder / "minutes.json"), saved(folder)
    total, each = sum(took["minutes"].values()), sorted(took["minutes"].items())
    shares = ", ".join(f"{name.partition('_')[0]}: {minutes:.1f}" for name, minutes in each)
    notes = [items[name]["note"] for name in ("table-1", "08-verdict", "08-7-win", "09-2-against") if name in items]
    return {
        "results": "\n".join(notes),
        "claims": markdown_table(rows) if (rows := claims(folder)) else "No claim has been checked yet.",
        "time": f"On {took['device']}, the {len(each)} notebooks took {total:.0f} minutes, each after those before it: "
        f"{shares}."
        if each
        else "No run has been timed yet.",
        "items": markdown_table(index(folder, link)),
    }


def update_readme(readme: Path, parts: dict[str, str]) -> str:
    """The README's text with each part between its marks `<!-- name -->` and `<!-- /name -->`.

    Raises RalkitError if the README has lost a mark, and returns the text, without writing it.
    """
    text = readme.read_text(encoding="utf-8")
    for name, part in parts.items():
        text, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, part=part: f"{m[1]}\n{part}\n\n{m[2]}",
            text,
            flags=re.S,
        )
        if found != 1:
            raise RalkitError(f"{readme} has no place <!-- {name} --> ... <!-- /{name} --> for what is generated")
    return text
