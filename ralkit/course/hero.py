"""The one figure of the report: every method in the plane of quality and diversity, with the truth in its corner."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import store
from .plots import COLOURS, new_figure, png_of

HERO = "trade-off.png"
X, Y = "KL(oracle||G)", "KL(G||oracle)"
Runs = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]  # by method, its seeds, each with a row a temperature
_MARKERS = {"MLE continued": "s", "RAL single": "^", "RAL intermediate": "v", "RAL anchored": "D"}
_WORDS = {
    "MLE continued": "trained on for as long as RAL",
    "RAL single": "one reward for an image",
    "RAL intermediate": "one reward for each code",
    "RAL anchored": "a fixed critic, and kept near MLE",
    "RAL, true reward": "the oracle is the critic",
}


def has_plane(planes: Any) -> bool:
    """Whether what a run recorded is a plane: MLE and others, of as many seeds, each at temperature 1 and more."""
    try:
        seeds = {len(runs) for runs in planes.values()}
        return (
            "MLE" in planes
            and len(seeds) == 1
            and 0 not in seeds
            and all(
                1 in [row["temperature"] for row in rows] and all({X, Y} <= row.keys() for row in rows)
                for runs in planes.values()
                for rows in runs
            )
        )
    except (TypeError, AttributeError, LookupError):
        return False


def _mean(runs: Sequence[Sequence[Mapping[str, float]]], name: str) -> list[tuple[float, float, float]]:
    """For each value of `name` (temperature or price) that all seeds have, (value, x, y), the mean over the seeds."""
    shared = sorted(set.intersection(*({row[name] for row in rows} for rows in runs)))
    rows_at = ([next(r for r in rows if r[name] == value) for rows in runs] for value in shared)
    return [
        (value, np.mean([r[X] for r in rows]), np.mean([r[Y] for r in rows]))
        for value, rows in zip(shared, rows_at, strict=True)
    ]


def trade_off_plane(planes: Runs, rejected: Mapping[str, Sequence[Mapping[str, float]]] | None = None) -> Figure:
    """Both divergences from the oracle, lower left being better, in nats per image.

    `planes` has MLE's runs over temperatures and the runs of other methods: a large marker for each seed at
    temperature 1, a line to the mean of colder ones. `rejected` has, for each seed, MLE with some samples rejected.
    """
    figure, ((ax,),) = new_figure(size=(8.2, 5.6))
    curve = _mean(planes["MLE"], "temperature")
    for rows in planes["MLE"]:
        ax.plot([r[X] for r in rows], [r[Y] for r in rows], color=COLOURS["MLE"], linewidth=0.6, alpha=0.4)
    style = {"color": "black", "markersize": 5, "zorder": 4, "label": "MLE at each temperature (thin: each seed)"}
    ax.plot(*zip(*((x, y) for _, x, y in curve), strict=True), "o-", **style)
    for T, x, y in curve:
        if T in (curve[0][0], 0.6, 0.7, 0.8, 0.9, 1.0, curve[-1][0]):
            place = {"xytext": (0, -14), "ha": "center"} if T <= 0.8 else {"xytext": (-7, -3), "ha": "right"}
            words = f"temperature {T:g}" if T == 1 else f"{T:g}"
            ax.annotate(words, (x, y), textcoords="offset points", fontsize=9, **place)
    for i, (method, runs) in enumerate(planes.items()):
        if method == "MLE":
            continue
        style = {"color": COLOURS.get(method, f"C{i}"), "marker": _MARKERS.get(method, "P")}
        mean = _mean(runs, "temperature")
        ax.plot([x for _, x, _ in mean], [y for _, _, y in mean], **style, linewidth=1, markersize=4, alpha=0.8)
        plain = [row for rows in runs for row in rows if row["temperature"] == 1]
        if method == "RAL intermediate":  # it lies on the single reward, which has to be seen through it
            style |= {"facecolors": "none", "edgecolors": style.pop("color"), "linewidths": 1.8}
        label = f"{method}: {_WORDS[method]}" if method in _WORDS else method
        ax.scatter([r[X] for r in plain], [r[Y] for r in plain], **style, s=60, zorder=3, label=label)
    if rejected:
        mean = _mean(list(rejected.values()), "price")
        style = {"color": COLOURS["MLE at temperature 0.8"], "marker": "X", "linestyle": "--", "zorder": 2}
        ax.plot([x for _, x, _ in mean], [y for _, _, y in mean], **style, label="MLE, and a critic rejects samples")
        place = {"textcoords": "offset points", "xytext": (-9, -3), "ha": "right"}
        for price, x, y in (*mean[:2], mean[-1]):
            ax.annotate(f"1 of {price:g} kept", (x, y), fontsize=9, **place)
    ax.plot(0, 0, "*", color="#F0E442", markeredgecolor="black", markersize=20, clip_on=False, zorder=4)
    ax.annotate("the oracle: the truth", (0, 0), textcoords="offset points", xytext=(14, 4), fontsize=10)
    arrow = {"arrowstyle": "-|>", "linewidth": 2, "mutation_scale": 22, "color": "#555555"}
    ax.annotate("", (0.07, 0.14), (0.2, 0.34), xycoords="axes fraction", arrowprops=arrow)
    ax.text(0.15, 0.19, "better", transform=ax.transAxes, fontsize=12, color="#555555")
    ax.set_xlim(left=-2)
    ax.set_ylim(bottom=-4)
    ax.set_xlabel(f"{X}, nats per image: what the model leaves out (diversity)")
    ax.set_ylabel(f"{Y}, nats per image: what it makes up (quality)")
    ax.set_title("Large markers: temperature 1, each seed. Solid lines lead to colder samples.", fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9, loc="upper right")
    return figure


def draw_hero(folder: Path, items: Mapping[str, Mapping[str, Any]]) -> bool:
    """Write the plane of what `items` recorded as trade-off.png of `folder`; without that, remove one of another run.

    Return whether it is there.
    """
    planes = items.get("08-1-planes", {}).get("data")
    if not has_plane(planes):
        (folder / HERO).unlink(missing_ok=True)
        return False
    figure = trade_off_plane(planes, items.get("08-2-rejection", {}).get("data"))
    store.write_bytes(folder / HERO, png_of(figure))
    return True
