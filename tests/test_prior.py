"""Causality of the prior, for every position, by gradient; and that its probabilities are probabilities."""

import itertools

import pytest
import torch
from conftest import make_prior

VARIANTS = [dict(layers=1, k=3), dict(layers=3, k=5), dict(layers=2, k=3, output_layers=0), dict(layers=4, k=7)]


def input_gradients(prior, codes):
    """(T, T): the size of d logits[t] / d embedding[s], summed over logits with random weights."""
    embedded = prior.embedding(codes).detach().requires_grad_()
    hook = prior.embedding.register_forward_hook(lambda *_: embedded)
    logits = prior(codes)[0].flatten(0, 1)
    hook.remove()
    rows = []
    for t in range(len(logits)):
        (g,) = torch.autograd.grad((logits[t] * torch.randn(prior.K)).sum(), embedded, retain_graph=True)
        rows.append(g[0].flatten(0, 1).abs().sum(-1))
    return torch.stack(rows)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (2, 6)])
def test_a_logit_sees_earlier_codes_and_no_others(variant, shape):
    g = input_gradients(make_prior(**variant, channels=16, scale=1), torch.randint(7, (1, *shape)))
    T = shape[0] * shape[1]
    assert (g[torch.ones(T, T).triu().bool()] == 0).all()
    assert (g[1:].sum(1) > 0).all()


def test_no_blind_spot():
    """With enough layers the last logit sees every earlier code, those at the upper right as well."""
    g = input_gradients(make_prior(layers=6, k=3, scale=1), torch.randint(7, (1, 5, 5)))
    assert (g[-1, :-1] > 0).all()


def test_probabilities_of_all_maps_sum_to_one():
    prior = make_prior(K=3, layers=2, k=3)
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    assert prior.log_prob(maps).sum((1, 2)).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_shapes():
    prior = make_prior()
    codes = torch.randint(7, (2, 3, 5))
    assert prior(codes).shape == (2, 3, 5, 7)
    assert prior.log_prob(codes).shape == (2, 3, 5)
