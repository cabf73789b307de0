"""The test bed: every method from the same MLE generators, in worlds where they fall short for different reasons.

Rows of results are kept in `figures/<preset>/bench/rows.json`, which is committed. So a new method is compared with all
others without running them again.
"""

import importlib.util
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from .. import store
from ..errors import RalkitError
from ..metrics import map_log_prob, oracle_metrics
from ..prior import PriorConfig
from ..protocols import Prior
from ..training import seeded
from . import methods
from .methods import Method, Start
from .oracle import OracleWorld
from .predictions import BETTER, DIFFER, OPEN, PREDICTED, WORSE
from .presets import COMMITTED, Preset, get_preset
from .record import made_on
from .runs import RUNS
from .significance import LEVEL, at_best, beyond, direction, holm, p_value, spread, with_narrowness
from .study import Study, rejection_threshold
from .world import Numbers

RECIPE = 1  # raise it when a function of `methods` changes, or what is measured

# ---- Worlds ----

# What the MLE generator lacks. The oracle is the preset's; so are the data, but that "little data" has a twentieth. The
# length of its training and its dropout were chosen by NLL_test on seed 0.
WORLDS: dict[str, Callable[[Preset], Preset]] = {
    "small network": lambda p: p,
    "little data": lambda p: replace(
        p, n_oracle=p.n_oracle // 20,
        generator=_briefly(p.generator, dropout=0.3, lr=p.generator.lr / 2),
    ),
    "little training": lambda p: replace(p, generator=_briefly(p.generator)),
}  # fmt: skip


def _briefly(generator: PriorConfig, **changes: float) -> PriorConfig:
    """Three times the layers, a 48th of the steps."""
    return replace(generator, layers=3 * generator.layers, steps=max(1, generator.steps // 48), **changes)


def study_of(world: str, preset: str | Preset = COMMITTED, **options: Any) -> Study:
    """The study of a world of the test bed; RalkitError for an unknown name."""
    if world not in WORLDS:
        raise RalkitError(f"there is no world {world!r}; the test bed has {', '.join(WORLDS)}")
    preset = get_preset(preset) if isinstance(preset, str) else preset
    return Study(OracleWorld(WORLDS[world](preset), **options))


# ---- Methods ----

TEMPERATURES = (0.7, 0.8, 0.9, 1.0)
CURVE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of MLE
PRICES = (2, 4, 8, 16)  # of rejection: samples drawn for each one kept
_REJECTION = "MLE, a critic keeps 1 of "
REWEIGHTED = "MLE reweighted by e^D"  # what rejection tends to as its price grows, and what RAL anchored descends to

FUNCTIONS: dict[str, Method] = {
    "MLE for longer": methods.mle_for_longer,
    "MLE, top-k": methods.top_k,
    "MLE, nucleus": methods.nucleus,
    "rejection distilled": methods.distilled,
    "weighted MLE": methods.weighted,
    "DDO": methods.ddo,
    "GRPO": methods.grpo,
    "RAL, shuffled rewards": methods.shuffled,
    "reward log G": methods.confidence,
    "RAL anchored, again": methods.anchored_again,
    "RAL anchored for longer": methods.anchored_longer,
}
TRAINED = (
    "RAL single", "RAL intermediate", "RAL, KL 0.1", "RAL, KL 0.3", "RAL, KL 1", "RAL, KL 3", "RAL anchored",
    "RAL, true reward", "RAL, true reward for longer", "RAL literal, as many roll-outs",
)  # fmt: skip
METHODS = ("MLE", *(f"{_REJECTION}{price}" for price in PRICES), REWEIGHTED, *TRAINED, *FUNCTIONS)


def load(file_and_function: str) -> Method:
    """The method that `file.py:function` names; RalkitError, with what is wrong, if there is none."""
    file, colon, function = file_and_function.rpartition(":")
    if not colon or not Path(file).is_file():
        raise RalkitError(f"--method {file_and_function}: give a name of the test bed, or file.py:function")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None:
        raise RalkitError(f"--method {file_and_function}: {file} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RalkitError(f"{file} cannot be run: {type(error).__name__}: {error}; mend it") from error
    if not callable(method := getattr(module, function, None)):
        raise RalkitError(f"{file} has no function {function}; define it, with one argument, a Start")
    return method


# ---- Scores ----


@torch.no_grad()
def check_honest(prior: Prior, sampled: torch.Tensor, temperature: float) -> None:
    """Raise RalkitError unless log_prob is normalised and causal, and the prior's maps (n, H, W) are drawn by it.

    At some places all K codes are tried: their probabilities must sum to 1, and those of the codes before must not
    change. The mean log-probability of the codes that were drawn there must be minus the mean entropy, within five
    standard errors.
    """
    n, H, W = sampled.shape
    excess, variance = 0.0, 0.0
    for place in sorted({0, W // 2, H * W // 2, H * W - 1}):
        tried = sampled.repeat_interleave(prior.K, 0)
        tried[:, place // W, place % W] = torch.arange(prior.K, device=sampled.device).repeat(n)
        log_prob = prior.log_prob(tried, temperature=temperature)
        if log_prob.shape != tried.shape:
            raise RalkitError(f"log_prob is of shape {tuple(log_prob.shape)}; codes are {tuple(tried.shape)}")
        log_prob = log_prob.flatten(1).unflatten(0, (n, prior.K))
        p, before = log_prob[..., place].exp(), log_prob[..., :place]
        if not torch.allclose(p.sum(1), torch.ones(n, device=p.device), atol=1e-3):
            raise RalkitError(
                f"at place {place} of a map the probabilities of the {prior.K} codes sum to {p[0].sum().item():.4g} "
                f"(temperature {temperature:g}); log_prob must be normalised"
            )
        if not torch.allclose(before, before[:, :1].expand_as(before), atol=1e-3):
            raise RalkitError(
                f"the probabilities of codes before place {place} change with the code there; log_prob must be causal"
            )
        log_p = log_prob[..., place].clamp_min(-50)  # of a code that is never drawn, p log p is 0
        mean = (p * log_p).sum(1)
        drawn = log_p.gather(1, sampled.flatten(1)[:, place, None])[:, 0]
        excess, variance = excess + (drawn - mean).sum(), variance + ((p * log_p.square()).sum(1) - mean**2).sum()
    if excess.abs() > 5 * (variance + 0.1).sqrt():
        raise RalkitError(
            f"at temperature {temperature:g} the samples do not follow log_prob: their codes are "
            f"{'less' if excess < 0 else 'more'} likely than they should be; sample and log_prob must be of one model"
        )


def score(study: Study, prior: Prior, temperatures: Sequence[float] = TEMPERATURES) -> list[Numbers]:
    """A row of numbers for each temperature; infinite ones are left out.

    At temperature 1 they are those of n_eval samples, with distances; at others the oracle's numbers of half as many.
    Raises RalkitError if the prior fails `check_honest` at the first temperature or the last.
    """
    world, rows = study.world, []
    for T in {temperatures[0], temperatures[-1]}:
        check_honest(prior, *world.sample((prior,), 16, 13, temperatures=[T]), T)
    for T in temperatures:
        if T == 1:
            row = world.numbers((prior,), T)
        else:
            (codes,) = world.sample((prior,), world.config.n_eval // 2, 7, temperatures=[T])
            (test,) = world.test_codes(len(codes))
            row = oracle_metrics(prior, world.oracle, codes, test, T, world.truth(len(test)))
        rows.append({key: value for key, value in ({"temperature": T} | row).items() if np.isfinite(value)})
    return rows


@torch.no_grad()
def score_rejection(study: Study, seed: int, prices: Sequence[int] = PRICES) -> dict[int, Numbers]:
    """The numbers of MLE samples of which the known critic keeps one in `price`, for each price.

    p_accepted(c) = G(c) a(c) / Z, with a = sigma(D - tau) and Z = E_G a. No sample is thrown away: each is weighted by
    a. So Z, and with it NLL_test and the entropy, is an estimate. With an infinite price a is in proportion to e^D.
    """
    world, start = study.world, Start(study, seed)
    n, G = world.config.n_eval, start.generator
    sets = *world.sample((G,), n, 7), *world.test_codes(n)
    of_G, of_oracle = ((map_log_prob(G, c), map_log_prob(world.oracle, c), start.scores(c)) for c in sets)
    return {price: accepted(of_G, of_oracle, price) for price in prices}


def accepted(of_G: Sequence[torch.Tensor], of_oracle: Sequence[torch.Tensor], price: int) -> Numbers:
    """The numbers of what is accepted, from log G, log oracle and D of samples of G, and of the oracle's codes."""
    log_G, log_oracle, D = of_G  # of samples of G
    log_G_o, log_oracle_o, D_o = of_oracle  # of the oracle's codes
    tau = rejection_threshold(D, price)
    log_a, log_a_o = (torch.nn.functional.logsigmoid(x - tau) for x in (D, D_o))
    w, log_Z = log_a.softmax(0), log_a.exp().mean().log()
    log_p, log_p_o = log_G + log_a - log_Z, log_G_o + log_a_o - log_Z  # of what is accepted
    return {
        "temperature": 1.0, "price": price, "NLL_oracle": -(w * log_oracle).sum().item(),
        "entropy": -(w * log_p).sum().item(), "KL(G||oracle)": (w * (log_p - log_oracle)).sum().item(),
        "NLL_test": -log_p_o.mean().item(), "KL(oracle||G)": (log_oracle_o - log_p_o).mean().item(),
        "samples that count": 1 / w.square().sum().item(),
    }  # fmt: skip


# ---- Rows ----


class Bench:
    """The rows of a preset's test bed: read where they are of these settings, else made and written.

    `options` are those of OracleWorld.
    """

    def __init__(self, preset: str | Preset = COMMITTED, **options: Any):
        self.preset, self.options = preset, options
        self._studies: dict[str, Study] = {}

    def study(self, world: str) -> Study:
        """The study of a world, made once."""
        if world not in self._studies:
            self._studies[world] = study_of(world, self.preset, **self.options)
        return self._studies[world]

    @property
    def file(self) -> Path:
        """Where the rows are kept: among the figures, because they are committed with them."""
        return self.study(next(iter(WORLDS))).world.project.figures / "bench" / "rows.json"

    def kept(self) -> dict[str, Any]:
        """All rows that were written, by key; RalkitError if the file is damaged."""
        try:
            return json.loads(self.file.read_text()) if self.file.exists() else {}
        except ValueError as error:
            raise RalkitError(f"{self.file} is damaged; take it from git again") from error

    def key(self, world: str, method: str, seed: int) -> str:
        """What a method's rows are kept under: it changes with everything that they are made of."""
        study = self.study(world)
        inputs = (*study.keys("MLE", seed), *study.world.numbers_inputs, CURVE, TEMPERATURES, RECIPE)
        if method in RUNS:
            inputs += study.keys(method, seed)
        name = "rejection" if method.startswith(_REJECTION) else method
        return f"{world}, {name}, seed {seed}, {store.key(name, *inputs)}"

    def rows(self, world: str, method: str, seed: int) -> list[Numbers]:
        """The rows of a method and seed, one a temperature (for rejection the row of its price)."""
        key, kept = self.key(world, method, seed), self.kept()
        if key not in kept:
            self._write(key, self._make(world, method, seed))
            kept = self.kept()
        rows = kept[key]["rows"]
        if method.startswith(_REJECTION):
            rows = [row for row in rows if f"{_REJECTION}{row['price']}" == method]
        return rows

    def has(self, world: str, method: str, seed: int) -> bool:
        """Whether `rows` would read and not make."""
        return self.key(world, method, seed) in self.kept()

    def _make(self, world: str, method: str, seed: int) -> dict[str, Any]:
        study, began = self.study(world), time.monotonic()
        if method.startswith(_REJECTION):
            rows = list(score_rejection(study, seed).values())
            seconds = None
        elif method == REWEIGHTED:
            (row,) = score_rejection(study, seed, (math.inf,)).values()
            rows, seconds = [{key: value for key, value in row.items() if key != "price"}], None
        elif method in FUNCTIONS:
            prior = run(FUNCTIONS[method], study, seed)
            seconds = time.monotonic() - began
            rows = score(study, prior, (1.0,) if isinstance(prior, methods.Truncated) else TEMPERATURES)
        else:
            (prior,) = study.generator(method, seed)
            seconds = study.history(method, seed)["seconds"][-1]
            rows = score(study, prior, CURVE if method == "MLE" else TEMPERATURES)
        return {"rows": rows, "seconds": seconds, "weights": study.world.weights, "made": made_on(study.world)}

    def _write(self, key: str, row: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.study(next(iter(WORLDS))).world.project.run / "bench.lock"):
            kept = self.kept() | {key: row}
            store.write_bytes(self.file, f"{json.dumps(dict(sorted(kept.items())), indent=1)}\n".encode())


def measure(preset: Preset, options: dict[str, Any], world: str, method: str, seed: int) -> list[Numbers]:
    """The rows of a method of METHODS, kept as `Bench` keeps them, or of `file.py:function`, which are not kept.

    It takes a Bench's settings, not a Bench, so that another process can be asked.
    """
    bench = Bench(preset, **options)
    if method in METHODS:
        return bench.rows(world, method, seed)
    study = bench.study(world)
    return score(study, run(load(method), study, seed))


def run(method: Method, study: Study, seed: int) -> Prior:
    """What a method makes of the MLE generator of a seed; the same for the same seed."""
    with seeded(seed):
        prior = method(Start(study, seed))
    for name in ("K", "log_prob", "sample"):
        if not hasattr(prior, name):
            raise RalkitError(f"the method returned a {type(prior).__name__}, which has no {name}; return a prior")
    return prior


# ---- Comparisons with MLE over temperatures ----

CRITERIA = {
    "equal NLL_test": "nats of KL(G||oracle) beyond MLE's curve, where both cover the truth equally well",
    "equal entropy": "nats of KL(G||oracle) beyond MLE's curve, where both are equally narrow",
    "both KL, best T": "KL(G||oracle) + KL(oracle||G) minus MLE's, each at its best temperature",
    "JS by code, best T": "JS by code minus MLE's, each at its best temperature",
}


def compare(rows: dict[int, list[Numbers]], curve: dict[int, list[Numbers]]) -> dict[str, np.ndarray]:
    """A method beside MLE over temperatures by each of CRITERIA, one number a seed; below 0 the method is better.

    The rows are those of a method and of MLE, by seed. A best temperature is chosen on the other seeds. nan where a
    number is infinite or where the curve has no such point.
    """
    plain = {s: at_temperature(own, 1) for s, own in rows.items()}
    at = lambda x: np.array(  # noqa: E731
        [beyond([*map(with_narrowness, curve[s])], with_narrowness(r), x, "KL(G||oracle)")
         if "KL(oracle||G)" in r or x != "NLL_test" else np.nan for s, r in plain.items()]
    )  # fmt: skip
    both = lambda r: r.get("KL(oracle||G)", np.nan) + r["KL(G||oracle)"]  # noqa: E731
    by_code = lambda r: r.get("JS by code", np.nan)  # noqa: E731
    of_each = lambda by_seed, of: [[of(row) for row in own] for own in by_seed.values()]  # noqa: E731
    return {"equal NLL_test": at("NLL_test"), "equal entropy": at("-entropy")} | {
        name: at_best(of_each(rows, of)) - at_best(of_each({s: curve[s] for s in rows}, of))
        for name, of in (("both KL, best T", both), ("JS by code, best T", by_code))
    }


def verdict(beside: dict[str, np.ndarray]) -> str:
    """ "better" or "worse" than MLE over temperatures where all criteria that apply agree beyond chance.

    Else "not decided" where none is decided, and counts such as "2 of 4 better, 1 worse" where some are (a prediction
    calls all of these "they differ"); "one seed" where there is no more.
    """
    values = [d for d in beside.values() if not np.isnan(d).any()]
    if any(len(d) < 2 for d in values):
        return "one seed"
    sides = [direction(d) for d in values]
    decided = [(sides.count(side), word) for side, word in ((-1, BETTER), (1, WORSE)) if side in sides]
    if not decided:
        return OPEN
    (n, word), *other = decided
    if n == len(sides):
        return word
    return ", ".join([f"{n} of {len(sides)} {word}", *(f"{n} {word}" for n, word in other)])


def found(bench: Bench, world: str) -> dict[str, dict[int, list[Numbers]]]:
    """The rows of a world that are kept, by method and seed; methods without any are left out."""
    seeds = bench.study(world).seeds
    rows = {m: {s: bench.rows(world, m, s) for s in seeds if bench.has(world, m, s)} for m in METHODS}
    return {method: by_seed for method, by_seed in rows.items() if by_seed}


def comparison(rows: dict[str, dict[int, list[Numbers]]]) -> list[dict[str, Any]]:
    """A line for each method, from the rows of a world by method and seed, MLE's among them."""
    curve, lines = rows.get("MLE", {}), []
    for method, by_seed in rows.items():
        plain = {s: at_temperature(own, 1) for s, own in by_seed.items()}
        line = {"method": method, "seeds": len(by_seed)}
        paired = [100 * (r["NLL_oracle"] / at_temperature(curve[s], 1)["NLL_oracle"] - 1)
                  for s, r in plain.items() if s in curve]  # fmt: skip
        line["NLL_oracle, %"] = spread(paired, "+.1f") if paired else ""
        for key in ("KL(G||oracle)", "KL(oracle||G)", "entropy", "JS by code"):
            values = [row.get(key) for row in plain.values()]
            unknown = "infinite" if key.startswith("KL") else ""  # what is infinite is left out of a row
            line[key] = unknown if None in values else spread(values)
        if method != "MLE" and by_seed.keys() <= curve.keys():
            beside = compare(by_seed, curve)
            line |= {name: "" if np.isnan(d).any() else spread(d, "+.1f") for name, d in beside.items()}
            line["beside colder MLE"] = verdict(beside)
        lines.append(line)
    columns = dict.fromkeys(key for line in lines for key in line)
    return [dict.fromkeys(columns, "") | line for line in lines]


def at_temperature(rows: list[Numbers], T: float) -> Numbers:
    """The row of a temperature."""
    return next(row for row in rows if row["temperature"] == T)


def changes(rows: dict[str, dict[int, list[Numbers]]]) -> list[dict[str, Any]]:
    """What each method and seed changes of its own MLE generator's numbers at temperature 1, a line each."""
    lines = []
    for method, by_seed in rows.items():
        for seed, own in by_seed.items() if method != "MLE" else ():
            a, b = at_temperature(own, 1), at_temperature(rows["MLE"][seed], 1)
            line = {"method": method, "seed": seed, "NLL_oracle, %": 100 * (a["NLL_oracle"] / b["NLL_oracle"] - 1)}
            for key in b:
                if key.startswith(("NLL_test", "KL(G||oracle)", "FD")) and not key.endswith("_se"):
                    line[key] = a[key] - b[key] if key in a else ""
            lines.append(line)
    return lines


def summary(worlds: dict[str, dict[str, dict[int, list[Numbers]]]]) -> list[dict[str, str]]:
    """A line for each method: its verdict in each world, and what was predicted where that differs.

    A reason is "as above" where the line above has the same.
    """
    tables = {world: {line["method"]: line for line in comparison(rows)} for world, rows in worlds.items()}
    lines, above = [], ""
    for method, predicted in PREDICTED.items():
        line = {"method": method}
        for world, word in zip(WORLDS, predicted.words, strict=True):
            if world not in tables:
                continue
            here = tables[world].get(method, {}).get("beside colder MLE", "")
            as_predicted = word == (DIFFER if " of " in here else here)  # counts, where some comparisons are decided
            line[world] = here if as_predicted or here in ("", "one seed") else f"{here} (predicted: {word})"
        if any(line[world] for world in tables):
            lines.append(line | {"we expected this, because": "as above" if predicted.why == above else predicted.why})
            above = predicted.why
    return lines


def decided_together(rows: dict[str, dict[int, list[Numbers]]]) -> dict[str, list[str]]:
    """The methods of a world that differ from MLE over temperatures when all its comparisons are judged together.

    By Holm's correction over all methods and CRITERIA. For each method the criteria, and which side it is on.
    """
    tests = {
        (method, name): d
        for method, by_seed in rows.items()
        if method != "MLE" and by_seed.keys() <= rows["MLE"].keys()
        for name, d in compare(by_seed, rows["MLE"]).items()
        if len(d) > 1 and not np.isnan(d).any()
    }
    found: dict[str, list[str]] = {}
    p_values = holm([p_value(d.mean(), float(np.std(d, ddof=1)), len(d)) for d in tests.values()])
    for ((method, name), d), p in zip(tests.items(), p_values, strict=True):
        if p < 1 - LEVEL:
            found.setdefault(method, []).append(f"{name} ({'better' if d.mean() < 0 else 'worse'})")
    return found
