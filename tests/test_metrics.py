"""Metrics against independent computations."""

import itertools
import math
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from conftest import make_prior
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ralkit.errors import RalkitError
from ralkit.metrics import auc, fidelity, frechet_distance, map_log_prob, oracle_metrics


def test_frechet_distance_against_scipy():
    a, b = torch.randn(300, 6), torch.randn(200, 6) @ torch.randn(6, 6) + 0.5
    x, y = a.double().numpy(), b.double().numpy()
    cx, cy = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * scipy.linalg.sqrtm(cx @ cy).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_fewer_rows_than_numbers():
    """Singular covariances, whose tr (C_a C_b)^(1/2) is exactly a sum of singular values: |A B^T|_* of centred rows."""
    a, b = torch.rand(40, 96).exp(), torch.rand(50, 96) * torch.rand(96)
    x, y = ((v - v.mean(0)) / (len(v) - 1) ** 0.5 for v in (a.double(), b.double()))
    means, spread = (a.double().mean(0) - b.double().mean(0)).square().sum(), x.square().sum() + y.square().sum()
    expected = means + spread - 2 * torch.linalg.matrix_norm(x @ y.T, "nuc")
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("compare", [frechet_distance, lambda a, b: fidelity(a, b, k=1)])
def test_features_that_cannot_be_compared_are_refused(compare):
    fine = torch.randn(9, 3)
    for bad in (float("nan"), float("inf")):
        wrong = fine.clone()
        wrong[2, 1] = bad
        for pair in ((fine, wrong), (wrong, fine)):
            with pytest.raises(RalkitError, match="1 of 9 rows of features have a number that is not finite"):
                compare(*pair)
    with pytest.raises(RalkitError, match="give 2 or more"):
        compare(fine, fine[:1])
    with pytest.raises(RalkitError, match=r"these are \(9, 3\), \(9, 2\)"):
        compare(fine, fine[:, :2])


def test_without_torchmetrics_the_frechet_distance_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(RalkitError, match=r"needs a package that is not here .*: pip install torchmetrics"):
        frechet_distance(torch.randn(9, 3), torch.randn(9, 3))


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage row by row, as the papers write them."""

    def radius(i: int, rows: np.ndarray) -> float:
        return sorted(np.linalg.norm(rows[i] - rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    def in_ball(x: np.ndarray, i: int, rows: np.ndarray) -> bool:
        return np.linalg.norm(x - rows[i]) <= radius(i, rows)

    N, M = range(len(real)), range(len(fake))
    return {
        "precision": np.mean([any(in_ball(y, i, real) for i in N) for y in fake]),
        "recall": np.mean([any(in_ball(x, j, fake) for j in M) for x in real]),
        "density": sum(in_ball(y, i, real) for y in fake for i in N) / (k * len(fake)),
        "coverage": np.mean([any(in_ball(y, i, real) for y in fake) for i in N]),
    }


@pytest.mark.parametrize(("k", "chunk"), [(1, 512), (3, 7), (5, 1)])
def test_fidelity_by_definition(k, chunk):
    real, fake = torch.randn(40, 4), 0.8 * torch.randn(30, 4) + 1
    real, fake = real + 1000, fake + 1000  # a common offset is not to cost digits
    measured = fidelity(real, fake, k, chunk)
    assert measured == pytest.approx(by_definition(real.double().numpy(), fake.double().numpy(), k))
    assert all(0 < measured[name] < 1 for name in ("precision", "recall", "coverage"))


def test_fidelity_of_sets_that_are_alike_collapsed_or_apart():
    real, fresh = torch.randn(2, 400, 8)
    same = fidelity(real, real)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    alike = fidelity(real, fresh)
    assert alike["density"] == pytest.approx(1, abs=0.15)
    assert min(alike["precision"], alike["recall"], alike["coverage"]) > 0.8
    collapsed = fidelity(real, real[:1] + 0.01 * torch.randn(400, 8))
    assert collapsed["precision"] > 0.9
    assert max(collapsed["recall"], collapsed["coverage"]) < 0.1
    assert set(fidelity(real, fresh + 100).values()) == {0}


def test_fidelity_needs_more_rows_than_neighbours():
    with pytest.raises(RalkitError, match="9 real and 5 fake features have no 5 neighbours each: give 6 or more"):
        fidelity(torch.randn(9, 2), torch.randn(5, 2))
    for options in ({"k": 0}, {"chunk": -1}):
        with pytest.raises(RalkitError, match="both must be 1 or more"):
            fidelity(torch.randn(9, 2), torch.randn(9, 2), **options)
    assert fidelity(torch.randn(6, 2), torch.randn(6, 2)).keys() == {"precision", "recall", "density", "coverage"}


def test_auc():
    real, fake = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 2.0])
    by_hand = np.mean([(r > f) + 0.5 * (r == f) for r in (3, 1, 2) for f in (0, 2)])
    assert auc(real, fake) == pytest.approx(by_hand)
    assert auc(torch.ones(3), torch.ones(4)) == 0.5


@pytest.mark.parametrize("values", [2, 5, 10**6])
def test_auc_against_every_pair(values):
    real, fake = torch.randint(values, (57,)).float(), torch.randint(values, (83,)).float()
    pairs = [(r > f) + 0.5 * (r == f) for r, f in itertools.product(real.tolist(), fake.tolist())]
    assert auc(real, fake) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_auc_of_scores_that_are_not_finite(bad):
    scores = torch.tensor([1.0, bad, 2.0])
    assert math.isnan(auc(scores, torch.ones(2))) and math.isnan(auc(torch.ones(2), scores))


def test_auc_compares_no_pairs():
    """The largest tensor on the way grows with the scores, not with their pairs."""

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.numel = max([self.numel, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
            return out

    with Largest() as largest:
        auc(torch.randn(1000), torch.randn(800))
    assert 800 <= largest.numel <= 1800


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_oracle_metrics_are_the_exact_expectations(temperature):
    """On maps few enough to count, the estimates are within five standard errors of the exact sums."""
    G, oracle, n = make_prior(K=3, layers=1, k=3), make_prior(K=3, layers=2, k=3), 20_000
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    g, o = map_log_prob(G, maps, temperature).double(), map_log_prob(oracle, maps).double()
    assert g.exp().sum().item() == pytest.approx(1, abs=1e-5)
    drawn = G.sample(n, (2, 2), temperature=temperature), oracle.sample(n, (2, 2))
    row = oracle_metrics(G, oracle, *drawn, temperature)
    exact = {
        "NLL_oracle": -(g.exp() * o).sum(),
        "entropy": -(g.exp() * g).sum(),
        "KL(G||oracle)": (g.exp() * (g - o)).sum(),
        "NLL_test": -(o.exp() * g).sum(),
        "KL(oracle||G)": (o.exp() * (o - g)).sum(),
    }
    for key, value in exact.items():
        assert row[key] == pytest.approx(value.item(), abs=0.15), key
    assert row["NLL_oracle"] == pytest.approx(exact["NLL_oracle"].item(), abs=5 * row["NLL_oracle_se"])
    assert row["NLL_test"] == pytest.approx(exact["NLL_test"].item(), abs=5 * row["NLL_test_se"])
    assert row["KL(G||oracle)"] == pytest.approx(row["NLL_oracle"] - row["entropy"], abs=1e-4)
