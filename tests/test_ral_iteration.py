"""One RAL iteration: what moves, what the critic sees, partial generation, the levels, parts of a batch."""

import copy

import pytest
import torch
from conftest import enlarged
from small import MAPS, one_hot_images, small_ral, tiny_prior, two_levels

from ralkit import ral
from ralkit.critic import PatchCritic
from ralkit.prior import PixelCNN
from ralkit.ral import choose_rows, make_critic, policy_gradient_loss, ral_iteration, roll_out
from ralkit.training import critic_adam, train_ral


@pytest.fixture
def tiny():
    return tiny_prior()


@pytest.fixture
def levels():
    return two_levels()


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
    before = (tiny.sample(2000, (2, 2)) == 0).float().mean()
    for _ in range(60):
        ral_iteration((tiny,), one_hot_images, critic, *optimisers, (MAPS,), cfg)
    assert (tiny.sample(2000, (2, 2)) == 0).float().mean() > before + 0.3


def test_an_iteration_moves_both_networks_and_no_more(tiny):
    cfg = small_ral()
    critic = make_critic(cfg)
    assert isinstance(critic, PatchCritic)
    optimisers = torch.optim.Adam(tiny.parameters()), torch.optim.Adam(critic.parameters())
    before = [p.clone() for p in (*tiny.parameters(), *critic.parameters())]
    logs = ral_iteration((tiny,), one_hot_images, critic, *optimisers, (MAPS,), cfg)
    after = [*tiny.parameters(), *critic.parameters()]
    assert sum((a != b).any().item() for a, b in zip(after, before, strict=True)) > len(before) - 3
    assert set(logs) == {"critic_loss", "prior_loss", "reward"}
    assert all(torch.isfinite(v) for v in logs.values())


def test_the_logged_loss_is_that_of_all_levels(levels, monkeypatch):
    priors, real, decode = levels
    cfg, losses = small_ral(rollouts=16), []
    monkeypatch.setattr(ral, "policy_gradient_loss", lambda *a: losses.append(policy_gradient_loss(*a)) or losses[-1])
    critic = make_critic(cfg)
    optimisers = [torch.optim.Adam(m.parameters()) for m in (torch.nn.ModuleList(priors), critic)]
    logs = ral_iteration(priors, decode, critic, *optimisers, real, cfg)
    assert len(losses) == 2
    torch.testing.assert_close(logs["prior_loss"], sum(losses).detach())


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
