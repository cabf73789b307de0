"""Reinforced adversarial learning (section 4): score map -> rewards -> returns -> policy gradient.

One iteration is `ral_iteration`; everything above it is one equation each.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .critic import LOSSES, PatchCritic, image_score
from .errors import RalkitError
from .presets import RalConfig
from .sampling import sample


def normalise(fake: Tensor, real: Tensor, how: str) -> Tensor:
    """Fake scores brought to (-1, 1) by the range of this step's fake and real scores (section 4.4)."""
    both = torch.cat([fake.flatten(), real.flatten()])
    if how == "max":
        return fake / both.abs().max().clamp_min(1e-8)
    if how == "min-max":
        low, high = both.min(), both.max()
        return 2 * (fake - low) / (high - low).clamp_min(1e-8) - 1
    if how == "none":
        return fake
    raise RalkitError(f"unknown reward normalisation {how!r}; it must be max, min-max or none")


def rewards(score_map: Tensor, shape: tuple[int, int], reward: str, upsample: str = "bilinear") -> Tensor:
    """Rewards r_1 .. r_T (B, T) of the T = H W codes of a map of `shape`, from the score map (B, h, w).

    "single": r_T = D(x), the others 0 (Eq. 6). "intermediate": r_{t+1} is the up-sampled score at c_t.
    """
    if reward == "single":
        r = score_map.new_zeros(len(score_map), shape[0] * shape[1])
        r[:, -1] = image_score(score_map)
        return r
    if reward == "intermediate":
        corners = None if upsample == "nearest" else False
        return F.interpolate(score_map[:, None], shape, mode=upsample, align_corners=corners).flatten(1)
    raise RalkitError(f"unknown reward {reward!r}; it must be single or intermediate")


def returns(r: Tensor, gamma: float) -> Tensor:
    """Q(s_t, a_t) = sum_{k=t+1}^{T} gamma^(k-t-1) r_k (Eq. 3): rewards r_1 .. r_T (B, T) -> Q_0 .. Q_{T-1} (B, T)."""
    Q, q = torch.empty_like(r), torch.zeros_like(r[:, 0])
    for t in reversed(range(r.shape[1])):
        q = r[:, t] + gamma * q
        Q[:, t] = q
    return Q


def advantages(Q: Tensor, baseline: str) -> Tensor:
    """Q (B, T) less its baseline at each t: nothing, or the mean of the batch's other roll-outs (unbiased)."""
    if baseline == "none":
        return Q
    if baseline == "leave-one-out":
        if len(Q) < 2:
            raise RalkitError("the leave-one-out baseline needs at least 2 roll-outs in a batch")
        return (Q - Q.mean(0)) * len(Q) / (len(Q) - 1)
    raise RalkitError(f"unknown baseline {baseline!r}; it must be none or leave-one-out")


def policy_gradient_loss(log_prob: Tensor, A: Tensor) -> Tensor:
    """-mean over roll-outs of sum_t A_t log G(a_t | s_t), whose gradient is minus Eq. 2; both (B, T)."""
    return -(log_prob * A.detach()).sum(1).mean()


def assess(fake_map: Tensor, real_map: Tensor, shape: tuple[int, int], cfg: RalConfig) -> Tensor:
    """Score maps of roll-outs and of real images -> what each sampled code is weighted with, (B, T)."""
    r = rewards(normalise(fake_map, real_map, cfg.normalise), shape, cfg.reward, cfg.upsample)
    return advantages(returns(r, cfg.gamma), cfg.baseline)


def make_critic(cfg: RalConfig) -> PatchCritic:
    """A fresh critic as the configuration asks for it."""
    return PatchCritic(cfg.critic_stages, cfg.critic_channels, cfg.critic_norm)


def critic_update(critic: nn.Module, optimiser, real: Tensor, fake: Tensor, cfg: RalConfig) -> Tensor:
    """One step of the critic on real and fake images (B, 3, S, S); returns its loss."""
    loss = LOSSES[cfg.critic_loss](critic, real, fake, cfg.penalty)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def warm_up(prior, decode, critic, optimiser, real_codes: Tensor, cfg: RalConfig) -> None:
    """Let the critic catch up with the pretrained prior, by `warmup` updates (section 4.4)."""
    fakes = sample(prior, cfg.warmup * cfg.critic_batch, real_codes.shape[1:])
    for fake in fakes.split(cfg.critic_batch) if cfg.warmup else ():
        real = real_codes[torch.randint(len(real_codes), (cfg.critic_batch,), device=real_codes.device)]
        critic_update(critic, optimiser, decode(real), decode(fake), cfg)


def ral_iteration(prior, decode, critic, prior_optimiser, critic_optimiser, real_codes, cfg) -> dict[str, Tensor]:
    """Update the critic `critic_updates` times, then the prior once (section 4.4); returns what to log.

    `decode` turns codes (B, H, W) into images; `real_codes` (N, H, W) are codes of real images, and the real
    images are their decodings, as in the paper. The prior must be in eval mode: dropout would sample from one
    network and differentiate another.
    """
    shape, n = real_codes.shape[1:], cfg.critic_updates * cfg.critic_batch
    # The prior stands still until the end of the iteration: one call samples for all updates of it.
    codes = sample(prior, n + cfg.rollouts, shape)
    real = decode(real_codes[torch.randint(len(real_codes), (n + cfg.critic_batch,), device=real_codes.device)])
    fake = decode(codes)
    for k in range(cfg.critic_updates):
        batch = slice(k * cfg.critic_batch, (k + 1) * cfg.critic_batch)
        critic_loss = critic_update(critic, critic_optimiser, real[batch], fake[batch], cfg)

    with torch.no_grad():
        fake_map, real_map = critic(fake[n:]), critic(real[n:])
    A = assess(fake_map, real_map, shape, cfg)
    log_prob = prior.log_prob(codes[n:]).flatten(1)
    loss = policy_gradient_loss(log_prob, A)
    prior_optimiser.zero_grad(set_to_none=True)
    loss.backward()
    prior_optimiser.step()
    return {"critic_loss": critic_loss, "reward": image_score(fake_map).mean()}


def part_gradients(prior: nn.Module, codes: Tensor, A: Tensor, parts: int = 8) -> Tensor:
    """The policy gradient of each of `parts` shares of the roll-outs, codes (B, H, W) and A (B, T): (parts, P)."""
    parameters = [p for p in prior.parameters() if p.requires_grad]
    rows = []
    for c, a in zip(codes.chunk(parts), A.chunk(parts), strict=True):
        loss = policy_gradient_loss(prior.log_prob(c).flatten(1), a)
        rows.append(torch.cat([-d.flatten() for d in torch.autograd.grad(loss, parameters)]))
    return torch.stack(rows)


def gradient_snr(g: Tensor) -> float:
    """Signal to noise of a gradient from its parts g (parts, P): length of the mean over its standard error.

    About 1 means noise only: the mean of pure noise is as long as its own standard error.
    """
    error = (g - g.mean(0)).square().sum() / (len(g) - 1) / len(g)
    return (g.mean(0).norm() / error.sqrt()).item()


def gradient_cosine(g: Tensor, h: Tensor) -> float:
    """Cosine of two expected gradients, from parts g, h (parts, P) over the same roll-outs; nan where all is noise.

    No part is multiplied with itself, so the noise does not count as length or as likeness.
    """
    apart = lambda a, b: (a.sum(0) @ b.sum(0) - (a * b).sum()).item()  # noqa: E731
    squares = apart(g, g) * apart(h, h)
    return apart(g, h) / squares**0.5 if min(apart(g, g), apart(h, h)) > 0 else float("nan")
