"""The methods of the test bed, each against the equation in its docstring, where all maps can be counted."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import make_prior
from small import MAPS, one_hot_images, small_ral, tiny_prior
from torch import nn

from ralkit.course import methods
from ralkit.course.oracle import OracleWorld
from ralkit.course.study import Study
from ralkit.metrics import map_log_prob
from ralkit.prior import PriorConfig
from ralkit.ral import Adam
from ralkit.sampling import sample_naive
from ralkit.training import seeded


class TinyStart:
    """A start whose data come from another prior p of 2x2 codes, and whose scores are log p / G_MLE exactly."""

    shape, seed, rollouts = (2, 2), 1, 6000

    def __init__(self, **changes):
        self.generator = tiny_prior()
        self.truth = make_prior(K=3, channels=8, layers=2, k=3, output_layers=0)
        self.first = copy.deepcopy(self.generator)
        self.codes = (self.truth.sample(4000, (2, 2)).to(torch.int16),)
        self.recipe = PriorConfig(batch=16, lr=0.02)
        self.ral = small_ral(**{"updates": 30, "warmup": 0, "rollouts": 256} | changes)

    def decode(self, codes):
        return one_hot_images(codes)

    def scores(self, codes):
        return map_log_prob(self.truth, codes) - map_log_prob(self.first, codes)

    def warm_critic(self, cfg, G=None):
        critic = _Reds()
        return critic, Adam(critic.parameters(), 1e-9)


class _Reds(nn.Module):
    """A critic that counts code 0, and hardly learns."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x[:, 0, ::4, ::4]


def probabilities(prior):
    return map_log_prob(prior, MAPS).double().exp()


def expected(prior, f):
    return (probabilities(prior) * f).sum().item()


def kl_from_truth(start, prior):
    p = probabilities(start.truth)
    return (p * (p.log() - map_log_prob(prior, MAPS).double())).sum().item()


def entropy(prior):
    return expected(prior, -map_log_prob(prior, MAPS).double())


def of_code_0():
    return (MAPS == 0).double().mean((1, 2))


def test_weighted_mle_and_ddo_go_to_the_truth():
    for method in (methods.weighted, methods.ddo):
        start = TinyStart(updates=80)
        assert kl_from_truth(start, method(start)) < 0.3 * kl_from_truth(start, start.first), method.__name__


def test_mle_for_longer_takes_as_many_real_maps_as_ral_samples_and_learns_from_them():
    start = TinyStart()
    seen, log_prob = [], start.generator.log_prob
    start.generator.log_prob = lambda codes, *a, **k: seen.append(len(codes)) or log_prob(codes, *a, **k)
    G = methods.mle_for_longer(start)
    del G.log_prob
    assert sum(seen) == pytest.approx(start.rollouts, abs=start.recipe.batch)
    assert not G.training and kl_from_truth(start, G) < 0.5 * kl_from_truth(start, start.first)


def test_ddo_with_a_small_beta_is_sharper():
    """Its optimum is G_ref (p / (alpha G_ref))^(1 / beta), not normalised: a hidden temperature."""
    start, sharp = TinyStart(updates=80), TinyStart(updates=80)
    assert entropy(methods.ddo(sharp, beta=0.3)) < entropy(methods.ddo(start)) - 0.05


def test_distilled_rejection_is_what_the_critic_accepts():
    start = TinyStart(updates=80)
    D = start.scores(MAPS)
    q = probabilities(start.first)
    low, high = -50.0, 50.0
    for _ in range(60):  # tau of the exact distribution
        tau = (low + high) / 2
        low, high = (tau, high) if (q * torch.sigmoid(D - tau)).sum() > 1 / 8 else (low, tau)
    accepted = q * torch.sigmoid(D - tau).double()
    accepted /= accepted.sum()
    before, after = ((accepted - probabilities(G)).abs().sum() / 2 for G in (start.first, methods.distilled(start)))
    assert after < 0.4 * before


def test_confidence_lowers_the_entropy_and_nothing_else_asks_it_to():
    start = TinyStart(lr_prior=0.1)
    assert entropy(methods.confidence(start)) < entropy(start.first) - 0.1


def test_grpo_earns_more_and_stays_nearer_with_a_larger_beta():
    near, far = TinyStart(), TinyStart()
    priors = [methods.grpo(near, beta=3.0), methods.grpo(far)]
    gains = [expected(G, of_code_0()) - expected(near.first, of_code_0()) for G in priors]
    assert 0 < gains[0] < 0.7 * gains[1]


def test_shuffled_rewards_are_those_of_other_images_and_the_critic_learns_as_ever():
    critic = _Reds()
    x = torch.rand(50, 3, 8, 8)
    shuffled = methods._Shuffled(critic)
    assert torch.equal(shuffled(x), critic(x))
    with torch.no_grad():
        there, own = shuffled(x), critic(x)
    assert not torch.equal(there, own)
    assert torch.equal(there.flatten().sort().values, own.flatten().sort().values)


def test_shuffled_rewards_teach_nothing_where_ral_does():
    gains = []
    for shuffle in (True, False):
        start = TinyStart(updates=60)
        critic, optimiser = start.warm_critic(start.ral)
        if shuffle:
            G = methods.shuffled(start)
        else:
            G = methods._ral(start, start.generator, critic, optimiser, replace(start.ral, reward="intermediate"))
        gains.append(expected(G, of_code_0()) - expected(start.first, of_code_0()))
    assert abs(gains[0]) < 0.3 * gains[1]


def test_ral_in_a_loop_is_the_library_s_training(tiny, tmp_path):
    """One round of `anchored_again`, and once the updates of `anchored_longer`, is RAL anchored, to the bit."""
    study = Study(OracleWorld(tiny, seed=1, root=tmp_path))
    (ours,) = study.generator("RAL anchored", 1)
    for once in (partial(methods.anchored_again, rounds=1), partial(methods.anchored_longer, times=1)):
        with seeded(1):
            theirs = once(methods.Start(study, 1))
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)
    with seeded(1):
        twice = methods.anchored_again(methods.Start(study, 1), rounds=2)
    assert not torch.equal(twice.embedding.weight, theirs.embedding.weight)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("options", [{"k": 2}, {"p": 0.7}])
def test_a_truncated_prior_is_a_distribution_and_draws_what_it_says(options, temperature):
    prior = methods.Truncated(tiny_prior(), **options)
    p = map_log_prob(prior, MAPS, temperature).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert 0 < (p == 0).sum() < len(MAPS)
    drawn = prior.sample(500, (2, 2), temperature=temperature)
    assert (map_log_prob(prior, drawn, temperature) > -torch.inf).all()
    with seeded(3):
        cached = prior.sample(500, (2, 2), temperature=temperature)
    with seeded(3):
        assert torch.equal(cached, sample_naive(prior, 500, (2, 2), temperature=temperature))


def test_truncation_at_its_ends():
    prior = tiny_prior()
    for options in ({"k": 3}, {"p": 1.0}, {}):
        whole = methods.Truncated(prior, **options)
        assert torch.allclose(map_log_prob(whole, MAPS), map_log_prob(prior, MAPS), atol=1e-5), options
    for options in ({"k": 1}, {"p": 1e-6}):
        greedy = map_log_prob(methods.Truncated(prior, **options), MAPS).exp()
        assert greedy.max().item() == pytest.approx(1) and greedy.sum().item() == pytest.approx(1), options


def test_a_start_counts_the_maps_that_ral_samples(tiny, tmp_path):
    cfg = tiny.ral
    start = methods.Start(Study(OracleWorld(tiny, root=tmp_path)), 1)
    assert start.rollouts == cfg.updates * (cfg.rollouts + cfg.critic_updates * cfg.critic_batch) + (
        cfg.warmup * cfg.critic_batch
    )
