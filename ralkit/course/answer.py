"""Does RAL help? The answer in sentences, made of what notebook 08 recorded."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .claims import CERTAIN, CONTROL, HOLM, PAPER, PRICE, beside_certain, holm_decides, judged
from .hero import X, Y, has_plane
from .saved import Saved
from .significance import at_best, beyond, direction, side, with_narrowness

TERMS = (
    "The oracle is a model that is declared to be the truth, so every probability is known. KL(G‖oracle) is large "
    "where a model G draws what the truth does not (quality), KL(oracle‖G) where it leaves out what the truth draws "
    "(diversity). Lower is better in both. The *single* reward is one for an image, the *intermediate* reward one "
    "for each code. Behind a mean, ± is the standard deviation of one seed."
)
CUT = "MLE, top-k"
Row = dict[str, Any]


def _each(changes: Sequence[Sequence[float]], lower: str, higher: str, mixed: str) -> str:
    """`lower` or `higher` if all of several changes are so beyond chance, else `mixed`."""
    signs = {direction(d) for d in changes}
    return lower if signs == {-1} else higher if signs == {1} else mixed


def _shown(d: Sequence[float], digits: int = 1) -> str:
    return f"{np.mean(d):+.{digits}f}" + (f" ± {np.std(d, ddof=1):.{digits}f}" if len(d) > 1 else "")


def _both(of: dict[str, Any], unit: str = "") -> str:
    return " and ".join(f"{value}{unit} with the {method.removeprefix('RAL ')} reward" for method, value in of.items())


def _decided(of: dict[str, Sequence[float]]) -> str:
    """The differences of both rewards, each with the side of 0 on which it is decided to lie."""
    return _both({m: f"{_shown(x, 2)} ({side(x)})" for m, x in of.items()})


def _at(runs: Sequence[Sequence[Row]], T: float = 1.0) -> list[Row]:
    """The row of each seed at a temperature."""
    return [next(r for r in rows if r["temperature"] == T) for rows in runs]


def _less(ours: Sequence[Row], theirs: Sequence[Row], key: str) -> list[float]:
    return [a[key] - b[key] for a, b in zip(ours, theirs, strict=True)]


def _from_curve(planes: dict[str, list[list[Row]]], method: str, x: str, y: str) -> list[float]:
    """How far each seed of a method lies above the curve of its own MLE model, sampled at temperatures up to 1."""
    curves = [[r for r in rows if r["temperature"] <= 1] for rows in planes["MLE"]]
    return [beyond(curve, row, x, y) for curve, row in zip(curves, _at(planes[method]), strict=True)]


def _as_narrow(planes: dict[str, list[list[Row]]], method: str) -> list[float] | None:
    """How far each seed lies above MLE's curve in KL(G‖oracle) at equal entropy; None where that is not known."""
    try:
        of = {m: [[*map(with_narrowness, rows)] for rows in planes[m]] for m in ("MLE", method)}
    except KeyError:
        return None
    d = _from_curve(of, method, "-entropy", Y)
    return None if np.isnan(d).any() else d


def _planes(items: Saved) -> dict[str, list[list[Row]]] | None:
    planes = items.get("08-1-planes", {}).get("data")
    if has_plane(planes) and {*PAPER, CONTROL} <= planes.keys():
        return planes
    return None


def _rejected(items: Saved) -> list[Row] | None:
    """For each seed, MLE of whose samples a critic keeps one of PRICE; None where that was not measured."""
    seeds = (items.get("08-2-rejection", {}).get("data") or {}).values()
    rows = [next((r for r in rows if r["price"] == PRICE), None) for rows in seeds]
    planes = _planes(items)
    return rows if rows and all(rows) and planes and len(rows) == len(planes[PAPER[0]]) else None


def _control(planes: dict[str, list[list[Row]]], gain: list[list[float]]) -> str:
    changes = _both({m: _shown(d) for m, d in zip(PAPER, gain, strict=True)}, " nats")
    return f"Against *{CONTROL}*, which trained for about as long, the change is {changes}."


def beside_mle(items: Saved) -> str:
    """RAL beside MLE sampled as it was trained, and beside its control; empty without the planes of notebook 08."""
    if not (planes := _planes(items)):
        return ""
    ours, control, mle = {m: _at(planes[m]) for m in PAPER}, _at(planes[CONTROL]), _at(planes["MLE"])
    mean = lambda rows, key: f"{np.mean([r[key] for r in rows]):.0f}"  # noqa: E731
    gain = [_less(rows, control, "NLL_oracle") for rows in ours.values()]
    price = [_less(rows, control, "NLL_test") for rows in ours.values()]
    return (
        "**Beside MLE at temperature 1, "
        f"{_each(gain, 'RAL helps', 'RAL hurts', 'it is not decided whether RAL helps')}.** The oracle's surprise at "
        f"a sample (NLL_oracle) goes from MLE's {mean(mle, 'NLL_oracle')} nats to "
        f"{_both({m: mean(rows, 'NLL_oracle') for m, rows in ours.items()})}. {_control(planes, gain)} "
        + _each(price, "Diversity rises too", "RAL pays for it in diversity", "The change of diversity is not decided")
        + f". NLL_test changes by {_both({m: _shown(d) for m, d in zip(ours, price, strict=True)}, ' nats')}."
    )


def beside_certainty(items: Saved) -> str:
    """RAL beside a control that has neither a critic nor images; empty without notebook 08's test bed."""
    if not (moved := beside_certain(items)):
        return ""
    key, control = "NLL_oracle, %", moved[CERTAIN]
    d = [np.subtract(moved[m][key], control[key]).tolist() for m in PAPER]
    lowers = [f"{who} lowers NLL_oracle further" for who in ("RAL", "the control")]
    verdict = _each(d, *lowers, "no difference in NLL_oracle is decided")
    text = (
        f"**Beside a control that looks at no image, {verdict}.** *Reward log G* is a policy gradient like RAL's, but "
        "its reward is the generator's own log-probability. So it only becomes more sure of itself. Against MLE, "
        f"it changes NLL_oracle by {_shown(control[key])} %, and RAL changes it by "
        f"{_both({m: _shown(moved[m][key]) for m in PAPER}, ' %')}."
    )
    if distance := next((name for name in control if name.endswith(" to oracle data")), None):
        between = {m: np.subtract(moved[m][distance], control[distance]) for m in PAPER}
        text += (
            f" The {distance} changes by {_shown(control[distance], 2)} with the "
            f"control, and by {_both({m: _shown(moved[m][distance], 2) for m in PAPER})}. RAL's minus the control's is "
            f"{_decided(between)}."
        )
    return text


def beside_colder(items: Saved) -> str:
    """RAL beside the curve that the same MLE model draws when it is sampled colder."""
    if not (planes := _planes(items)):
        return ""
    d = {m: _from_curve(planes, m, X, Y) for m in PAPER}
    if np.isnan(list(d.values())).any():
        return "Beside colder MLE it cannot be said: a run lies outside the range of MLE's temperatures."
    verdict = _each(list(d.values()), "RAL still helps", "RAL does not help", "it is not decided whether RAL helps")
    text = (
        f"**Beside the same MLE sampled colder, {verdict}, at equal NLL_test.** Take the temperature at which MLE has "
        f"RAL's NLL_test, and so RAL's KL(oracle‖G). RAL's KL(G‖oracle) minus MLE's is then "
        f"{_both({m: _shown(values) for m, values in d.items()}, ' nats')}. Lower is better, and a temperature costs "
        "no training. "
    )
    narrow = {m: _as_narrow(planes, m) for m in PAPER}
    if None not in narrow.values():
        words = {m: f"{_shown(values)} nats ({side(values)})" for m, values in narrow.items()}
        text += f"At equal entropy, where both are as narrow, it is {_both(words)}. "
    return f"{text}{_at_best(planes)}{_elsewhere(items)}"


def _elsewhere(items: Saved) -> str:
    """What RAL is beside colder MLE in the other worlds of the test bed; empty where it was not scored there."""
    rows = {row["method"]: row for row in items.get("08-0-answer", {}).get("rows") or []}
    found = rows.get("RAL intermediate", {})
    said = {world: found[world].partition(" (")[0] for world in ("little data", "little training") if found.get(world)}
    if not said:
        return ""
    words = " and ".join(f'"{word}" in the world *{world}*' for world, word in said.items())
    return f" In the test bed of notebook 08, the verdict on RAL intermediate beside colder MLE is {words}."


def _best(runs: Sequence[Sequence[Row]]) -> np.ndarray:
    """Each seed's sum of both divergences, at the temperature that is best for the other seeds."""
    return at_best([[r[X] + r[Y] for r in rows] for rows in runs])


def _sums(planes: dict[str, list[list[Row]]]) -> list[list[float]]:
    """For both rewards, RAL's sum of both divergences minus MLE's, each at its best temperature, for each seed."""
    mle = _best(planes["MLE"])
    return [np.subtract(_best(planes[m]), mle).tolist() for m in PAPER]


def _at_best(planes: dict[str, list[list[Row]]]) -> str:
    """RAL beside MLE by one number, the sum of both divergences, each at its own best temperature."""
    mle, d = _best(planes["MLE"]), dict(zip(PAPER, _sums(planes), strict=True))
    verdict = _each(list(d.values()), "RAL is better", "RAL is worse", "no winner is decided for both rewards")
    few = max(len(rows) for m in PAPER for rows in planes[m])
    return (
        "Or sum both divergences, and take each model at its own best temperature, chosen on the other seeds: "
        f"{verdict}. The sum is {np.mean(mle):.1f} nats for MLE, and RAL's minus MLE's is "
        f"{_both({m: _shown(x) for m, x in d.items()}, ' nats')}. "
        f"RAL was sampled at {few} temperature{'s' * (few > 1)}, MLE at {len(planes['MLE'][0])}."
    )


def beside_rejection(items: Saved) -> str:
    """RAL beside MLE with samples thrown away by a critic."""
    planes, theirs = _planes(items), _rejected(items)
    if not (planes and theirs):
        return ""
    d = {key: [_less(_at(planes[m]), theirs, key) for m in PAPER] for key in (Y, X)}
    verdict = _each(
        [*d[Y], *d[X]], "RAL is better", "RAL does not help either", "the winner is not the same everywhere"
    )
    said = lambda key: _both({m: _shown(x) for m, x in zip(PAPER, d[key], strict=True)}, " nats")  # noqa: E731
    return (
        f"**Beside MLE with rejection, {verdict}.** There a critic keeps one of {PRICE} samples of MLE. RAL's "
        f"KL(G‖oracle) minus that of rejection is {said(Y)}. For KL(oracle‖G) it is {said(X)}. But rejection draws "
        f"{PRICE} samples for each that it keeps, and it uses the long-trained critic of *RAL anchored*."
    )


def _distances(items: Saved) -> tuple[str, float, dict[str, list[float]]] | None:
    """A Fréchet distance's name, MLE's mean at the temperature where it is least, and RAL's less that for each seed."""
    planes = _planes(items)
    if not planes or not (key := next((k for k in planes["MLE"][0][0] if k.endswith(" to oracle data")), None)):
        return None
    best = [min((r for r in rows if r["temperature"] <= 1), key=lambda r: r[key]) for rows in planes["MLE"]]
    return key, *_beside(planes, best, key)


def _beside(
    planes: dict[str, list[list[Row]]], theirs: Sequence[Row], key: str
) -> tuple[float, dict[str, list[float]]]:
    """A rival's mean of a number, and RAL's less the rival's for each seed."""
    return float(np.mean([r[key] for r in theirs])), {m: _less(_at(planes[m]), theirs, key) for m in PAPER}


def _beside_cut(items: Saved, key: str) -> tuple[float, dict[str, list[float]]] | None:
    """The mean distance of MLE that draws only likely codes, and RAL's less that for each seed; None if not measured.

    The test bed keeps what the cut changes of each seed's own distance.
    """
    planes, rows = _planes(items), items.get("08-0-changes", {}).get("rows") or []
    own = sorted((r for r in rows if (r["world"], r["method"]) == ("small network", CUT)), key=lambda r: r["seed"])
    if not planes or len(own) != len(planes["MLE"]) or not all(isinstance(r.get(key), float) for r in own):
        return None
    cut = [{key: mle[key] + r[key]} for mle, r in zip(_at(planes["MLE"]), own, strict=True)]
    return _beside(planes, cut, key)


def _beside_kept(items: Saved, key: str) -> tuple[float, dict[str, list[float]]] | None:
    """As `_beside_cut`, of MLE of whose samples a critic keeps one of PRICE."""
    planes, theirs = _planes(items), _rejected(items)
    if not planes or not theirs or not all(key in row for row in theirs):
        return None
    return _beside(planes, theirs, key)


def by_distance(items: Saved) -> str:
    """RAL by a Fréchet distance, as the paper judges, beside MLE where that is least, and beside its likely codes."""
    if not (found := _distances(items)):
        return ""
    key, best, d = found
    verdict = _each(list(d.values()), "RAL is ahead", "RAL is behind", "the winner is not decided for both rewards")
    text = (
        f"**By a distance between features, as the paper judges, {verdict}.** The {key} is {best:.2f} for MLE at its "
        f"best temperature. RAL's minus MLE's is {_both({m: _shown(x, 2) for m, x in d.items()})}."
    )
    if cut := _beside_cut(items, key):
        text += (
            f" But MLE needs no training to draw only its likeliest codes (top-k), and then it has {cut[0]:.2f}. RAL's "
            f"minus that is {_decided(cut[1])}."
        )
    if kept := _beside_kept(items, key):
        text += (
            f" MLE of whose samples a critic keeps one of {PRICE} has {kept[0]:.2f}, and RAL's minus that is "
            f"{_decided(kept[1])}."
        )
    return text


def other_rewards(items: Saved) -> str:
    """What the same policy gradient does with a better critic, and with the truth for one."""
    planes = _planes(items)
    if not planes or not {"RAL anchored", "RAL, true reward"} <= planes.keys():
        return ""
    kl, nll = (_from_curve(planes, "RAL anchored", *plane) for plane in ((X, Y), ("NLL_test", "NLL_oracle")))
    if np.isnan([*kl, *nll]).any():
        return ""
    side = lambda d: {-1: "better", 0: "not decided", 1: "worse"}[direction(d)]  # noqa: E731
    text = (
        "**With other rewards.** *RAL anchored*, a change of ours, takes its reward from a critic that was first "
        f"trained for long. Beside colder MLE it is {side(kl)} in divergences ({_shown(kl)} nats) and {side(nll)} in "
        f"log-likelihoods ({_shown(nll)} nats). "
    )
    if theirs := _rejected(items):
        d = _less(_at(planes["RAL anchored"]), theirs, Y)
        text += (
            f"Its KL(G‖oracle) minus that of rejection by the same critic, one of {PRICE} kept, is {_shown(d)} nats. "
        )
    truth, mle = (np.mean([r[Y] for r in _at(planes[m])]) for m in ("RAL, true reward", "MLE"))
    return text + f"With the truth for a reward, KL(G‖oracle) goes from {mle:.0f} to {truth:.0f} nats."


def tally(items: Saved) -> str:
    """How many of the claims hold, and how many of these after Holm's correction; empty without claims."""
    rows = judged(items)
    if not rows:
        return ""
    held = [row for row in rows if row["holds here"] == "yes"]
    undecided = sum(row["holds here"].startswith("not decided") for row in rows)
    text = (
        f"**The claims, one by one.** Of {len(rows)}, {len(held)} hold here, "
        f"{len(rows) - len(held) - undecided} do not, and {undecided} are not decided, each judged alone."
    )
    if corrected := [row for row in rows if row[HOLM]]:
        tested = [row for row in held if row[HOLM]]  # the others have no spread over seeds
        kept = sum(map(holm_decides, tested))
        text += (
            f" But of many claims some hold by chance. With Holm's correction all {len(corrected)} that have several "
            f"seeds are judged together. Then {kept} of {len(tested)} that hold alone still hold{'s' * (kept == 1)}."
        )
    return text


def answer(items: Saved) -> list[str]:
    """The paragraphs of the report's answer, those that the run has numbers for."""
    parts = (beside_mle, beside_certainty, beside_colder, beside_rejection, by_distance, other_rewards, tally)
    return [text for part in parts if (text := part(items))]


def in_short(items: Saved) -> list[str]:
    """What came out in three lines, for someone who has not read on; fewer where numbers are missing."""
    if not (planes := _planes(items)):
        return []
    ours, mle = [_at(planes[m]) for m in PAPER], _at(planes["MLE"])
    before, after = np.mean([r["NLL_oracle"] for r in mle]), np.mean([r["NLL_oracle"] for rows in ours for r in rows])
    change = 100 * (after / before - 1)  # of the mean over both rewards
    gain, price = ([_less(rows, mle, key) for rows in ours] for key in ("NLL_oracle", "NLL_test"))
    paid = _each(
        price, "and diversity is gained", "but diversity is lost", "and the change of diversity is not decided"
    )
    lines = [
        f"**{_capital(_against(gain, 'plain MLE'))}.** RAL's samples surprise the oracle {abs(change):.0f} % "
        f"{'less' if change < 0 else 'more'} than MLE's, {paid}."
    ]
    if moved := beside_certain(items):
        control = np.mean(moved[CERTAIN]["NLL_oracle, %"])
        word = "less" if control < 0 else "more"
        lines[0] += f" With a control that sees no image it is {abs(control):.0f} % {word}."
    rivals = {}
    curve, narrow = [_from_curve(planes, m, X, Y) for m in PAPER], [_as_narrow(planes, m) for m in PAPER]
    if not np.isnan(curve).any():
        rivals["that of colder MLE at equal diversity (test NLL)"] = curve, "MLE sampled colder"
    if theirs := _rejected(items):
        rivals[f"that of MLE where a critic keeps one sample in {PRICE}"] = (
            [_less(rows, theirs, Y) for rows in ours],
            "MLE samples that a critic chose",
        )
    if rivals:
        verdicts = {_against(d, "{}") for d, _ in rivals.values()}
        names = [name for _, name in rivals.values()]
        if len(verdicts) == 1:
            verdict = verdicts.pop().format(" and ".join(names))
        else:
            verdict = ", and ".join(_against(d, name) for d, name in rivals.values())
        sizes = [
            f"{abs(np.mean(d)):.0f}{nats} {'above' if np.mean(d) > 0 else 'below'} {of}"
            for nats, (of, (d, _)) in zip((" nats", ""), rivals.items(), strict=False)
        ]
        text = f"**{_capital(verdict)}.** Its KL(G‖oracle) is {', and '.join(sizes)}."
        lines.append(text + _at_equal_entropy(narrow))
    return [*lines, *_by_distance_in_short(items)]


def _by_distance_in_short(items: Saved) -> list[str]:
    """A line on RAL by a distance beside each rival that was measured: those beside which it is decided come first."""
    if not (found := _distances(items)):
        return []
    key, best, d = found
    rivals = {
        "MLE at its best temperature": (best, d),
        "MLE samples that a critic chose": _beside_kept(items, key),
        "MLE that draws only likely codes (top-k)": _beside_cut(items, key),
    }
    verdicts, sizes, undecided = [], [], []
    for rival, (value, each) in ((name, numbers) for name, numbers in rivals.items() if numbers):
        if any(map(direction, each.values())):
            verdicts.append(_against(list(each.values()), rival))
            sizes.append(f"{value:.1f} for {rival.partition(' at its')[0]}")
        else:
            undecided.append(f"{value:.1f} for {rival}, where nothing is decided")
    ours = " and ".join(f"{best + np.mean(x):.1f}" for x in d.values())
    said = ", and ".join(verdicts) or "nothing is decided"
    beside = ", ".join((*sizes, *undecided))
    return [f"**By a distance like FID, {said}.** It is {ours} for RAL's two rewards, {beside}."]


def _at_equal_entropy(narrow: list[list[float] | None]) -> str:
    """A sentence on RAL beside MLE sampled so cold that it is as narrow, if that was measured."""
    if None in narrow:
        return ""
    nats, decided = np.mean(narrow), [direction(d) for d in narrow]
    sure = {0: "for neither reward", 1: "for one of two rewards", 2: "for both rewards"}
    where = "below" if nats < 0 else "above"
    return f" At equal entropy it is {abs(nats):.0f} {where}, beyond chance {sure[sum(map(abs, decided))]}."


def _against(d: list[list[float]], rival: str) -> str:
    undecided = all(direction(x) == 0 for x in d)
    mixed = f"nothing is decided between RAL and {rival}" if undecided else f"RAL's two rewards differ beside {rival}"
    return _each(d, f"RAL beats {rival}", f"RAL loses to {rival}", mixed)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
