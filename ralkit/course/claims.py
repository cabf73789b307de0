"""The paper's claims as rows: whether each holds, how small a change could be seen, and what colder MLE does."""

import re
from collections.abc import Sequence

import numpy as np

from .saved import Saved
from .significance import LEVEL, direction, holm, p_value, smallest_effect, spread

CONTROL = "MLE continued"  # by maximum likelihood, for about as long as RAL
PAPER = ("RAL single", "RAL intermediate")  # the two rewards of the paper
CERTAIN = "reward log G"  # the control whose reward is its own log-probability (`methods.confidence`)
COLD = "MLE at temperature 0.8"
PRICE = 4  # rejection: samples drawn for each one kept
REJECTED = f"MLE, a critic keeps 1 of {PRICE}"
CORE, EACH = ("the paper says", "the paper's", "ours", "holds here"), "each seed"  # the columns of a table of claims
EFFECT, HOLM, RIVALS = "smallest visible change", "p after Holm", "and against temperature and rejection?"
_COLUMNS = (  # a pattern of a claim, where its runs are, how the name of its column ends, in percent or not
    (r"Table 1: (RAL \w+) lowers NLL under the oracle", "table-1-runs", "NLL_oracle", True),
    (r"Table 1: (RAL \w+) lowers FID on oracle data", "table-1-runs", " to oracle data", True),
    (r"Table 1: (RAL \w+) lowers FID on real data", "table-1-runs", " to real data", True),
    (r"Abstract: (RAL \w+) improves diversity", "table-1-runs", "NLL_test", False),
    (r"Table 2: (RAL \w+) lowers the distance to real images, (\d)", "table-2-runs", " to real", True),
    (r"Table 2: (RAL \w+) lowers the distance to reconstructions, (\d)", "table-2-runs", " to reconstructed", True),
)
_EXPOSURE = r"Abstract: exposure bias is addressed \((RAL \w+);"


def claim(says: str, theirs: str, ours: str, change: float, noise: float, each: Sequence[float] = ()) -> dict[str, str]:
    """A row of a table of claims. A claim holds if its `change` is below 0, and is undecided within `noise` of 0.

    `each` are the changes of the seeds, in the unit of `change`. With them the report can correct for several claims.
    """
    undecided = "not decided: one run" if noise == np.inf else "not decided: within the noise"
    holds = undecided if abs(change) <= noise else "yes" if change < 0 else "no"
    seeds = ", ".join(f"{d:+.4g}" for d in each)
    return dict(zip((*CORE, EACH), (says, theirs, ours, holds, seeds), strict=True))


def claims_of(items: Saved) -> list[dict[str, str]]:
    """The claims that the notebooks checked, in the order of the notebooks."""
    return [{key: row[key] for key in CORE} for name in _tables(items) for row in items[name]["rows"]]


def _tables(items: Saved) -> list[str]:
    """The names of the tables of claims; one with a column missing is none."""
    named = [name for name in items if name.endswith("-claims")]
    return [name for name in named if all(set(CORE) <= set(row) for row in items[name].get("rows") or [{}])]


def _per_seed(row: dict[str, str], items: Saved) -> np.ndarray | None:
    """The change of each seed that a claim rests on: its own, or that of the runs it speaks of; None if neither is."""
    try:
        recorded = np.array([float(d) for d in row[EACH].split(",")])
    except (KeyError, ValueError, AttributeError):
        return changes(row[CORE[0]], items)
    return recorded


def changes(says: str, items: Saved, against: str = CONTROL) -> np.ndarray | None:
    """The change of each seed against the control that a claim speaks of; None where no seed's was recorded.

    The changes are in percent where the claim is, as the notebooks take them: of each seed's control in Table 1, of
    the control's mean in Table 2.
    """
    if (found := re.match(_EXPOSURE, says)) and (rows := items.get("08-5-exposure", {}).get("data")):
        if not {found[1], against} <= set(rows):
            return None
        growth = {name: np.array(values)[:, 0] - np.array(values)[:, -1] for name, values in rows.items()}
        return growth[found[1]] - growth[against]
    for pattern, name, ending, percent in _COLUMNS:
        found, runs = re.match(pattern, says), items.get(name, {}).get("rows")
        if not (found and runs):
            continue
        method, *levels = found.groups()
        key = next((key for key in runs[0] if key.endswith(ending)), None)
        mine = [row for row in runs if not levels or str(row.get("levels")) == levels[0]]
        ours, control = ({r["seed"]: r[key] for r in mine if key and r["method"] == m} for m in (method, against))
        if not ours or ours.keys() != control.keys():
            return None
        a, b = (np.array([numbers[seed] for seed in ours]) for numbers in (ours, control))
        return (a - b) / (1 if not percent else b.mean() if levels else b) * (100 if percent else 1)
    return None


def _effect(row: dict[str, str], d: np.ndarray | None, seeds: int) -> str:
    """The smallest change that the seeds could see: from each seed's change, or from the ± that the claim shows."""
    unit = " %" if "%" in row["ours"] else ""
    if d is not None:
        return f"{smallest_effect(np.std(d, ddof=1), len(d)):.2g}{unit}" if len(d) > 1 else ""
    shown = re.search(r"± ([\d.]+(?:e[-+]?\d+)?)", row["ours"])
    return f"{smallest_effect(float(shown[1]), seeds):.2g}{unit}" if shown and seeds > 1 else ""


def _decided(d: np.ndarray) -> str:
    """Whether changes of the seeds are below 0, and their spread."""
    return f"{ {-1: 'yes', 0: 'not decided', 1: 'no'}[direction(d)] }, {spread(d, '+.2f')}"


def _beside_rejection(method: str, ending: str, items: Saved, unit: str = "") -> str:
    """What to add of a method's number less that of MLE when a critic keeps one of PRICE samples, if both are there."""
    try:
        theirs = [next(r for r in rows if r["price"] == PRICE) for rows in items["08-2-rejection"]["data"].values()]
        key = next(key for key in theirs[0] if key.endswith(ending))
        ours = [next(r for r in rows if r["temperature"] == 1)[key] for rows in items["08-1-planes"]["data"][method]]
        d = np.subtract(ours, [r[key] for r in theirs])
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return ""
    return f"; beside rejection {_decided(d)}{unit}" if len(d) > 1 else ""


def beside_certain(items: Saved) -> dict[str, dict[str, list[float]]] | None:
    """What RAL and the control that looks at no image change of their MLE generators: by method and number, by seed."""
    rows = [row for row in items.get("08-0-changes", {}).get("rows") or [] if row.get("world") == "small network"]
    rows.sort(key=lambda row: row["seed"])
    of = {m: [row for row in rows if row["method"] == m] for m in (*PAPER, CERTAIN)}
    if not rows or len({tuple(row["seed"] for row in own) for own in of.values()}) > 1 or not of[CERTAIN]:
        return None
    keys = [key for key in rows[0] if key not in ("world", "method", "seed")]
    return {m: {key: [float(row[key]) for row in own] for key in keys} for m, own in of.items()}


def _rivals(says: str, items: Saved) -> str:
    """What a claim's method does beside MLE at other temperatures, where notebooks 08 and 09 have measured it."""
    if not (found := re.search(r"RAL (?:single|intermediate)", says)):
        return ""
    method = found[0]
    verdict = next(
        (r for r in items.get("08-verdict", {}).get("rows", ()) if (r["method"], r["temperature"]) == (method, 1)), {}
    )
    if "NLL under the oracle" in says and (side := verdict.get("side, NLL_oracle")):
        word = {"above": "no", "below": "yes"}.get(side, side)
        curve = f"{word}: {verdict['NLL_oracle beyond the curve']} nats from MLE's temperature curve"
        control = ""
        if moved := beside_certain(items):
            d = np.subtract(moved[method]["NLL_oracle, %"], moved[CERTAIN]["NLL_oracle, %"])
            control = f"; beside {CERTAIN}, a control that sees no image, {_decided(d)} %" if len(d) > 1 else ""
        return curve + _beside_rejection(method, "NLL_oracle", items, " nats") + control
    if "improves diversity" in says and (seeds := verdict.get("more diverse than the curve")):
        some, _, all_ = seeds.partition(" of ")
        word = {"0": "no", all_: "yes"}.get(some, "not decided")
        best = f"{word}: {seeds} seeds more diverse than MLE at its best temperature"
        return best + _beside_rejection(method, "NLL_test", items, " nats")
    colder = changes(says, items, COLD) if re.match(_EXPOSURE, says) else None
    if colder is not None and len(colder) > 1:
        rows = items["08-5-exposure"]["data"]  # for each seed, by the number of real rows that are given
        own = np.array(rows[method])[:, 0] - np.array(rows[COLD])[:, 0]
        return (
            f"beside {COLD}, how much worse they get: {_decided(colder)} nats a code; how bad they are after the "
            f"model's own rows: {_decided(own)}"
        )
    starts = {
        "FID on oracle data": rf"{method}: \S+ to oracle data; (.*)",
        "FID on real data": rf"{method}: \S+ to real data; (.*)",
        **{
            f"to {ours}, {n} map": rf"{method}, {maps}: \S+ to {theirs}; (.*)"
            for n, maps in ((1, "one map"), (2, "two maps"))
            for ours, theirs in (("real images", "real"), ("reconstructions", "reconstructed"))
        },
    }
    said = []
    for part, pattern in starts.items():
        for row in items.get("09-2-against", {}).get("rows", ()) if part in says else ():
            if (rival := re.fullmatch(pattern, row["what"])) and "who is lower" in row:
                word = {"RAL": "yes", "the other": "no"}.get(row["who is lower"], row["who is lower"])
                said.append(f"{word}: {row['RAL minus the other']} beside {rival[1]}")
    distance = re.match(r"Table 1: .* lowers FID on (.* data)", says)
    kept = _beside_rejection(method, f" to {distance[1]}", items) if distance else ""
    return ("; ".join(said) + kept).removeprefix("; ")


def _p(row: dict[str, str], d: np.ndarray | None, seeds: int) -> tuple[float, str] | None:
    """The p of a claim, and how it is shown: with ≈ if it comes from the mean ± deviation that the claim shows."""
    if d is not None:
        return (p_value(d.mean(), np.std(d, ddof=1), len(d)), "") if len(d) > 1 else None
    shown = re.search(r"([-+]?\d[\d.]*)(?: %)? ± ([\d.]+(?:e[-+]?\d+)?)", row["ours"])
    return (p_value(float(shown[1]), float(shown[2]), seeds), "≈ ") if shown and seeds > 1 else None


def holm_decides(row: dict[str, str]) -> bool:
    """Whether a row of `judged` is decided among all claims, not only alone."""
    return bool(row[HOLM]) and float(row[HOLM].removeprefix("≈ ")) < 1 - LEVEL


def judged(items: Saved) -> list[dict[str, str]]:
    """The claims, each with the smallest change that could be seen, its p after Holm over all of them, and the rivals.

    A column is empty where nothing was recorded to fill it.
    """
    claimed = [(row, len(items[name]["origin"]["seeds"])) for name in _tables(items) for row in items[name]["rows"]]
    per_seed = [_per_seed(row, items) for row, _ in claimed]
    found = [_p(row, d, seeds) for (row, seeds), d in zip(claimed, per_seed, strict=True)]
    corrected = iter(holm([p for p, _ in filter(None, found)]))
    return [
        {key: row[key] for key in CORE}
        | {EFFECT: _effect(row, d, seeds), HOLM: f"{p[1]}{next(corrected):.2g}" if p else ""}
        | {RIVALS: _rivals(row[CORE[0]], items)}
        for (row, seeds), d, p in zip(claimed, per_seed, found, strict=True)
    ]
