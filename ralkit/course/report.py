"""REPORT.md and the README's generated parts: what one run left in its folder, beside the paper's numbers."""

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
from .experiment import markdown_table

Saved = dict[str, dict[str, Any]]  # by name, what save_figure and save_table wrote beside a figure or table


def saved(folder: Path) -> Saved:
    """All figures and tables of `folder`, the paper's first and in its order."""
    order = [item.file for item in paper.ITEMS]
    place = lambda name: (order.index(name) if name in order else len(order), name)  # noqa: E731
    names = sorted((path.stem for path in folder.glob("*.json") if path.stem != "minutes"), key=place)
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}


def forget(folder: Path, before: float) -> None:
    """Remove the figures and tables last written before a time: after a whole run the folder holds that run's only."""
    for about in folder.glob("*.json"):
        if about.stat().st_mtime < before and about.stem != "minutes":
            for suffix in (".png", ".csv", ".md", ".json"):
                about.with_suffix(suffix).unlink(missing_ok=True)


def missing(folder: Path) -> list[paper.Item]:
    """The paper's tables and figures that no run has left in `folder`."""
    return [item for item in paper.ITEMS if not (folder / f"{item.file}.json").exists()]


def spread(values: Sequence[float], mean: str = ".4g") -> str:
    """Mean ± standard deviation of one number, from one value a seed; `mean` is the format of the former."""
    return f"{np.mean(values):{mean}} ± {round(np.std(values, ddof=1), 12):.2g}"  # equal values: 0, not 1e-16


def noise_over_seeds(changes: Sequence[float]) -> float:
    """How far the mean of changes, one a seed, may be from 0 by chance: 95 %, Student's t; infinite for one seed."""
    n = len(changes)
    return student.ppf(0.975, n - 1) * np.std(changes, ddof=1) / n**0.5 if n > 1 else np.inf


def direction(changes: Sequence[float]) -> int:
    """-1 or 1 if the mean of changes, one a seed, is below or above 0 by more than their noise; else 0."""
    mean = np.mean(changes)
    return int(np.sign(mean)) if abs(mean) > noise_over_seeds(changes) else 0


def beyond(curve: Sequence[dict[str, float]], row: dict[str, float], x: str, y: str) -> float:
    """How far y of `row` lies above the curve that the rows of `curve` draw over their temperatures, at the same x.

    Between temperatures both are cubic splines of it: where x is least the curve turns upright, and a straight line
    from one temperature to the next would lie above it. Warmer than there is left out: x grows again. nan outside of
    the curve; left of all of it and lower than its first point: against that point.
    """
    rows = sorted(curve, key=lambda r: r["temperature"])
    T = [r["temperature"] for r in rows]
    xs, ys = (CubicSpline(T, [r[k] for r in rows])(np.linspace(T[0], T[-1], 1001)) for k in (x, y))
    colder = slice(xs.argmin(), None, -1)  # from the least x
    xs, ys = xs[colder], ys[colder]
    return float(row[y] - np.interp(row[x], xs, ys, left=ys[0] if row[y] < ys[0] else np.nan, right=np.nan))


def claim(says: str, theirs: str, ours: str, change: float, noise: float) -> dict[str, str]:
    """A row for a table of claims, each of which wants a `change` below 0; within `noise` of 0 it is not decided."""
    undecided = "not decided: one run" if noise == np.inf else "not decided: within the noise"
    holds = undecided if abs(change) <= noise else "yes" if change < 0 else "no"
    return {"the paper says": says, "the paper's": theirs, "ours": ours, "holds here": holds}


def claims(folder: Path) -> list[dict[str, str]]:
    """The claims that the notebooks checked, in their order."""
    return [row for name, about in saved(folder).items() if name.endswith("-claims") for row in about["rows"]]


def index(folder: Path, link: str = "") -> list[dict[str, str]]:
    """For each of the paper's items: what it shows, ours (linked below `link`), the notebook and the function."""
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


def entry(folder: Path, name: str, about: dict[str, Any], link: str = "") -> str:
    """A figure or table in markdown, the paper's table below ours; pictures are linked below `link`."""
    lines = [f"## {about['title']}", ""]
    if about["kind"] == "figure":
        lines += [f"![{about['title']}]({link}{name}.png)", ""]
    else:
        lines += [(folder / f"{name}.md").read_text()]
        if about["paper"]:
            lines += ["The paper's:", "", markdown_table(about["paper"]), ""]
    if about["note"]:
        lines += [about["note"], ""]
    return "\n".join([*lines, f"<sub>{name}, commit {about['origin']['commit']}; all about it: {name}.json</sub>", ""])


def write_report(folder: Path, minutes: dict[str, float]) -> Path:
    """Collect the figures and tables of `folder` into its REPORT.md; `minutes` of each notebook's last run."""
    items = saved(folder)
    lines = ["# Report", "", "Generated from the files in this folder by `python -m ralkit reproduce`.", ""]
    if items:
        origin = max((about["origin"] for about in items.values()), key=lambda o: o["seconds"])
        data, versions = origin["dataset"], origin["versions"]
        lines += [
            f"Preset `{origin['preset']}`, data set {data['name']}, seeds {', '.join(map(str, origin['seeds']))}. "
            f"Device: {origin['device']}; " + ", ".join(f"{name} {v}" for name, v in versions.items()) + ".",
            "",
        ]
    if minutes:
        total = {"notebook": "all", "minutes": round(sum(minutes.values()), 1)}
        rows = [{"notebook": name, "minutes": round(m, 1)} for name, m in sorted(minutes.items())]
        lines += [markdown_table([*rows, total]), ""]
    if claims(folder):
        lines += ["## What the paper says, and what came out here", "", markdown_table(claims(folder)), ""]
    lines += ["## The paper's tables and figures", "", markdown_table(index(folder)), ""]
    lines += [entry(folder, name, about) for name, about in items.items() if not name.endswith("-claims")]
    store.write_bytes(folder / "REPORT.md", "\n".join(lines).encode())
    return folder / "REPORT.md"


def readme_parts(folder: Path, link: str) -> dict[str, str]:
    """The README's generated parts by name, from the run in `folder`, which is `link` from the README."""
    took, items = json.loads((folder / "minutes.json").read_text()), saved(folder)
    total, each = sum(took["minutes"].values()), sorted(took["minutes"].items())
    shares = ", ".join(f"{name.partition('_')[0]}: {minutes:.1f}" for name, minutes in each)
    notes = [items[name]["note"] for name in ("table-1", "08-verdict", "08-7-win", "09-2-against") if name in items]
    return {
        "results": "\n".join(notes),
        "claims": markdown_table(rows) if (rows := claims(folder)) else "No claim has been checked yet.",
        "time": f"On {took['device']}, the {len(each)} notebooks took {total:.0f} minutes, each after those before it: "
        f"{shares}.",
        "items": markdown_table(index(folder, link)),
    }


def update_readme(readme: Path, parts: dict[str, str]) -> str:
    """README's text with each part between `<!-- name -->` and `<!-- /name -->`; RalkitError where a mark is gone."""
    text = readme.read_text()
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
