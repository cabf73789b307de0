"""A stranger's prior, critic and decoder take part in sampling, completion, RAL and the metrics, as ours do."""

import inspect
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ralkit.metrics import oracle_metrics
from ralkit.protocols import Prior
from ralkit.ral import RalConfig, ral_iteration
from ralkit.sampling import AutoregressiveMixin, complete, sample_levels


class TransformerPrior(AutoregressiveMixin, nn.Module):
    """A causal transformer over the codes of a map; the level above, where there is one, has half its height and width.

    The mixin makes `log_prob` and `sample` of the logits.
    """

    def __init__(self, K, places, K_condition=None, channels=32, heads=2, layers=2):
        super().__init__()
        self.K = K
        self.embedding = nn.Embedding(K + 1, channels)  # code K stands before the first
        self.position = nn.Parameter(torch.randn(places, channels))
        self.condition_embedding = None if K_condition is None else nn.Embedding(K_condition, channels)
        layer = nn.TransformerEncoderLayer(channels, heads, 2 * channels, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(channels, K)

    def forward(self, codes, condition=None):
        """Logits (B, H, W, K) of codes (B, H, W), each given those before it and the condition (B, H/2, W/2)."""
        before = F.pad(codes.flatten(1), (1, -1), value=self.K)  # place t holds the code at t - 1
        x = self.embedding(before) + self.position[: before.shape[1]]
        if condition is not None:
            above = condition.repeat_interleave(2, 1).repeat_interleave(2, 2)
            x = x + self.condition_embedding(above.flatten(1))
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], x.device)
        return self.head(self.encoder(x, mask, is_causal=True)).unflatten(1, codes.shape[1:])


class RedCritic(nn.Module):
    """Scores the quarters of an image by how red they are, on a scale that it learns."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        red = F.adaptive_avg_pool2d(images[:, 0], 2)
        return self.scale * red + red.square()


def paint(*codes):
    """Decode without a network: code 0 of the finest level is red, the others are blue."""
    red = 2.0 * (codes[-1] == 0) - 1
    return torch.stack([red, torch.zeros_like(red), -red], 1).repeat_interleave(2, 2).repeat_interleave(2, 3)


def pair():
    return TransformerPrior(3, 4).eval(), TransformerPrior(3, 16, K_condition=3).eval()


def test_the_example_is_short():
    assert len(inspect.getsource(TransformerPrior).splitlines()) < 40
    assert isinstance(TransformerPrior(3, 4), Prior)


def test_a_logit_sees_earlier_codes_and_no_others():
    prior, codes, condition = TransformerPrior(5, 8, K_condition=4).eval(), torch.randint(5, (1, 2, 4)), [[[1, 3]]]
    embedded = {}

    def keep(table, _, output):
        embedded[table] = output.detach().requires_grad_()
        return embedded[table]

    for table in (prior.embedding, prior.condition_embedding):
        table.register_forward_hook(keep)
    logits = prior(codes, torch.tensor(condition))[0].flatten(0, 1)
    assert logits.shape == (8, 5)
    for t, row in enumerate(logits):
        own, above = torch.autograd.grad((row * torch.randn(5)).sum(), list(embedded.values()), retain_graph=True)
        seen = own[0].abs().sum(-1) > 0  # at place s stands the code before s
        assert seen.tolist() == [s <= t for s in range(8)]
        assert above[0, t].abs().sum() > 0


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_have_the_distribution_of_log_prob(temperature):
    prior, n = TransformerPrior(3, 4).eval(), 40_000
    maps = torch.tensor(list(itertools.product(range(3), repeat=4)))
    with torch.no_grad():
        p = prior.log_prob(maps.view(-1, 2, 2), temperature=temperature).sum((1, 2)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5) and p.max() > 2 * p.min()
    drawn = prior.sample(n, (2, 2), temperature=temperature).flatten(1) @ torch.tensor([27, 9, 3, 1])
    seen = torch.bincount(drawn, minlength=81) / n
    assert ((seen - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-4).all()


def test_all_levels_with_rows_given():
    given = torch.randint(3, (50, 2, 2)), torch.randint(3, (50, 4, 4))
    top, bottom = sample_levels(pair(), 50, [(2, 2), (4, 4)], given=given, given_rows=(1, 2))
    assert torch.equal(top[:, :1], given[0][:, :1]) and torch.equal(bottom[:, :2], given[1][:, :2])
    assert not torch.equal(top[:, 1:], given[0][:, 1:]) and not torch.equal(bottom[:, 2:], given[1][:, 2:])


@pytest.mark.parametrize("tries", [1, 4])
def test_completion_keeps_what_is_known(tries):
    real = torch.randint(3, (50, 2, 2)), torch.randint(3, (50, 4, 4))
    keep = torch.tensor([[True, False], [False, True]])
    for codes, known in zip(complete(pair(), real, keep, tries=tries), real, strict=True):
        mask = keep.repeat_interleave(codes.shape[1] // 2, 0).repeat_interleave(codes.shape[1] // 2, 1)
        assert torch.equal(codes[:, mask], known[:, mask]) and not torch.equal(codes[:, ~mask], known[:, ~mask])


def reds(priors, shapes):
    return (sample_levels(priors, 400, shapes)[-1] == 0).float().mean().item()


@pytest.mark.parametrize("partial", [False, True])
def test_ral_moves_it_where_the_critic_points(partial):
    """The critic finds red images more real, and code 0 is red: RAL makes code 0 more likely."""
    prior, critic = TransformerPrior(3, 4).eval(), RedCritic()
    cfg = RalConfig(rollouts=64, critic_batch=4, critic_updates=1, baseline="leave-one-out", partial=partial)
    optimisers = torch.optim.Adam(prior.parameters(), 0.003), torch.optim.Adam(critic.parameters(), 1e-4)
    before = reds([prior], [(2, 2)])
    for _ in range(25):
        logs = ral_iteration([prior], paint, critic, *optimisers, (torch.randint(3, (64, 2, 2)),), cfg)
    assert reds([prior], [(2, 2)]) > before + 0.2
    assert all(x.isfinite() for x in logs.values()) and critic.scale.item() != 1


def test_ral_trains_it_as_a_bottom_prior():
    """Only the bottom prior learns: the top one, another stranger's, has no weight moved."""
    priors, critic, shapes = pair(), RedCritic(), [(2, 2), (4, 4)]
    cfg = RalConfig(rollouts=32, critic_batch=4, critic_updates=1, baseline="leave-one-out", levels="bottom")
    optimisers = torch.optim.Adam(priors[1].parameters(), 0.003), torch.optim.Adam(critic.parameters(), 1e-4)
    real = torch.randint(3, (64, 2, 2)), torch.randint(3, (64, 4, 4))
    before, top = reds(priors, shapes), [p.clone() for p in priors[0].parameters()]
    for _ in range(25):
        ral_iteration(priors, paint, critic, *optimisers, real, cfg)
    assert reds(priors, shapes) > before + 0.2
    assert all(torch.equal(a, b) for a, b in zip(top, priors[0].parameters(), strict=True))


def test_its_divergence_from_an_oracle_is_exact():
    """oracle_metrics' estimates of both KL divergences against the sums over all 81 maps."""
    (G, _), (oracle, _) = pair(), pair()
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    with torch.no_grad():
        log_g, log_o = (prior.log_prob(maps).sum((1, 2)) for prior in (G, oracle))
    found = oracle_metrics(G, oracle, G.sample(20_000, (2, 2)), oracle.sample(20_000, (2, 2)))
    forward, backward = (log_g.exp() * (log_g - log_o)).sum(), (log_o.exp() * (log_o - log_g)).sum()
    assert found["KL(G||oracle)"] == pytest.approx(forward.item(), rel=0.05)
    assert found["KL(oracle||G)"] == pytest.approx(backward.item(), rel=0.05)
