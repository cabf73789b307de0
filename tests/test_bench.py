"""The test bed: scores against exact sums, what it refuses, the comparison with MLE, rows that are kept."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prior
from small import MAPS, tiny_prior
from torch import nn

from ralkit.__main__ import main
from ralkit.course import bench, methods
from ralkit.course.bench import CRITERIA, FUNCTIONS, METHODS, PRICES, WORLDS, Bench, check_honest, compare, verdict
from ralkit.course.predictions import PREDICTED
from ralkit.errors import RalkitError
from ralkit.metrics import map_log_prob, oracle_metrics
from ralkit.sampling import AutoregressiveMixin

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bed(tiny, tmp_path):
    return Bench(tiny, root=tmp_path)


# ---- What is measured ----


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_both_jensen_shannon_divergences_are_the_exact_sums(temperature):
    G, oracle, n = tiny_prior(), make_prior(K=3, layers=2, k=3), 20_000
    log_g, log_o = G.log_prob(MAPS, temperature=temperature).double(), oracle.log_prob(MAPS).double()
    mixed_by_code = ((log_g.exp() + log_o.exp()) / 2).log().sum((1, 2))
    log_g, log_o = log_g.sum((1, 2)), log_o.sum((1, 2))
    g, o = log_g.exp(), log_o.exp()
    assert mixed_by_code.exp().sum().item() == pytest.approx(1, abs=1e-5)  # it is a distribution
    exact = {
        name: ((g * (log_g - mixed)).sum() + (o * (log_o - mixed)).sum()).item() / 2
        for name, mixed in (("JS", ((g + o) / 2).log()), ("JS by code", mixed_by_code))
    }
    row = oracle_metrics(G, oracle, G.sample(n, (2, 2), temperature=temperature), oracle.sample(n, (2, 2)), temperature)
    for name, value in exact.items():
        assert row[name] == pytest.approx(value, abs=5 * row[f"{name}_se"]), name
    assert row["KL(G||oracle)"] == pytest.approx((g * (log_g - log_o)).sum().item(), abs=5 * row["KL(G||oracle)_se"])
    assert exact["JS by code"] > 1.05 * exact["JS"] > 0.05


def test_a_prior_that_cannot_draw_all_has_finite_jensen_shannon_divergences():
    oracle, cut = tiny_prior(), methods.Truncated(tiny_prior(), k=1)
    row = oracle_metrics(cut, oracle, cut.sample(100, (2, 2)), oracle.sample(100, (2, 2)))
    assert row["KL(oracle||G)"] == float("inf")
    assert 0 < row["JS"] < np.log(2) and row["JS"] < row["JS by code"] < 4 * np.log(2)


def test_the_oracle_s_own_numbers_are_no_distance():
    oracle = tiny_prior()
    codes = oracle.sample(200, (2, 2))
    known = oracle_metrics(oracle, oracle, codes, codes, oracle_log_prob=oracle.log_prob(codes).detach())
    assert known == oracle_metrics(oracle, oracle, codes, codes)
    assert known["JS"] == pytest.approx(0, abs=1e-6) and known["JS by code"] == pytest.approx(0, abs=1e-6)


def test_what_rejection_accepts_is_the_exact_distribution():
    """Of all 81 maps, drawn as often as they are likely: the numbers are the sums over what is accepted."""
    G, oracle = tiny_prior(), make_prior(K=3, layers=2, k=3)
    log_g, log_o = map_log_prob(G, MAPS).double(), map_log_prob(oracle, MAPS).double()
    D = log_o - log_g
    drawn, true = (torch.multinomial(x.exp(), 40_000, replacement=True) for x in (log_g, log_o))
    row = bench.accepted(*([x[i] for x in (log_g, log_o, D)] for i in (drawn, true)), price=4)
    tau = bench.rejection_threshold(D[drawn], 4)
    accepted = log_g.exp() * torch.sigmoid(D - tau)
    accepted /= accepted.sum()
    exact = {
        "KL(G||oracle)": (accepted * (accepted.log() - log_o)).sum(),
        "KL(oracle||G)": (log_o.exp() * (log_o - accepted.log())).sum(),
        "entropy": -(accepted * accepted.log()).sum(),
    }
    for name, value in exact.items():
        assert row[name] == pytest.approx(value.item(), abs=0.05), name


def test_at_an_infinite_price_a_critic_that_knows_everything_leaves_the_truth():
    G, oracle = tiny_prior(), make_prior(K=3, layers=2, k=3)
    log_g, log_o = map_log_prob(G, MAPS).double(), map_log_prob(oracle, MAPS).double()
    D = log_o - log_g
    drawn, true = (torch.multinomial(x.exp(), 40_000, replacement=True) for x in (log_g, log_o))
    row = bench.accepted(*([x[i] for x in (log_g, log_o, D)] for i in (drawn, true)), price=math.inf)
    apart = (log_g.exp() * (log_g - log_o)).sum().item()
    assert max(abs(row["KL(G||oracle)"]), abs(row["KL(oracle||G)"])) < 0.1 * apart  # Z is an estimate
    assert 0 < row["samples that count"] < len(drawn)


def test_of_many_methods_only_the_clearest_differ_when_judged_together():
    def at(T, x, y):
        row = {"temperature": T, "NLL_test": x, "entropy": 100 * T - y / 10, "KL(oracle||G)": x, "KL(G||oracle)": y}
        return row | {"JS by code": y / 10}

    def curve(shift):
        return [at(T, 140 + 40 * (1 - T) ** 2, 70 - 40 * (1 - T) + shift) for T in (0.6, 0.7, 0.8, 0.9, 1.0)]

    rows = {"MLE": {s: curve(0) for s in (1, 2, 3)}}
    noise = np.random.default_rng(0)
    for i in range(10):  # methods that are MLE with noise
        rows[f"noise {i}"] = {s: curve(noise.normal()) for s in (1, 2, 3)}
    assert bench.decided_together(rows) == {}
    rows["far"] = {s: curve(-40 + 0.001 * s) for s in (1, 2, 3)}
    found = bench.decided_together(rows)
    assert list(found) == ["far"] and all(by.endswith("(better)") for by in found["far"])
    rows["one seed"] = {1: curve(-60)}
    assert bench.decided_together(rows) == found


# ---- What is refused ----


class _Scaled(AutoregressiveMixin, nn.Module):
    """A prior whose probabilities are those of another one, spoilt."""

    def __init__(self, spoil):
        super().__init__()
        self.prior, self.K, self.spoil = tiny_prior(), 3, spoil

    def forward(self, codes, condition=None):
        return self.prior(codes)

    def log_prob(self, codes, condition=None, *, temperature=1.0):
        return self.spoil(self.prior.log_prob(codes, temperature=temperature), codes)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda x, c: x + 0.1, "sum to 1.105"),
        (lambda x, c: x.roll(-1, 2), "sum to|causal"),
        (lambda x, c: x.sum((1, 2)), "log_prob is of shape"),
        (lambda x, c: x + 0.1 * torch.stack([c[:, 1], -c[:, 0]], 1).float(), "causal|sum to"),
    ],
)
def test_a_prior_that_is_not_normalised_or_looks_ahead_is_refused(spoil, says):
    check_honest(_Scaled(lambda x, c: x), tiny_prior().sample(50, (2, 2)), 1.0)
    with pytest.raises(RalkitError, match=says):
        check_honest(_Scaled(spoil), tiny_prior().sample(50, (2, 2)), 1.0)


@pytest.mark.parametrize("asked", [0.4, 1.0])
def test_samples_that_do_not_follow_the_probabilities_are_refused(asked):
    """Those of another temperature, and those that are all alike."""
    prior = tiny_prior()
    check_honest(prior, prior.sample(200, (2, 2), temperature=asked), asked)
    for sampled in (prior.sample(200, (2, 2), temperature=1.4 - asked), torch.full((200, 2, 2), 1)):
        with pytest.raises(RalkitError, match="the samples do not follow log_prob"):
            check_honest(prior, sampled, asked)


def test_scores_are_refused_too(bed):
    study = bed.study("small network")
    (G,) = study.generator("MLE", 1)
    sample = G.sample
    assert [row["temperature"] for row in bench.score(study, G, [1.0])] == [1.0]
    G.sample = lambda *a, temperature, **options: sample(*a, temperature=0.01, **options)
    with pytest.raises(RalkitError, match="more likely than they should be"):
        bench.score(study, G, [1.0])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.py:f", None, "give a name of the test bed, or file.py:function"),
        ("MLE for lunch", None, "give a name of the test bed"),
        ("m.py:g", "def f(start): return start.generator", "has no function g"),
        ("m.py:f", "def f(start) return", "cannot be run: SyntaxError"),
        ("m.py:f", "import nothing_like_this", "cannot be run: ModuleNotFoundError"),
        ("m.txt:f", "f = 1", "name must end in .py"),
    ],
)
def test_a_file_that_holds_no_method_is_one_sentence(tmp_path, monkeypatch, name, content, says):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name.split(":")[0]).write_text(content)
    with pytest.raises(RalkitError, match=says):
        bench.load(name)


def test_a_method_that_returns_no_prior_is_refused(bed):
    with pytest.raises(RalkitError, match="returned a NoneType, which has no K"):
        bench.run(lambda start: None, bed.study("small network"), 1)


def test_an_unknown_world_is_refused(bed):
    with pytest.raises(RalkitError, match="no world 'large'; the test bed has small network"):
        bed.study("large")


# ---- Comparison ----


def curve_of(shift=0.0):
    return [
        {"temperature": T, "entropy": 100 * T, "KL(G||oracle)": 80 * T + shift, "NLL_test": 140 + 90 * (1 - T) ** 2,
         "KL(oracle||G)": 30 + 90 * (1 - T) ** 2, "JS by code": 9 + 4 * (T - 0.8) ** 2 + shift / 10}
        for T in bench.CURVE
    ]  # fmt: skip


def test_mle_itself_lies_on_its_curve_and_what_is_lower_lies_below():
    seeds = (1, 2, 3)
    curve = {s: curve_of(s) for s in seeds}
    for shift, word in ((0, "not decided"), (-5, "better"), (5, "worse")):
        # A hair of noise, because equal differences have no spread, and 0 is decided by nothing.
        rows = {s: [r | {"KL(G||oracle)": r["KL(G||oracle)"] + shift + 1e-3 * (s - 2),
                         "JS by code": r["JS by code"] + shift / 10 + 1e-3 * (s - 2)} for r in curve_of(s)]
                for s in seeds}  # fmt: skip
        found = compare(rows, curve)
        assert list(found) == list(CRITERIA)
        assert found["equal NLL_test"] == pytest.approx(shift, abs=0.05)
        assert found["equal entropy"] == pytest.approx(shift, abs=0.05)
        assert found["both KL, best T"] == pytest.approx(shift, abs=0.05)
        assert found["JS by code, best T"] == pytest.approx(shift / 10, abs=0.05)
        assert verdict(found) == word


def test_colder_samples_of_the_same_model_are_no_better():
    """A method that is MLE at temperature .8 lies on the curve at both diversities."""
    curve = {s: curve_of() for s in (1, 2)}
    cold = {s: [next(r for r in curve_of() if r["temperature"] == 0.8) | {"temperature": 1.0}] for s in (1, 2)}
    found = compare(cold, curve)
    assert found["equal NLL_test"] == pytest.approx(0, abs=0.02) and found["equal entropy"] == pytest.approx(
        0, abs=0.02
    )


def test_criteria_that_do_not_apply_are_left_out_of_the_verdict():
    far = np.array([-2.0, -2.1, -1.9])
    nan = np.full(3, np.nan)
    assert verdict({"a": nan, "b": far}) == "better"
    assert verdict({"a": -far, "b": far}) == "1 of 2 better, 1 worse"
    near = np.array([-2.0, 2.1, 0.1])
    assert verdict({"a": far, "b": near, "c": far, "d": nan}) == "2 of 3 better"
    assert verdict({"a": -far, "b": near}) == "1 of 2 worse" and verdict({"a": near, "b": near}) == "not decided"
    assert verdict({"a": far[:1]}) == "one seed"
    infinite = [{"temperature": 1.0, "entropy": 80.0, "KL(G||oracle)": 60.0, "JS by code": 9.0}]
    found = compare({s: infinite for s in (1, 2)}, {s: curve_of() for s in (1, 2)})
    assert np.isnan(found["equal NLL_test"]).all() and np.isnan(found["both KL, best T"]).all()
    assert not np.isnan(found["equal entropy"]).any() and not np.isnan(found["JS by code, best T"]).any()


def test_a_summary_says_what_came_out_and_what_had_been_expected():
    seeds = (1, 2, 3)

    def noisy(shift, s):
        changed = {"KL(G||oracle)": shift + 1e-3 * s, "JS by code": shift / 10 + 1e-4 * s}
        return [r | {key: r[key] + d for key, d in changed.items()} | {"NLL_oracle": 200 + shift} for r in curve_of(s)]

    rows = {"MLE": {s: noisy(0, 0) for s in seeds}, "RAL anchored": {s: noisy(-5, s) for s in seeds},
            "DDO": {s: noisy(-5, s) for s in seeds}, "GRPO": {1: noisy(5, 1)}}  # fmt: skip
    for m, shift in (("RAL single", 1), ("RAL intermediate", -1)):  # by JS by code
        rows[m] = {s: [r | {"JS by code": r["JS by code"] + shift} for r in noisy(-5, s)] for s in seeds}
    lines = {line["method"]: line for line in bench.summary({"small network": rows})}
    assert lines["RAL anchored"]["small network"] == "better"
    assert lines["DDO"]["small network"] == "better (predicted: not decided)"
    assert lines["GRPO"]["small network"] == "one seed" and "MLE" not in lines
    assert lines["RAL single"]["small network"] == "3 of 4 better, 1 worse"  # predicted: they differ
    assert lines["RAL intermediate"]["small network"] == "better (predicted: they differ)"
    why = "we expected this, because"
    assert lines["RAL intermediate"][why] == "as above" and lines["RAL single"][why].startswith("without a scale")
    percent = {(line["method"], line["seed"]): line["NLL_oracle, %"] for line in bench.changes(rows)}
    assert percent["DDO", 2] == pytest.approx(-2.5) and percent["GRPO", 1] == pytest.approx(2.5)


# ---- Rows ----


def test_worlds_differ_in_what_the_generator_lacks_and_share_the_oracle(bed):
    keys = {name: bed.study(name).keys("MLE", 1) for name in WORLDS}
    assert len(set(keys.values())) == len(WORLDS)
    assert len({bed.study(name).world.networks[1] for name in WORLDS}) == 1
    sizes = [len(bed.study(name).world.data["train"][0]) for name in WORLDS]
    assert sizes[0] == sizes[2] > sizes[1]


def test_rows_are_made_once_and_again_when_a_setting_changes(bed, tiny, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(FUNCTIONS, "DDO", lambda start: calls.append(start.seed) or start.generator)
    first = bed.rows("small network", "DDO", 1)
    assert [row["temperature"] for row in first] == list(bench.TEMPERATURES)
    assert bed.rows("small network", "DDO", 1) == first == Bench(tiny, root=tmp_path).rows("small network", "DDO", 1)
    assert calls == [1]
    longer = Bench(replace(tiny, generator=replace(tiny.generator, steps=4)), root=tmp_path)
    longer.rows("small network", "DDO", 1)
    assert calls == [1, 1] and len(bed.kept()) == 2
    kept = bed.kept()[bed.key("small network", "DDO", 1)]
    assert kept["seconds"] >= 0 and kept["made"].keys() == {"commit", "torch", "device"}


def test_rejection_has_one_entry_for_all_its_prices(bed):
    rows = [bed.rows("small network", f"MLE, a critic keeps 1 of {price}", 1) for price in PRICES]
    assert [row["price"] for (row,) in rows] == list(PRICES)
    assert len(bed.kept()) == 1


def test_damaged_rows_are_one_sentence(bed):
    bed.file.parent.mkdir(parents=True)
    bed.file.write_text("{")
    with pytest.raises(RalkitError, match=r"rows\.json is damaged; take it from git again"):
        bed.kept()


def test_the_committed_rows_are_of_the_present_settings_and_can_be_compared(tmp_path):
    rows = json.loads((ROOT / "figures/deep/bench/rows.json").read_text())
    bed = Bench(root=tmp_path)
    known = {bed.key(w, m, s) for w in WORLDS for m in METHODS for s in range(1, 6)}
    assert rows and set(rows) <= known
    for row in rows.values():
        assert not row["made"]["commit"].endswith("-dirty") and row["weights"].startswith("pretrained")
        assert 1 in [r["temperature"] for r in row["rows"]]


def test_every_method_has_a_prediction_for_every_world():
    assert set(PREDICTED) == set(METHODS) - {"MLE"}
    assert all(len(p.words) == len(WORLDS) and p.why for p in PREDICTED.values())


def test_the_readme_s_method_is_one(bed, tmp_path):
    (block,) = re.findall(r"```python\n(import torch\n\n\ndef method.*?)```", (ROOT / "README.md").read_text(), re.S)
    (tmp_path / "mine.py").write_text(block.replace("200", "3"))
    study = bed.study("small network")
    prior = bench.run(bench.load(f"{tmp_path / 'mine.py'}:method"), study, 1)
    start = study.generator("MLE", 1)[0]
    assert (prior.embedding.weight != start.embedding.weight).any()
    assert bench.score(study, prior, [1.0])[0]["NLL_test"] > 0


def test_the_command_scores_a_method_of_one_s_own(tiny, tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def same(start):\n    return start.generator\n")
    monkeypatch.setitem(bench.get_preset.__globals__["PRESETS"], "tiny", tiny)
    out = tmp_path / "mine.json"
    arguments = ["bench", "--preset", "tiny", "--root", str(tmp_path), "--no-pretrained", "--world", "small network"]
    assert main([*arguments, "--method", "MLE", "--method", f"{file}:same", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{file}:same" in printed and "one seed" in printed
    rows = json.loads((tmp_path / "mine-small-network.json").read_text())["rows"][f"{file}:same"]["1"]
    mle = Bench(tiny, root=tmp_path).rows("small network", "MLE", 1)
    assert rows == [r for r in mle if r["temperature"] in bench.TEMPERATURES]
    assert main([*arguments, "--generators", "one"]) == 2
    assert "--generators one" in capsys.readouterr().err
