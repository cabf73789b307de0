"""RAL against its equations: unbiased REINFORCE by enumeration, Eq. 3 by a double loop, the baseline's invariance."""

from dataclasses import replace

import pytest
import torch
from conftest import enlarged
from small import MAPS, flat_gradient, tiny_prior

from ralkit import distributed
from ralkit.critic import image_score
from ralkit.errors import RalkitError
from ralkit.prior import PixelCNN
from ralkit.ral import (
    RalConfig,
    advantages,
    choose_rows,
    kl_reward,
    normalise,
    policy_gradient_loss,
    returns,
    rewards,
    score_advantages,
)


@pytest.fixture
def tiny():
    return tiny_prior()


def estimator_mean(prior, A, maps=MAPS):
    """Expectation of sum_t A_t grad log G(a_t | s_t) over all maps, exactly."""
    log_prob = prior.log_prob(maps).flatten(1)
    p = log_prob.sum(1).exp().detach()
    return flat_gradient((p * (A * log_prob).sum(1)).sum(), prior)


def causal_rewards():
    """Rewards r_1 .. r_4 of every map, of which r_k depends on the codes c_0 .. c_(k-1) only."""
    r = torch.empty(81, 4)
    for k in range(1, 5):
        prefix = MAPS.flatten(1)[:, :k] @ (3 ** torch.arange(k))
        r[:, k - 1] = torch.randn(3**k)[prefix]
    return r


@pytest.mark.parametrize("gamma", [0.7, 1.0])
def test_reinforce_is_unbiased(tiny, gamma):
    """The estimator's mean over all 81 maps is the gradient of the expected return: for rewards that do not depend
    on later codes, the discounted return of each state; for the single reward, gamma^(T-1-t) D(x)."""
    r = causal_rewards()
    # sum_k r_k: code t is credited with what follows, each later reward weighted by gamma for its distance. Its
    # gradient is that of sum over t of the expectation of Q_t, moved through the choice of a_t alone.
    for rewards_ in (r, rewards(torch.randn(81, 2, 2), (2, 2), "single")):
        Q, log_prob = returns(rewards_, gamma), tiny.log_prob(MAPS).flatten(1)
        states = torch.cat([torch.zeros(81, 1), log_prob[:, :-1].cumsum(1)], 1).exp().detach()  # p(s_t)
        after = (log_prob.sum(1, keepdim=True) - log_prob.cumsum(1)).exp().detach()  # p(what follows a_t)
        expected = flat_gradient((states * log_prob.exp() * after * Q).sum(), tiny)
        torch.testing.assert_close(estimator_mean(tiny, Q), expected, atol=1e-5, rtol=1e-4)
    if gamma == 1.0:
        for rewards_ in (r, rewards(torch.randn(81, 2, 2), (2, 2), "single")):
            expected = flat_gradient((tiny.log_prob(MAPS).sum((1, 2)).exp() * rewards_.sum(1)).sum(), tiny)
            torch.testing.assert_close(estimator_mean(tiny, returns(rewards_, 1.0)), expected, atol=1e-5, rtol=1e-4)


def test_intermediate_reward_leaves_out_what_a_code_does_to_earlier_patches(tiny):
    """A patch's score depends on later codes too, which Eq. 3 does not credit them with: with every reward counted
    for every code the estimator is unbiased for E[sum of rewards], with rewards to come only it is not."""
    r = rewards(torch.randn(81, 2, 2), (2, 2), "intermediate")
    expected = flat_gradient((tiny.log_prob(MAPS).sum((1, 2)).exp() * r.sum(1)).sum(), tiny)
    whole = estimator_mean(tiny, r.sum(1, keepdim=True).expand(-1, 4))
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=1e-4)
    to_come = estimator_mean(tiny, returns(r, 1.0))
    assert (to_come - expected).norm() > 0.05 * expected.norm()


@pytest.mark.parametrize("gamma", [0.7, 1.0])
@pytest.mark.parametrize("reward", ["single", "intermediate"])
def test_leave_one_out_is_unbiased(tiny, reward, gamma):
    """Over all 81^2 pairs of roll-outs, the estimator with the other's return as baseline has the same mean."""
    Q = returns(rewards(torch.randn(81, 2, 2), (2, 2), reward), gamma)
    a, b = torch.cartesian_prod(torch.arange(81), torch.arange(81)).T
    A = torch.stack([advantages(pair, "leave-one-out") for pair in torch.stack([Q[a], Q[b]], 1)])
    log_prob = tiny.log_prob(MAPS).flatten(1)
    p = log_prob.sum(1).exp().detach()
    loss = -(torch.stack([log_prob[a], log_prob[b]], 1) * A).sum(2).mean(1)
    mean = flat_gradient(-(p[a] * p[b] * loss).sum(), tiny)
    torch.testing.assert_close(mean, estimator_mean(tiny, Q), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99, 1.0])
def test_returns_by_a_double_loop(gamma):
    r = torch.randn(3, 12)
    Q, T = torch.zeros_like(r), 12
    for t in range(T):
        for k in range(t + 1, T + 1):
            Q[:, t] += gamma ** (k - t - 1) * r[:, k - 1]
    torch.testing.assert_close(returns(r, gamma), Q)


def test_no_reward_leaves_what_is_added():
    more = torch.randn(5, 6)
    A = score_advantages(torch.randn(5, 2, 2), torch.randn(5, 2, 2), (2, 3), RalConfig(reward="none", gamma=1.0), more)
    torch.testing.assert_close(A, more.flip(1).cumsum(1).flip(1))


def test_single_reward_is_the_mean_score_at_the_end():
    S = torch.randn(4, 2, 2)
    r = rewards(S, (3, 5), "single")
    assert (r[:, :-1] == 0).all()
    torch.testing.assert_close(r[:, -1], image_score(S))


def test_intermediate_rewards_are_the_upsampled_scores():
    S = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    nearest = rewards(S, (4, 4), "intermediate", "nearest").view(4, 4)
    assert nearest.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    bilinear = rewards(S, (4, 4), "intermediate", "bilinear").view(4, 4)
    torch.testing.assert_close(bilinear[0], torch.tensor([1, 1.25, 1.75, 2]))
    torch.testing.assert_close(bilinear[:, 0], torch.tensor([1, 1.5, 2.5, 3]))
    torch.testing.assert_close(rewards(S, (2, 2), "intermediate").view(2, 2), S[0])


def test_rewards_of_an_image_that_is_no_multiple_of_the_patches():
    """Three code rows under a map of two score rows, each over two code rows: the fourth is cut."""
    S = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    r = rewards(S, (3, 4), "intermediate", "nearest").view(3, 4)
    assert r.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]


def test_normalisation():
    fake, real = torch.tensor([[[-1.0, 2.0]]]), torch.tensor([[[3.0, -4.0]]])
    assert normalise(fake, real, "max").flatten().tolist() == [-0.25, 0.5]
    torch.testing.assert_close(normalise(fake, real, "min-max").flatten(), torch.tensor([3 / 7 * 2 - 1, 6 / 7 * 2 - 1]))
    assert normalise(fake, real, "none") is fake


@pytest.mark.parametrize("reward", ["single", "intermediate"])
def test_a_constant_added_to_the_critic(tiny, reward):
    """A WGAN critic is defined up to a constant: with leave-one-out the gradient does not feel it, without it does."""
    codes, S, real = MAPS[::7], torch.randn(12, 2, 2), torch.randn(12, 2, 2)
    gradients = {}
    for baseline in ("none", "leave-one-out"):
        cfg = RalConfig(reward=reward, baseline=baseline, normalise="none")
        for shift in (0.0, 5.0):
            A = score_advantages(S + shift, real + shift, (2, 2), cfg)
            loss = policy_gradient_loss(tiny.log_prob(codes).flatten(1), A)
            gradients[baseline, shift] = flat_gradient(loss, tiny)
    torch.testing.assert_close(gradients["leave-one-out", 0.0], gradients["leave-one-out", 5.0], atol=1e-4, rtol=1e-3)
    assert (gradients["none", 0.0] - gradients["none", 5.0]).norm() > 0.1 * gradients["none", 0.0].norm()


def test_leave_one_out_by_hand():
    Q = torch.randn(5, 3)
    A = torch.stack([Q[i] - torch.cat([Q[:i], Q[i + 1 :]]).mean(0) for i in range(5)])
    torch.testing.assert_close(advantages(Q, "leave-one-out"), A)


def test_the_anchor_descends_the_divergence(tiny):
    """Over all 81 maps: its rewards add up to -KL(G||reference), and the estimator's mean is the gradient of that."""
    reference = enlarged(PixelCNN(3, 4, 1, 3), 2.0)
    log_prob, log_ref = (prior.log_prob(MAPS).flatten(1).sum(1) for prior in (tiny, reference))
    KL = (log_prob.exp() * (log_prob - log_ref.detach())).sum()
    r = kl_reward(tiny, reference, MAPS)
    torch.testing.assert_close((log_prob.exp() * r.sum(1)).sum(), -KL)
    torch.testing.assert_close(estimator_mean(tiny, returns(r, 1.0)), -flat_gradient(KL, tiny), atol=1e-6, rtol=1e-4)


def test_each_level_has_returns_over_its_own_length():
    """A terminal reward is discounted over 16 codes for the first top code, over 64 for the first bottom one."""
    for H, T in ((4, 16), (8, 64)):
        A = score_advantages(torch.ones(2, 2, 2), torch.ones(2, 2, 2), (H, H), RalConfig(reward="single", gamma=0.9))
        assert A.shape == (2, T) and A[0, 0].item() == pytest.approx(0.9 ** (T - 1), rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rewards(torch.zeros(2, 2, 2), (4, 4), "dense"), "single, intermediate or none"),
        (lambda: rewards(torch.zeros(2, 2, 2), (4, 4), "intermediate", "cubic"), "bilinear or nearest"),
        (lambda: normalise(torch.zeros(1), torch.zeros(1), "std"), "max, min-max or none"),
        (lambda: advantages(torch.zeros(2, 2), "mean"), "none or leave-one-out"),
        (lambda: advantages(torch.zeros(1, 2), "leave-one-out"), "at least 2"),
        (lambda: choose_rows(1, True), "the top level's map has only one"),
    ],
)
def test_unknown_options(call, message):
    with pytest.raises(RalkitError, match=message):
        call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": "dense"}, "unknown reward 'dense'; it must be single, intermediate or none"),
        ({"critic_loss": "hinge"}, "unknown critic_loss 'hinge'; it must be wgan-gp or logistic-r1"),
        ({"critic_norm": "batch"}, "unknown critic_norm 'batch'; it must be none, layer or channel"),
        ({"normalise": "std"}, "unknown normalise 'std'; it must be max, min-max or none"),
        ({"baseline": "mean"}, "unknown baseline 'mean'; it must be none or leave-one-out"),
        ({"upsample": "cubic"}, "unknown upsample 'cubic'; it must be bilinear or nearest"),
        ({"levels": "middle"}, "unknown levels 'middle'; it must be joint, top or bottom"),
        ({"rollouts": 0}, "rollouts is 0; it must be 1 or more"),
        ({"rollouts": 16.0}, "rollouts is 16.0; it must be a whole number"),
        ({"critic_batch": 0}, "critic_batch is 0; it must be 1 or more"),
        ({"critic_stages": True}, "critic_stages is True; it must be a whole number"),
        ({"updates": -1}, "updates is -1; it must be 0 or more"),
        ({"kl": float("nan")}, "kl is nan; it must be 0 or more"),
        ({"lr_prior": float("inf")}, "lr_prior is inf; it must be 0 or more"),
        ({"lr_critic": "1e-4"}, "lr_critic is '1e-4'; it must be 0 or more"),
        ({"gamma": 1.01}, "gamma is 1.01; it must be from 0 to 1"),
        ({"baseline": "leave-one-out", "rollouts": 1}, "the leave-one-out baseline needs at least 2 roll-outs"),
    ],
)
def test_a_slip_in_the_configuration_is_found_when_it_is_made(changes, message):
    for make in (RalConfig, lambda **c: replace(RalConfig(), **c)):
        with pytest.raises(RalkitError, match=f"^{message}$"):
            make(**changes)


def test_the_ends_of_the_ranges_are_legal(monkeypatch):
    assert RalConfig(critic_updates=0, warmup=0, updates=0, gamma=1, kl=0, penalty=0, rollouts=1).gamma == 1
    monkeypatch.setattr(distributed, "world_size", lambda: 2)  # each of two ranks has one of two roll-outs
    assert replace(RalConfig(baseline="leave-one-out", rollouts=2), rollouts=1).rollouts == 1
