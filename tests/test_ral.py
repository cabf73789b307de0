"""RAL against its equations: unbiased REINFORCE by enumeration, Eq. 3 by a double loop, the baseline's invariance."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from conftest import enlarged, make_prior, make_snail

from ralkit import ral
from ralkit.critic import PatchCritic, image_score
from ralkit.diagnostics import gradient_cosine, gradient_snr, part_gradients
from ralkit.errors import RalkitError
from ralkit.prior import PixelCNN
from ralkit.ral import (
    RalConfig,
    advantages,
    choose_rows,
    kl_reward,
    learning_levels,
    make_critic,
    normalise,
    policy_gradient_loss,
    ral_iteration,
    returns,
    rewards,
    roll_out,
    score_advantages,
)
from ralkit.sampling import sample
from ralkit.training import critic_adam, train_ral

MAPS = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)  # all 81 maps


@pytest.fixture
def tiny():
    return make_prior(K=3, channels=4, layers=1, k=3, output_layers=0)


def flat_gradient(loss, prior):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(prior.parameters()))])


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


def small_ral(**changes):
    cfg = RalConfig(
        rollouts=64, critic_batch=8, critic_updates=2, critic_channels=4, critic_stages=2, lr_prior=1e-2,
        baseline="leave-one-out", normalise="none",
    )  # fmt: skip
    return replace(cfg, **changes)


def one_hot_images(codes):
    """A stand-in for the decoder: code k of a map becomes a square of colour channel k."""
    return torch.eye(3)[codes].movedim(-1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_the_anchor_descends_the_divergence(tiny):
    """Over all 81 maps: its rewards add up to -KL(G||reference), and the estimator's mean is the gradient of that."""
    reference = enlarged(PixelCNN(3, 4, 1, 3), 2.0)
    log_prob, log_ref = (prior.log_prob(MAPS).flatten(1).sum(1) for prior in (tiny, reference))
    KL = (log_prob.exp() * (log_prob - log_ref.detach())).sum()
    r = kl_reward(tiny, reference, MAPS)
    torch.testing.assert_close((log_prob.exp() * r.sum(1)).sum(), -KL)
    torch.testing.assert_close(estimator_mean(tiny, returns(r, 1.0)), -flat_gradient(KL, tiny), atol=1e-6, rtol=1e-4)


def test_an_anchored_iteration_goes_to_the_reference_and_leaves_the_critic(tiny):
    reference = enlarged(PixelCNN(3, 4, 1, 3), 2.0)
    cfg = small_ral(kl=1.0, critic_updates=0, rollouts=256, normalise="none", gamma=1.0, reward="single")
    critic = make_critic(cfg)
    torch.nn.init.zeros_(critic.head.weight)
    torch.nn.init.zeros_(critic.head.bias)
    before = copy.deepcopy(critic.state_dict())

    @torch.no_grad()
    def divergence():
        log_prob, log_ref = (prior.log_prob(MAPS).flatten(1).sum(1) for prior in (tiny, reference))
        return (log_prob.exp() * (log_prob - log_ref)).sum().item()

    start = divergence()
    optimisers = torch.optim.Adam(tiny.parameters(), 0.02), torch.optim.Adam(critic.parameters(), 0.1)
    torch.manual_seed(0)
    for _ in range(100):
        ral_iteration((tiny.eval(),), one_hot_images, critic, *optimisers, (MAPS,), cfg, reference=(reference,))
    assert divergence() < 0.2 * start
    assert all(torch.equal(a, b) for a, b in zip(before.values(), critic.state_dict().values(), strict=True))


def test_iterations_raise_the_reward(tiny):
    """Against a critic that stands still and likes symbol 0, RAL makes symbol 0 frequent."""

    class LikesZero(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x[:, 0, ::4, ::4] + 0 * self.w * x[:, 0, ::4, ::4]

    cfg, critic = small_ral(critic_updates=1), LikesZero()
    optimisers = torch.optim.Adam(tiny.parameters(), 1e-2), torch.optim.Adam(critic.parameters())
    before = (sample(tiny, 2000, (2, 2)) == 0).float().mean()
    for _ in range(60):
        ral_iteration((tiny,), one_hot_images, critic, *optimisers, (MAPS,), cfg)
    assert (sample(tiny, 2000, (2, 2)) == 0).float().mean() > before + 0.3


def test_an_iteration_moves_both_networks_and_no_more(tiny):
    cfg = small_ral()
    critic = make_critic(cfg)
    assert isinstance(critic, PatchCritic)
    optimisers = torch.optim.Adam(tiny.parameters()), torch.optim.Adam(critic.parameters())
    before = [p.clone() for p in (*tiny.parameters(), *critic.parameters())]
    logs = ral_iteration((tiny,), one_hot_images, critic, *optimisers, (MAPS,), cfg)
    after = [*tiny.parameters(), *critic.parameters()]
    assert sum((a != b).any().item() for a, b in zip(after, before, strict=True)) > len(before) - 3
    assert all(torch.isfinite(v) for v in logs.values())


@pytest.fixture
def levels():
    """Two priors, and codes of both levels of 40 real images; a stand-in for their decoder."""
    priors = (make_snail(K=3, attention_layers=1, layers=1), make_snail(K=3, K_above=3, layers=1))
    codes = (torch.randint(3, (40, 4, 4)), torch.randint(3, (40, 8, 8)))

    def decode(top, bottom):
        assert 2 * top.shape[1] == bottom.shape[1]
        return one_hot_images(bottom) + one_hot_images(top.repeat_interleave(2, 1).repeat_interleave(2, 2))

    return priors, codes, decode


@pytest.mark.parametrize(("first", "last"), [(0, 4), (0, 1), (0, 3), (1, 4), (3, 4)])
def test_rows_that_are_given_are_real_and_the_levels_agree(levels, first, last):
    priors, real, _ = levels
    top, bottom = roll_out(priors, real, 30, first, last)
    assert top.shape == (30, last, 4) and bottom.shape == (30, 2 * last, 8)
    # Every roll-out begins with the rows of one real image, the same one at both levels.
    same = [
        (c[:, None, : n * first] == r[None, :, : n * first]).flatten(2).all(2)
        for c, r, n in zip((top, bottom), real, (1, 2), strict=True)
    ]
    assert (same[0] & same[1]).any(1).all()
    full = [
        (c[:, None] == r[None, :, : c.shape[1]]).flatten(2).all(2).any()
        for c, r in zip((top, bottom), real, strict=True)
    ]
    assert not full[1]  # what comes after is sampled


def test_partial_generation_draws_both_modes_and_every_row():
    drawn = [choose_rows(5, partial=True) for _ in range(4000)]
    counts = {rows: drawn.count(rows) for rows in set(drawn)}
    assert set(counts) == {(0, r) for r in range(1, 5)} | {(r, 5) for r in range(1, 5)}
    assert all(400 < n < 600 for n in counts.values())
    assert choose_rows(5, partial=False) == (0, 5)


class Watched(torch.nn.Module):
    """A critic that notes the sizes of what it sees; 8x8 pixels are a patch."""

    def __init__(self):
        super().__init__()
        self.inner, self.seen = PatchCritic(3, 4), []

    def forward(self, x):
        self.seen.append(tuple(x.shape[2:]))
        return self.inner(x)


@pytest.mark.parametrize("seed", range(6))
def test_the_critic_sees_equal_crops_and_given_codes_get_no_gradient(levels, monkeypatch, seed):
    """All images of an iteration have one size; the loss covers the log-probabilities of sampled codes only."""
    torch.manual_seed(seed)
    priors, real, decode = levels
    cfg, critic, rows = small_ral(partial=True, rollouts=16), Watched(), []
    monkeypatch.setattr(ral, "choose_rows", lambda *a: rows.append(choose_rows(*a)) or rows[-1])
    losses = []
    monkeypatch.setattr(ral, "policy_gradient_loss", lambda p, A: losses.append((p, A)) or policy_gradient_loss(p, A))
    optimisers = [torch.optim.Adam(m.parameters()) for m in (torch.nn.ModuleList(priors), critic)]
    ral_iteration(priors, decode, critic, *optimisers, real, cfg)
    ((first, last),) = rows
    assert set(critic.seen) == {(8 * last, 32)}
    assert [p.shape[1] for p, _ in losses] == [(last - first) * 4, 4 * (last - first) * 4]
    assert all(p.shape == A.shape for p, A in losses)


def test_a_batch_in_parts_gives_the_same_step(levels):
    priors, real, decode = levels
    cfg, start, ends = small_ral(rollouts=16), copy.deepcopy(priors), []
    for at_once in (None, 5):
        torch.manual_seed(3)
        critic = make_critic(cfg)
        learning = copy.deepcopy(torch.nn.ModuleList(start)).eval()
        optimisers = torch.optim.SGD(learning.parameters(), 0.1), torch.optim.SGD(critic.parameters(), 0.1)
        ral_iteration(list(learning), decode, critic, *optimisers, real, cfg, at_once)
        ends.append(learning.state_dict())
    assert any((v != ends[0][k]).any() for k, v in torch.nn.ModuleList(start).state_dict().items())
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("which", "moved"), [("joint", [True, True]), ("top", [True, False]), ("bottom", [False, True])]
)
def test_the_levels_that_learn(levels, which, moved):
    priors, real, decode = levels
    before = [[p.clone() for p in prior.parameters()] for prior in priors]
    cfg = small_ral(levels=which, warmup=2, updates=2, rollouts=16)
    critic = make_critic(cfg)
    train_ral(priors, critic, critic_adam(critic, cfg), decode, real, cfg, name="r", seed=1, points=1)
    changed = [
        any((a != b).any() for a, b in zip(prior.parameters(), old, strict=True))
        for prior, old in zip(priors, before, strict=True)
    ]
    assert changed == moved


def test_each_level_has_returns_over_its_own_length(levels):
    """A terminal reward is discounted over 16 codes for the first top code, over 64 for the first bottom one."""
    for H, T in ((4, 16), (8, 64)):
        A = score_advantages(torch.ones(2, 2, 2), torch.ones(2, 2, 2), (H, H), RalConfig(reward="single", gamma=0.9))
        assert A.shape == (2, T) and A[0, 0].item() == pytest.approx(0.9 ** (T - 1), rel=1e-4)


def test_rewards_of_an_image_that_is_no_multiple_of_the_patches():
    """Three code rows under a map of two score rows, each over two code rows: the fourth is cut."""
    S = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    r = rewards(S, (3, 4), "intermediate", "nearest").view(3, 4)
    assert r.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]


def test_snr_tells_signal_from_noise(tiny):
    codes = sample(tiny, 2000, (2, 2))
    signal = (codes == 0).float().flatten(1)
    noise = torch.randn(len(codes), 4)
    A = advantages(returns(signal, 1.0), "leave-one-out")
    assert gradient_snr(part_gradients(tiny, codes, A)) > 5
    assert 0.5 < gradient_snr(part_gradients(tiny, codes, noise)) < 1.7


def test_a_share_in_parts_has_the_same_gradient(levels):
    (_, bottom), (top_codes, codes), _ = levels
    A = torch.randn(40, 64)
    whole = part_gradients(bottom, codes, A, top_codes, parts=4)
    in_parts = part_gradients(bottom, codes, A, top_codes, parts=4, at_once=3)
    torch.testing.assert_close(in_parts, whole, atol=1e-5, rtol=1e-4)


def test_cosine_of_expected_gradients(tiny):
    """Noise added to a gradient makes its mean's direction uncertain, but its expectation's no less alike."""
    codes = sample(tiny, 4000, (2, 2))
    A = advantages(returns((codes == 0).float().flatten(1), 1.0), "leave-one-out")
    g = part_gradients(tiny, codes, A)
    assert len(part_gradients(tiny, codes[:3], A[:3])) == 3  # each roll-out a share
    with pytest.raises(RalkitError, match="at least 2 roll-outs"):
        part_gradients(tiny, codes[:1], A[:1])
    noisy = part_gradients(tiny, codes, A + torch.randn(len(codes), 1))
    assert gradient_cosine(g, -3 * g) == pytest.approx(-1, abs=1e-3)
    plain = torch.cosine_similarity(g.mean(0), noisy.mean(0), dim=0).item()
    assert gradient_cosine(g, noisy) > plain
    assert gradient_cosine(g, noisy) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rewards(torch.zeros(2, 2, 2), (4, 4), "dense"), "single, intermediate or none"),
        (lambda: normalise(torch.zeros(1), torch.zeros(1), "std"), "max, min-max or none"),
        (lambda: advantages(torch.zeros(2, 2), "mean"), "none or leave-one-out"),
        (lambda: advantages(torch.zeros(1, 2), "leave-one-out"), "at least 2"),
        (lambda: learning_levels(2, RalConfig(levels="middle")), "joint, top, bottom"),
    ],
)
def test_unknown_options(call, message):
    with pytest.raises(RalkitError, match=message):
        call()
