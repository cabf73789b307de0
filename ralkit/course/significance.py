"""What is decided over seeds, and what is chance: one rule (95 %, Student's t) for every notebook and the report."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.stats import t as student

LEVEL = 0.95


def spread(values: Sequence[float], mean: str = ".4g") -> str:
    """The mean ± the standard deviation of one value for each seed, or a single value and "(one run)".

    `mean` is the format of the mean.
    """
    if len(values) == 1:
        return f"{values[0]:{mean}} (one run)"
    return f"{np.mean(values):{mean}} ± {round(np.std(values, ddof=1), 12):.2g}"  # equal values: 0, not 1e-16


def bare(values: Sequence[float], mean: str = ".4g") -> str:
    """As `spread`, but of a single value nothing more, where something else says that it is one run."""
    return spread(values, mean) if len(values) > 1 else f"{values[0]:{mean}}"


def at_best(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Each seed's number in the column where the mean of the other seeds is least; of a single seed its least number.

    `values` has a row for each seed and a column for each temperature. No seed picks its own least, which would be
    least by chance too.
    """
    values = np.asarray(values)
    if len(values) == 1:
        return values.min(1)
    return np.array([own[np.delete(values, i, 0).mean(0).argmin()] for i, own in enumerate(values)])


def smallest_effect(sd: float, n: int) -> float:
    """The smallest mean of n paired differences that counts as decided, when one difference has the deviation `sd`.

    It is the quantile of Student's t with n - 1 degrees of freedom, times sd / sqrt(n); infinite for a single seed.
    A true effect of this size is found in about half of all experiments only.
    """
    return float(student.ppf((1 + LEVEL) / 2, n - 1) * sd / n**0.5) if n > 1 else np.inf


def noise_over_seeds(changes: Sequence[float]) -> float:
    """How far from 0 the mean of one change for each seed may be by chance (95 %, Student's t).

    It is infinite for a single seed.
    """
    return smallest_effect(np.std(changes, ddof=1), len(changes)) if len(changes) > 1 else np.inf


def direction(changes: Sequence[float]) -> int:
    """-1 or 1 if the mean of one change for each seed is below or above 0 by more than its noise, else 0."""
    mean = np.mean(changes)
    return int(np.sign(mean)) if abs(mean) > noise_over_seeds(changes) else 0


def side(changes: Sequence[float]) -> str:
    """Where the mean of one change for each seed lies beside 0: "lower", "higher", "not decided", or "one run"."""
    return "one run" if len(changes) == 1 else {-1: "lower", 0: "not decided", 1: "higher"}[direction(changes)]


def over(seeds: Sequence[int]) -> str:
    """What a table's numbers are taken over, in words."""
    return f"mean ± spread over {len(seeds)} seeds" if len(seeds) > 1 else "one run of each"


def p_value(mean: float, sd: float, n: int) -> float:
    """The two-sided p of n paired differences with this mean and standard deviation (Student's t); 1 for one seed."""
    if n < 2 or mean == 0:
        return 1.0
    return float(2 * student.sf(abs(mean) * n**0.5 / sd, n - 1)) if sd else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's p-values of several tests, in their order: below 1 - LEVEL, a test is decided among all of them.

    The k-th smallest of m is multiplied by m - k + 1, and none is less than one before it (Holm 1979). Then the chance
    that any decided test is decided wrongly is at most 1 - LEVEL, however the tests depend on each other.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted


def with_narrowness(row: dict[str, float]) -> dict[str, float]:
    """A row of numbers with "-entropy", which is lower for a wider model, as NLL_test is (for `beyond`)."""
    return row | {"-entropy": -row["entropy"]}


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
    at, slack = row[x], 1e-6 * (xs[-1] - xs[0])  # a point of the curve's own end is not outside by rounding
    if xs[0] - slack < at < xs[-1] + slack:
        at = np.clip(at, xs[0], xs[-1])
    return float(row[y] - np.interp(at, xs, ys, left=ys[0] if row[y] < ys[0] else np.nan, right=np.nan))
