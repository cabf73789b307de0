"""Reinforced adversarial learning (section 4): score map -> rewards -> returns -> policy gradient.

One iteration is `ral_iteration`; everything above it is one equation each.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from . import distributed
from .critic import LOSSES, NORMS, PatchCritic, image_score
from .errors import RalkitError
from .protocols import Codes, Critic, Decoder, Prior, own_and_above
from .sampling import sample_levels

CHOICES = {
    "reward": ("single", "intermediate", "none"),
    "critic_loss": tuple(LOSSES),
    "critic_norm": tuple(NORMS),
    "normalise": ("max", "min-max", "none"),
    "baseline": ("none", "leave-one-out"),
    "upsample": ("bilinear", "nearest"),
    "levels": ("joint", "top", "bottom"),
}
LEAST = {"rollouts": 1, "critic_batch": 1, "critic_channels": 1, "critic_stages": 1}  # of other numbers it is 0


def _check_choice(name: str, value: str) -> None:
    if value not in CHOICES[name]:
        *others, last = CHOICES[name]
        raise RalkitError(f"unknown {name} {value!r}; it must be {', '.join(others)} or {last}")


@dataclass(frozen=True)
class RalConfig:
    """The settings of one RAL run; the defaults are the paper's (section 4.4) where it gives them.

    Raises RalkitError for an unknown name and for a number out of its range.
    """

    reward: str = "intermediate"  # "single" (Eq. 6), "intermediate" (section 4.2), or "none": what `kl` gives alone
    gamma: float = 0.99  # discount of Eq. 3
    rollouts: int = 16  # maps sampled for one update of the prior
    critic_batch: int = 16  # real and fake images for one update of the critic
    critic_updates: int = 5  # updates of the critic for each one of the prior
    warmup: int = 100  # updates of the critic before the first of the prior
    updates: int = 1000  # updates of the prior (the paper does not say)
    lr_prior: float = 4e-6
    anneal: bool = False  # lr_prior falls to 0 over the second half of the updates
    lr_critic: float = 1e-4
    critic_loss: str = "wgan-gp"  # or "logistic-r1"
    penalty: float = 10.0  # weight of the gradient penalty
    critic_norm: str = "none"  # or "layer", "channel"
    critic_channels: int = 64
    critic_stages: int = 5
    normalise: str = "max"  # scores over the largest |score| of this step; or "min-max", "none"
    baseline: str = "none"  # or "leave-one-out"
    upsample: str = "bilinear"  # score map to code map; or "nearest"
    kl: float = 0.0  # nats taken from the reward for each nat of KL(G || reference); not in the paper: notebook 08
    reference: str = "MLE"  # the MLE generator that RAL starts from, or the "oracle"
    partial: bool = False  # partial generation (section 4.3)
    levels: str = "joint"  # with two levels: both priors learn, or only the "top" or the "bottom" one

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value, least = field.name, getattr(self, field.name), LEAST.get(field.name, 0)
            if name in CHOICES:
                _check_choice(name, value)
            elif field.type is int and type(value) is not int:
                raise RalkitError(f"{name} is {value!r}; it must be a whole number")
            elif field.type in (int, float) and not (isinstance(value, int | float) and least <= value < float("inf")):
                raise RalkitError(f"{name} is {value!r}; it must be {least} or more")
        if self.gamma > 1:
            raise RalkitError(f"gamma is {self.gamma!r}; it must be from 0 to 1")
        # Of processes that train together each may have one roll-out: the baseline is over those of all.
        if self.baseline == "leave-one-out" and self.rollouts * distributed.world_size() < 2:
            raise RalkitError("the leave-one-out baseline needs at least 2 roll-outs")


def normalise(fake: Tensor, real: Tensor, how: str) -> Tensor:
    """Fake scores brought to (-1, 1) by the range of this step's fake and real scores (section 4.4)."""
    _check_choice("normalise", how)
    both = torch.cat([fake.flatten(), real.flatten()])
    if how == "max":
        return fake / both.abs().max().clamp_min(1e-8)
    if how == "min-max":
        low, high = both.min(), both.max()
        return 2 * (fake - low) / (high - low).clamp_min(1e-8) - 1
    return fake


def rewards(score_map: Tensor, shape: tuple[int, int], reward: str, upsample: str = "bilinear") -> Tensor:
    """Rewards r_1 .. r_T (B, T) of the T = H W codes of a map of `shape`, from the score map (B, h, w).

    "single": r_T = D(x), the others 0 (Eq. 6). "intermediate": r_{t+1} is the up-sampled score at c_t. "none": all 0.
    """
    _check_choice("reward", reward)
    _check_choice("upsample", upsample)
    if reward in ("single", "none"):
        r = score_map.new_zeros(len(score_map), shape[0] * shape[1])
        if reward == "single":
            r[:, -1] = image_score(score_map)
        return r
    corners = None if upsample == "nearest" else False
    # The map's last patches may reach below an image whose height is no multiple of theirs: their rows are cut.
    (h, w), (H, W) = score_map.shape[1:], shape
    S = F.interpolate(score_map[:, None], (-(-h * W // w), W), mode=upsample, align_corners=corners)
    return S[:, 0, :H].flatten(1)


def returns(r: Tensor, gamma: float) -> Tensor:
    """Q(s_t, a_t) = sum_{k=t+1}^{T} gamma^(k-t-1) r_k (Eq. 3): rewards r_1 .. r_T (B, T) -> Q_0 .. Q_{T-1} (B, T)."""
    Q, q = torch.empty_like(r), torch.zeros_like(r[:, 0])
    for t in reversed(range(r.shape[1])):
        q = r[:, t] + gamma * q
        Q[:, t] = q
    return Q


def advantages(Q: Tensor, baseline: str) -> Tensor:
    """Q (B, T) less its baseline at each t: nothing, or the mean of the batch's other roll-outs (unbiased)."""
    _check_choice("baseline", baseline)
    if baseline == "none":
        return Q
    if len(Q) < 2:
        raise RalkitError("the leave-one-out baseline needs at least 2 roll-outs in a batch")
    return (Q - Q.mean(0)) * len(Q) / (len(Q) - 1)


def policy_gradient_loss(log_prob: Tensor, A: Tensor) -> Tensor:
    """-mean over roll-outs of sum_t A_t log G(a_t | s_t), whose gradient is minus Eq. 2; both (B, T)."""
    return -(log_prob * A.detach()).sum(1).mean()


def kl_reward(prior: Prior, reference: Prior, codes: Tensor, condition: Tensor | None = None) -> Tensor:
    """Rewards (B, T) of codes (B, H, W): log G_reference - log G of each; their mean sum is -KL(G||reference)."""
    with torch.no_grad():
        return (reference.log_prob(codes, condition) - prior.log_prob(codes, condition)).flatten(1)


def score_advantages(
    fake_map: Tensor, real_map: Tensor, shape: tuple[int, int], cfg: RalConfig, extra_rewards: Tensor | float = 0.0
) -> Tensor:
    """Score maps (B, h, w) of roll-outs and of real images -> advantages A (B, T) of a code map of `shape` (H, W).

    `extra_rewards` (B, T) are added to the critic's rewards.
    """
    r = rewards(normalise(fake_map, real_map, cfg.normalise), shape, cfg.reward, cfg.upsample) + extra_rewards
    return advantages(returns(r, cfg.gamma), cfg.baseline)


def make_critic(cfg: RalConfig) -> PatchCritic:
    """Make a fresh critic as the configuration asks for it."""
    return PatchCritic(cfg.critic_stages, cfg.critic_channels, cfg.critic_norm)


def learning_levels(levels: int, cfg: RalConfig) -> range:
    """The levels whose priors RAL updates: all ("joint"), the first ("top") or the last ("bottom")."""
    return {"joint": range(levels), "top": range(1), "bottom": range(levels - 1, levels)}[cfg.levels]


# One pass over all weights a step: for networks as small as most of ours a third of the default's time.
Adam = functools.partial(torch.optim.Adam, fused=True)


def descend(loss: Tensor | Iterable[Tensor], optimiser: torch.optim.Optimizer) -> Tensor:
    """Take one step of the optimiser down the loss, averaged over the ranks; returns this rank's loss.

    If `loss` yields terms, each is back-propagated before the next is computed.
    """
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for part in (loss,) if isinstance(loss, Tensor) else loss:
        part.backward()
        total = total + part.detach()
    distributed.average_gradients(optimiser)
    optimiser.step()
    return total


def critic_update(
    critic: Critic, optimiser: torch.optim.Optimizer, real: Tensor, fake: Tensor, cfg: RalConfig
) -> Tensor:
    """Take one step of the critic on real and fake images (B, 3, S, S); returns its loss."""
    loss = LOSSES[cfg.critic_loss](critic, real, fake, cfg.penalty)
    descend(loss, optimiser)
    return loss.detach()


def choose_rows(H: int, partial: bool) -> tuple[int, int]:
    """Choose rows (first, last) of the top level's H: those before `first` are real, those from `last` on left out.

    Whole maps are (0, H). Partial generation (section 4.3) continues real codes, (r, H), or makes a part from
    scratch, (0, r), with equal chances; r is uniform over 1 .. H - 1. Raises RalkitError if it has no row to cut at.
    """
    if not partial:
        return 0, H
    if H < 2:
        raise RalkitError("partial generation cuts a map between two rows; the top level's map has only one")
    scratch, r = torch.rand(()) < 0.5, int(torch.randint(1, H, ()))
    return distributed.broadcast((0, r) if scratch else (r, H))


def draw_real(real_codes: Codes, n: int, last: int) -> Codes:
    """Draw n code maps (n, h, W) of each level, int64, with replacement, and cut them at the top level's row `last`."""
    rows = torch.randint(len(real_codes[0]), (n,), device=real_codes[0].device)
    return tuple(c[rows, : last * c.shape[1] // real_codes[0].shape[1]].long() for c in real_codes)


def roll_out(priors: Sequence[Prior], real_codes: Codes, n: int, first: int, last: int) -> Codes:
    """Sample n maps of every level, from the top level's row `first` to its row `last`; the rows before are real."""
    given = draw_real(real_codes, n, last)
    shapes = [tuple(c.shape[1:]) for c in given]
    given_rows = [first * H // last for H, _ in shapes]
    return sample_levels(priors, n, shapes, given=given, given_rows=given_rows)


def warm_up(
    priors: Sequence[Prior], decode: Decoder, critic: Critic, optimiser: torch.optim.Optimizer, real_codes: Codes,
    cfg: RalConfig, together: int = 25,
) -> None:  # fmt: skip
    """Let the critic catch up with the pretrained priors by `warmup` updates (section 4.4).

    One call samples for `together` updates.
    """
    H, size = real_codes[0].shape[1], cfg.critic_batch
    for done in range(0, cfg.warmup, together):
        first, last = choose_rows(H, cfg.partial)
        n = min(together, cfg.warmup - done) * size
        fake = decode(*roll_out(priors, real_codes, n, first, last))
        real = decode(*draw_real(real_codes, n, last))
        for f, r in zip(fake.split(size), real.split(size), strict=True):
            critic_update(critic, optimiser, r, f, cfg)


def ral_iteration(
    priors: Sequence[Prior], decode: Decoder, critic: Critic, prior_optimiser: torch.optim.Optimizer,
    critic_optimiser: torch.optim.Optimizer, real_codes: Codes, cfg: RalConfig,
    at_once: int | None = None, reference: Sequence[Prior] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Update the critic `critic_updates` times, then the priors once (section 4.4); returns what to log.

    Each level has one prior and one tensor of codes, the top one first. `real_codes` (N, H, W), ... are the codes of
    real images, and the real images are their decodings, as in the paper. `prior_optimiser` holds the parameters of
    the levels that learn. The priors must be in eval mode: with dropout, one network would be sampled from and another
    differentiated. They are differentiated on `at_once` roll-outs together (default: all). With `cfg.kl`, each level is
    held near the prior of its level in `reference`, by its own divergence alone.
    """
    n = cfg.critic_updates * cfg.critic_batch
    first, last = choose_rows(real_codes[0].shape[1], cfg.partial)
    # The priors stand still until the end of the iteration: one call samples for all updates of it.
    codes = roll_out(priors, real_codes, n + cfg.rollouts, first, last)
    logs = {}
    # Not under autocast: it keeps the copy of a weight that it made first, through all updates of an iteration.
    with torch.autocast(codes[0].device.type, enabled=False):
        fake, real = decode(*codes), decode(*draw_real(real_codes, n + cfg.critic_batch, last))
        for k in range(cfg.critic_updates):
            batch = slice(k * cfg.critic_batch, (k + 1) * cfg.critic_batch)
            logs["critic_loss"] = critic_update(critic, critic_optimiser, real[batch], fake[batch], cfg)

        with torch.no_grad():  # processes that train together normalise by the scores of all
            fake_map, real_map = (distributed.all_gather(critic(x[n:])) for x in (fake, real))

    def losses() -> Iterator[Tensor]:
        for level in learning_levels(len(priors), cfg):
            H, W = codes[level].shape[1:]
            size = at_once or cfg.rollouts
            parts = list(zip(*(c[n:].split(size) for c in own_and_above(codes, level)), strict=True))
            extra_rewards = 0.0
            if cfg.kl:
                held = torch.cat([kl_reward(priors[level], reference[level], *part) for part in parts])
                extra_rewards = distributed.all_gather(cfg.kl * held)
            A = distributed.local_rows(score_advantages(fake_map, real_map, (H, W), cfg, extra_rewards))
            sampled = slice(first * H // last * W, None)  # the log-probabilities of given codes are not ours to change
            for a, part in zip(A.split(size), parts, strict=True):
                log_prob = priors[level].log_prob(*part).flatten(1)
                yield policy_gradient_loss(log_prob[:, sampled], a[:, sampled]) * (len(a) / len(A))

    prior_loss = descend(losses(), prior_optimiser)
    return logs | {"prior_loss": prior_loss, "reward": image_score(fake_map).mean()}
