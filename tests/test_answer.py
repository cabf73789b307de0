"""The claims with what stands beside them, the report's sentences and its picture, from folders whole and broken."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest

from ralkit.course import claims, hero
from ralkit.course.answer import answer, in_short
from ralkit.course.saved import saved
from ralkit.course.significance import noise_over_seeds, p_value

ITEMS = saved(Path(__file__).parents[1] / "figures/deep")
X, Y = hero.X, hero.Y


def row(T, x, y, surprise=100.0):
    return {"temperature": T, X: x, Y: y, "NLL_test": x + 100, "NLL_oracle": surprise, "FD to oracle data": y}


def planes(shift, surprise=90.0):
    """MLE's curve y = 60 - x in two seeds, and a RAL that lies `shift` above it."""
    curve = [row(T, x, 60 - x) for T, x in ((0.6, 30.0), (0.8, 20.0), (1.0, 10.0))]
    ral = [[row(1.0, 20.0, 40 + shift + d, surprise + d)] for d in (0.0, 0.1)]
    return {
        "MLE": [curve, curve],
        "MLE continued": [[row(1.0, 10.0, 50)]] * 2,
        "RAL single": ral,
        "RAL intermediate": ral,
    }


def test_changes_of_each_seed_are_those_that_the_notebooks_judged():
    seen = 0
    for line in claims.claims_of(ITEMS):
        if (d := claims.changes(line["the paper says"], ITEMS)) is None or len(d) == 1:
            continue
        mean, deviation = (float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", line["ours"])[:2])
        assert d.mean() == pytest.approx(mean, abs=0.051) and np.std(d, ddof=1) == pytest.approx(deviation, abs=0.051)
        undecided = abs(d.mean()) <= noise_over_seeds(d)
        assert line["holds here"].startswith("not decided" if undecided else "yes" if d.mean() < 0 else "no")
        seen += 1
    assert seen > 10


def test_holm_takes_all_claims_together():
    d = {"A": [-1.0, -1.1, -0.9], "B": [-1.0, -1.4, -0.7]}
    runs = [
        {"method": m, "seed": s, "NLL_oracle": 100 + c, "NLL_test": 100 + c, "FD to oracle data": 1.0}
        for m, changes in ({"MLE continued": [0.0] * 3} | {f"RAL {k}": v for k, v in d.items()}).items()
        for s, c in enumerate(changes)
    ]
    rows = [claims.claim(f"Table 1: RAL {k} lowers NLL under the oracle", "", "-1 %", -1, 0.1) for k in d]
    other = claims.claim("Table 3a: a", "", "3 and 2: +1 ± 0.5", 1, 2)  # its seeds are known by their spread only
    items = {
        "03-claims": {"rows": rows, "origin": {"seeds": [1, 2, 3]}},
        "06-claims": {"rows": [other], "origin": {"seeds": [1, 2, 3]}},
        "table-1-runs": {"rows": runs},
    }
    p = [p_value(np.mean(x), np.std(x, ddof=1), 3) for x in d.values()]
    a, b, c = (r[claims.HOLM] for r in claims.judged(items))
    assert [float(a), float(b)] == pytest.approx([3 * p[0], 2 * p[1]], rel=0.05)
    assert float(c.removeprefix("≈ ")) == pytest.approx(p_value(1, 0.5, 3), rel=0.05)


def test_changes_that_a_claim_recorded_count_before_those_of_its_runs():
    says = "Table 1: RAL single lowers NLL under the oracle"
    rows = [claims.claim(says, "", "-1.0 ± 9", -1, 0.1, [-1.0, -1.1, -0.9])]
    assert rows[0][claims.EACH] == "-1, -1.1, -0.9"
    (row,) = claims.judged({"03-claims": {"rows": rows, "origin": {"seeds": [1, 2, 3]}}})
    assert float(row[claims.HOLM]) == pytest.approx(p_value(1.0, 0.1, 3), rel=0.05)
    assert claims.holm_decides(row) and claims.EACH not in row


def test_without_runs_and_rivals_the_claims_stand_alone():
    without = lambda rows: [{k: v for k, v in row.items() if k != claims.EACH} for row in rows]  # noqa: E731
    tables = {name: about for name, about in ITEMS.items() if name.endswith("-claims")}
    rows = claims.judged({name: about | {"rows": without(about["rows"])} for name, about in tables.items()})
    assert len(rows) == len(claims.claims_of(ITEMS))
    assert {r[claims.RIVALS] for r in rows} == {""}
    assert all(r[claims.HOLM].startswith("≈") for r in rows if "±" in r["ours"])
    assert rows[0][claims.EFFECT].endswith(" %")  # from the ± that is shown


def test_a_table_of_claims_without_a_column_is_left_out():
    assert claims.judged({"03-claims": {"rows": [{"x": 1}], "origin": {"seeds": [1]}}}) == []


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (3.0, "RAL does not help, at equal NLL_test.**"),
        (-3.0, "RAL still helps, at equal NLL_test.**"),
        (0.0, "it is not decided"),
    ],
)
def test_the_answer_follows_the_numbers(shift, verdict):
    text = answer({"08-1-planes": {"data": planes(shift)}})
    assert any("sampled colder" in line and verdict in line for line in text)
    assert "RAL helps.**" in text[0]
    assert "RAL hurts.**" in answer({"08-1-planes": {"data": planes(0.0, surprise=110.0)}})[0]


def test_the_other_worlds_are_named():
    row = {
        "method": "RAL intermediate",
        "small network": "they differ",
        "little data": "worse (predicted: they differ)",
    }
    items = {"08-1-planes": {"data": planes(1.0)}, "08-0-answer": {"rows": [row | {"little training": "one seed"}]}}
    (text,) = (line for line in answer(items) if "sampled colder" in line)
    assert text.endswith('is "worse" in the world *little data* and "one seed" in the world *little training*.')


def top_k(distances):
    """What notebook 08 keeps of MLE that draws only likely codes: what it changes of each seed's own distance."""
    key, mle = "FD to oracle data", 50  # that of `planes` at temperature 1
    rows = [
        {"world": "small network", "method": "MLE, top-k", "seed": i, key: x - mle} for i, x in enumerate(distances)
    ]
    rows += [{"world": "little data", "method": "MLE, top-k", "seed": 0, key: 7.0}]
    return {"08-1-planes": {"data": planes(-20.0)}, "08-0-changes": {"rows": rows[::-1]}}


TOP_K = "MLE that draws only likely codes (top-k)"
OURS = "It is 20.1 and 20.1 for RAL's two rewards, 30.0 for MLE, "  # RAL has 20 and 20.1; MLE 30 where it has least


@pytest.mark.parametrize(
    ("distances", "says"),
    [
        ((30.0, 30.1), f", and RAL beats {TOP_K}.** {OURS}30.1 for {TOP_K}."),
        ((10.0, 10.2), f", and RAL loses to {TOP_K}.** {OURS}10.1 for {TOP_K}."),
        ((15.0, 25.0), f".** {OURS}20.0 for {TOP_K}, where nothing is decided."),
    ],
)
def test_the_likeliest_codes_alone_are_a_rival_by_the_distance(distances, says):
    items = top_k(distances)
    assert in_short(items)[-1] == f"**By a distance like FID, RAL beats MLE at its best temperature{says}"
    (text,) = (line for line in answer(items) if line.startswith("**By a distance"))
    assert f"(top-k), and then it has {np.mean(distances):.2f}" in text
    items["08-0-changes"]["rows"].pop()  # a seed is missing
    assert not any("top-k" in line for line in (*in_short(items), *answer(items)))


def test_samples_that_a_critic_chose_are_a_rival_by_the_distance():
    items, key = {"08-1-planes": {"data": planes(-20.0)}}, "FD to oracle data"
    kept = [[row(1.0, 20.0, 10.0) | {"price": claims.PRICE, key: 10.0 + d}] for d in (0.0, 0.2)]
    items["08-2-rejection"] = {"data": dict(zip("12", kept, strict=True))}
    assert in_short(items)[-1].endswith(
        f", and RAL loses to MLE samples that a critic chose.** {OURS}10.1 for MLE samples that a critic chose."
    )
    (text,) = (line for line in answer(items) if line.startswith("**By a distance"))
    assert "keeps one of 4 has 10.10, and RAL's minus that is +9.95 ± 0.07 (higher) with the single reward" in text
    del kept[0][0][key]
    assert "critic chose" not in in_short(items)[-1] and not any("has 10.10" in line for line in answer(items))


def test_rewards_that_differ_beside_a_rival_are_not_called_undecided():
    data = planes(3.0)
    data["RAL intermediate"] = [[row(1.0, 20.0, 40 + d, 90 + d)] for d in (-1.0, 1.0)]
    assert "RAL's two rewards differ beside" in in_short({"08-1-planes": {"data": data}})[1]


def test_what_is_not_there_is_not_answered():
    assert answer({}) == in_short({}) == []
    assert not any("rejection" in line for line in answer({"08-1-planes": {"data": planes(1.0)}}))
    data = planes(1.0)
    del data["RAL single"]
    assert answer({"08-1-planes": {"data": data}}) == []


def test_the_answer_of_the_committed_run_is_whole():
    assert len(answer(ITEMS)) == 7 and len(in_short(ITEMS)) == 3
    assert not any(re.search(r"\bnan\b|\binf\b|\{|\}", line) for line in answer(ITEMS) + in_short(ITEMS))


def test_the_plane_shows_every_method_and_the_truth():
    data = ITEMS["08-1-planes"]["data"]
    figure = hero.trade_off_plane(data, ITEMS["08-2-rejection"]["data"])
    (ax,) = figure.axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(data) - {"MLE"} <= {label.partition(":")[0] for label in labels} and len(labels) == len(data) + 1
    assert ax.get_xlim()[0] < 0 and ax.get_ylim()[0] < 0
    assert "the oracle: the truth" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(
    "data", [None, [], {}, {"MLE": []}, {"MLE": [[]]}, {"MLE": 3}, {"MLE": [[{"temperature": 1}]]}]
)
def test_what_is_no_plane_is_not_drawn(tmp_path, data):
    (tmp_path / hero.HERO).write_bytes(b"of another run")
    assert not hero.draw_hero(tmp_path, {"08-1-planes": {"data": data}})
    assert list(tmp_path.iterdir()) == []


def test_the_plane_is_drawn_the_same_twice(tmp_path):
    items = {"08-1-planes": {"data": copy.deepcopy(planes(1.0))}}
    assert hero.draw_hero(tmp_path, items)
    first = (tmp_path / hero.HERO).read_bytes()
    hero.draw_hero(tmp_path, items)
    assert (tmp_path / hero.HERO).read_bytes() == first


def changed(method, seed, percent, distance, world="small network"):
    return {"world": world, "method": method, "seed": seed, "NLL_oracle, %": percent, "FD to oracle data": distance}


def test_a_control_that_looks_at_no_image_is_set_beside_ral():
    rows = [changed(m, s, -10 - d - s / 5, -3) for s in (1, 2) for m, d in (("RAL single", 0), ("RAL intermediate", 1))]
    rows += [changed("reward log G", s, -12 - s / 5, 1) for s in (2, 1)]
    rows += [changed("reward log G", s, -99, 1, "little data") for s in (1, 2)]
    items = {"08-0-changes": {"rows": rows}}
    (text,) = answer(items)
    assert "Beside a control that looks at no image, the control lowers NLL_oracle further" in text
    assert "NLL_oracle by -12.3 ± 0.1 %" in text and "-10.3 ± 0.1 % with the single reward" in text
    assert "FD to oracle data changes by +1.00 ± 0.00 with the control, and by -3.00 ± 0.00 with the single" in text
    assert "RAL's minus the control's is -4.00 ± 0.00 (lower) with the single reward" in text
    assert answer({"08-0-changes": {"rows": [r for r in rows if r["method"] != "RAL single"]}}) == []  # seeds differ
    says = "Table 1: RAL single lowers NLL under the oracle"
    table = {"03-claims": {"rows": [claims.claim(says, "", "-10 %", -10, 1)], "origin": {"seeds": [1, 2]}}}
    verdict = {
        "method": "RAL single",
        "temperature": 1,
        "side, NLL_oracle": "above",
        "NLL_oracle beyond the curve": "+2",
    }
    (row_,) = claims.judged(items | table | {"08-verdict": {"rows": [verdict]}})
    assert "beside reward log G, a control that sees no image, no, +2.00 ± 0 %" in row_[claims.RIVALS]
    curves = {"08-1-planes": {"data": planes(1.0)}}
    assert "With a control that sees no image it is 12 % less." in in_short(items | curves)[0]
    assert "neither critic" not in in_short(curves)[0]


def test_distances_of_table_1_are_set_beside_rejection():
    says, key = "Table 1: RAL single lowers FID on oracle data", "FD to oracle data"
    kept = [[row(1.0, 20.0, 10.0) | {"price": claims.PRICE, key: 10.0 + d}] for d in (0.0, 0.2)]
    items = {
        "03-claims": {"rows": [claims.claim(says, "", "-10 %", -10, 1)], "origin": {"seeds": [1, 2]}},
        "08-1-planes": {"data": planes(-20.0)},
        "08-2-rejection": {"data": dict(zip("12", kept, strict=True))},
    }
    (judged,) = claims.judged(items)
    assert judged[claims.RIVALS] == "beside rejection no, +9.95 ± 0.071"
