"""Metrics against independent computations."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch
from conftest import make_prior

from ralkit.metrics import auc, frechet_distance, map_log_prob, oracle_metrics
from ralkit.sampling import sample


def test_frechet_distance_against_scipy():
    a, b = torch.randn(300, 6), torch.randn(200, 6) @ torch.randn(6, 6) + 0.5
    x, y = a.double().numpy(), b.double().numpy()
    cx, cy = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * scipy.linalg.sqrtm(cx @ cy).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_auc():
    real, fake = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 2.0])
    by_hand = np.mean([(r > f) + 0.5 * (r == f) for r in (3, 1, 2) for f in (0, 2)])
    assert auc(real, fake) == pytest.approx(by_hand)
    assert auc(torch.ones(3), torch.ones(4)) == 0.5


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_oracle_metrics_are_the_exact_expectations(temperature):
    """On maps few enough to count, the estimates are within five standard errors of the exact sums."""
    G, oracle, n = make_prior(K=3, layers=1, k=3), make_prior(K=3, layers=2, k=3), 20_000
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    g, o = map_log_prob(G, maps, temperature).double(), map_log_prob(oracle, maps).double()
    assert g.exp().sum().item() == pytest.approx(1, abs=1e-5)
    drawn = sample(G, n, (2, 2), temperature=temperature), sample(oracle, n, (2, 2))
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
