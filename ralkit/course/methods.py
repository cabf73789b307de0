"""Other ways to change an MLE generator than RAL's, one function each: what came after RAL, controls, free knobs.

A method takes a `Start` and returns a prior. In the equations r(c) = log G(c) - log G_MLE(c) is the log-ratio of a map,
and D(c) the score of a critic that knows the MLE generator well, so that D is about log p / G_MLE. Settings were chosen
on seed 0 of the world "small network", from two or three tries each. No result is reported on that seed.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cache import Cache
from ..critic import PatchCritic, image_score
from ..metrics import map_log_prob
from ..prior import PriorConfig, TwoStreamPrior
from ..protocols import Codes, Prior
from ..ral import (
    Adam,
    RalConfig,
    advantages,
    critic_update,
    descend,
    draw_real,
    make_critic,
    policy_gradient_loss,
    ral_iteration,
    returns,
)
from ..sampling import AutoregressiveMixin, begin, choose, undisturbed
from ..training import BETAS, anneal, critic_adam, warm_critic
from .study import Study, rejection_threshold
from .trainer import in_batches


@dataclass
class Start:
    """What a method is given: the MLE generator of a seed, and what it may learn from.

    Its random numbers are seeded before it runs. A method may change the generator, which is a copy of its own.
    """

    study: Study
    seed: int

    @cached_property
    def generator(self) -> TwoStreamPrior:
        """The MLE generator G, in eval mode."""
        return self.study.generator("MLE", self.seed)[0]

    @property
    def codes(self) -> Codes:
        """The training codes, one tensor (N, H, W)."""
        return self.study.world.data["train"]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of a map."""
        return self.study.world.shapes[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Images (N, 3, S, S) of codes (N, H, W)."""
        return self.study.world.decode(codes)

    @property
    def ral(self) -> RalConfig:
        """The settings of the preset's own RAL."""
        return self.study.world.config.ral

    @property
    def rollouts(self) -> int:
        """How many maps RAL samples in all, for its rewards and for its critic."""
        cfg = self.ral
        return cfg.updates * (cfg.rollouts + cfg.critic_updates * cfg.critic_batch) + cfg.warmup * cfg.critic_batch

    @property
    def recipe(self) -> PriorConfig:
        """How the MLE generator was trained."""
        return self.study.recipe("MLE")

    @cached_property
    def critic(self) -> PatchCritic:
        """A critic that was trained for long against the MLE generator, by the logistic loss."""
        return self.study.known_critic(self.seed)

    @torch.no_grad()
    def scores(self, codes: Tensor) -> Tensor:
        """D of codes (N, H, W), by this critic: (N,)."""
        return in_batches(lambda c: image_score(self.critic(self.decode(c))), codes)

    def warm_critic(self, cfg: RalConfig, G: Prior | None = None) -> tuple[PatchCritic, torch.optim.Optimizer]:
        """A fresh critic after RAL's warm-up against G (default: the MLE generator), and its optimiser."""
        critic = self.study.trainer.place(make_critic(cfg))
        optimiser = critic_adam(critic, cfg)
        priors = (G or self.generator,)
        warm_critic(critic, optimiser, priors, self.decode, self.codes, cfg, seed=self.seed)
        return critic, optimiser


Method = Callable[[Start], Prior]


def _train(G: nn.Module, loss: Callable[[], Tensor], steps: int, lr: float) -> nn.Module:
    """G after `steps` of Adam down `loss()`, its rate falling to 0 over the second half, as RAL's does."""
    optimiser = Adam(G.parameters(), lr, BETAS)
    for t in range(steps):
        anneal(optimiser, lr, t, steps)
        descend(loss(), optimiser)
    return G


def _ral(
    start: Start, G: Prior, critic: nn.Module, optimiser: torch.optim.Optimizer, cfg: RalConfig,
    reference: Prior | None = None,
) -> Prior:  # fmt: skip
    """G after `cfg.updates` iterations of RAL with a critic that is there already."""
    prior_optimiser = Adam(G.parameters(), cfg.lr_prior, BETAS)
    for t in range(cfg.updates):
        anneal(prior_optimiser, cfg.lr_prior, t, cfg.updates)
        ral_iteration((G,), start.decode, critic, prior_optimiser, optimiser, start.codes, cfg, reference=(reference,))
    return G


# ---- Controls: is it the content of the reward that helps? ----


def mle_for_longer(start: Start) -> Prior:
    """Maximum likelihood, max_G E_p log G, on as many further real maps as RAL samples.

    Batch and dropout are those of the generator's training, the learning rate is half of its.
    """
    G, (real,), cfg = start.generator.train(), start.codes, start.recipe
    draw = lambda: real[torch.randint(len(real), (cfg.batch,), device=real.device)].long()  # noqa: E731
    nll = lambda: -G.log_prob(draw()).sum((1, 2)).mean()  # noqa: E731
    return _train(G, nll, start.rollouts // cfg.batch, cfg.lr / 2).eval()


class _Shuffled(nn.Module):
    """A critic whose scores go to the wrong images where RAL asks it for rewards, which it does without gradients."""

    def __init__(self, critic: nn.Module):
        super().__init__()
        self.critic = critic

    def forward(self, x: Tensor) -> Tensor:
        scores = self.critic(x)
        return scores if torch.is_grad_enabled() else scores[torch.randperm(len(scores))]


def shuffled(start: Start) -> Prior:
    """RAL with intermediate rewards, where each roll-out gets the scores of another one.

    A is then independent of c, so the expected policy gradient, E[A grad log G] = E[A] E[grad log G], is 0.
    """
    cfg = replace(start.ral, reward="intermediate")
    critic, optimiser = start.warm_critic(cfg)
    return _ral(start, start.generator, _Shuffled(critic), optimiser, cfg)


def confidence(start: Start) -> Prior:
    """Policy gradient whose reward is log G(c_t | c_<t) itself: it asks no critic, and descends the entropy of G.

    The gradient of -H(G) = E_G log G is E_G[(sum_t log G) grad log G], because E_G grad log G = 0. The learning rate is
    a tenth of RAL's: with all of it G would end with next to no entropy.
    """
    G, cfg = start.generator, start.ral

    def loss() -> Tensor:
        codes = G.sample(cfg.rollouts, start.shape)
        log_prob = G.log_prob(codes).flatten(1)
        return policy_gradient_loss(log_prob, advantages(returns(log_prob.detach(), 1.0), "leave-one-out"))

    return _train(G, loss, cfg.updates, cfg.lr_prior / 10)


# ---- What the critic knows, learnt by other means than policy gradient ----


def _samples(start: Start) -> tuple[Tensor, Tensor]:
    """Maps of the MLE generator, two for three that RAL samples, and their scores D."""
    codes = start.generator.sample(2 * start.rollouts // 3, start.shape)
    return codes, start.scores(codes)


def _fit(start: Start, codes: Tensor, weight: Tensor, batch: int = 256, lr: float = 1e-3) -> Prior:
    """The MLE generator after maximum likelihood on codes (N, H, W), drawn in proportion to their weight (N,)."""
    G = start.generator
    draw = lambda: codes[torch.multinomial(weight, batch, replacement=True)]  # noqa: E731
    return _train(G, lambda: -G.log_prob(draw()).sum((1, 2)).mean(), 4 * start.ral.updates, lr)


def distilled(start: Start, price: float = 8) -> Prior:
    """Rejection distilled: maximum likelihood on MLE samples of which the critic accepts one in `price`.

    max_G E_{c ~ G_MLE}[a(c) log G(c)], a = sigma(D - tau), tau such that E a = 1 / price (best-of-N, ARAML).
    """
    codes, D = _samples(start)
    return _fit(start, codes, torch.sigmoid(D - rejection_threshold(D, price)))


def weighted(start: Start) -> Prior:
    """Weighted maximum likelihood: max_G E_{c ~ G_MLE}[w(c) log G(c)], w = exp(D) (MaliGAN, f-DPG).

    Where D is log p / G_MLE this is E_p log G: the same maximum as that of MLE on as many real maps.
    """
    codes, D = _samples(start)
    return _fit(start, codes, (D - D.max()).exp())


def ddo(start: Start, alpha: float = 0.25, beta: float = 1.0, rounds: int = 2) -> Prior:
    """Direct discriminative optimisation (arXiv 2503.01103): G is its own critic, with the logit beta r.

    max_G E_p log sigma(beta r) + alpha E_{G_ref} log sigma(-beta r), r = log G - log G_ref. In rounds G_ref is reset.
    """
    G, real, n = start.generator, start.codes[0].long(), 128
    for _ in range(rounds):
        reference = copy.deepcopy(G)
        fake = reference.sample(start.rollouts // 5, start.shape)
        known = [(c, map_log_prob(reference, c)) for c in (real, fake)]

        def loss(known: list[tuple[Tensor, Tensor]] = known) -> Tensor:
            rows = [torch.randint(len(c), (n,), device=c.device) for c, _ in known]
            log_G = G.log_prob(torch.cat([c[i] for (c, _), i in zip(known, rows, strict=True)])).sum((1, 2))
            r = log_G - torch.cat([ref[i] for (_, ref), i in zip(known, rows, strict=True)])
            return F.softplus(-beta * r[:n]).mean() + alpha * F.softplus(beta * r[n:]).mean()

        _train(G, loss, 4 * start.ral.updates, lr=1e-3)
    return G


# ---- Policy gradients that differ from RAL's ----


def grpo(start: Start, epochs: int = 4, clip: float = 0.2, beta: float = 0.04) -> Prior:
    """Group relative policy optimisation: roll-outs are used `epochs` times, advantages are divided by their spread.

    max_G E sum_t min(rho_t A, clip(rho_t, 1 - clip, 1 + clip) A) - beta KL(G || G_MLE), with rho_t = G(c_t | c_<t) over
    its value when c was drawn, and A = (D(x) - mean D) / std D. The critic moves as RAL's does.
    """
    G, cfg = start.generator, start.ral
    reference = copy.deepcopy(G)
    critic, critic_optimiser = start.warm_critic(cfg)
    optimiser, H, size = Adam(G.parameters(), cfg.lr_prior, BETAS), start.shape[0], cfg.critic_batch
    rounds = cfg.updates // 2  # each costs about twice an update of RAL
    for t in range(rounds):
        anneal(optimiser, cfg.lr_prior, t, rounds)
        codes = G.sample(cfg.rollouts + cfg.critic_updates * size, start.shape)
        images, codes = start.decode(codes), codes[: cfg.rollouts]
        for fake in images[cfg.rollouts :].split(size):
            critic_update(critic, critic_optimiser, start.decode(*draw_real(start.codes, size, H)), fake, cfg)
        with torch.no_grad():
            D, old = image_score(critic(images[: cfg.rollouts])), G.log_prob(codes)
            towards = reference.log_prob(codes)
        A = ((D - D.mean()) / D.std())[:, None, None]
        for _ in range(epochs):
            log_prob = G.log_prob(codes)
            rho, r = (log_prob - old).exp(), towards - log_prob
            kept = torch.minimum(rho * A, rho.clamp(1 - clip, 1 + clip) * A)
            kl = r.exp() - r - 1  # an estimate that is never negative
            descend(-(kept - beta * kl).sum((1, 2)).mean(), optimiser)
    return G


def _anchored(start: Start, G: Prior, critic: PatchCritic, cfg: RalConfig) -> Prior:
    """RAL from G with a critic that stands still, anchored at G: it descends KL(G' || G e^D / Z)."""
    return _ral(start, G, critic, critic_adam(critic, cfg), cfg, reference=copy.deepcopy(G))


def anchored_again(start: Start, rounds: int = 2) -> Prior:
    """RAL anchored in rounds: a fresh critic against what the round before left, and the same reward with it.

    Round k descends KL(G || G_{k-1} e^D / Z), with D about log p / G_{k-1}.
    """
    cfg = start.study.recipe("RAL anchored")
    G, critic = start.generator, start.critic
    for k in range(rounds):
        if k:
            critic, _ = start.warm_critic(cfg, G)
        G = _anchored(start, G, critic, cfg)
    return G


def anchored_longer(start: Start, times: int = 4) -> Prior:
    """RAL anchored with `times` as many updates: does training reach what the critic's reward asks for?"""
    cfg = start.study.recipe("RAL anchored")
    return _anchored(start, start.generator, start.critic, replace(cfg, updates=times * cfg.updates))


# ---- Free knobs: no training ----


class Truncated(AutoregressiveMixin, nn.Module):
    """A prior whose next codes are the likely ones only: the `k` likeliest, or the fewest with a mass of `p`.

    The others have probability 0, so KL(oracle || G) is infinite. The cut is made before the temperature.
    """

    def __init__(self, prior: TwoStreamPrior, k: int = 0, p: float = 1.0):
        super().__init__()
        self.K, self.prior, self.k, self.p = prior.K, prior, k or prior.K, p

    def forward(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """The logits (B, H, W, K), with -inf for what is cut off."""
        return self._cut(self.prior(codes, condition))

    def _cut(self, logits: Tensor) -> Tensor:
        ordered, codes = logits.sort(-1, descending=True)
        mass = ordered.softmax(-1)
        cut = mass.cumsum(-1) - mass >= self.p  # the code that reaches p stays
        cut[..., self.k :] = True
        return logits.masked_fill(torch.zeros_like(cut).scatter(-1, codes, cut), -torch.inf)

    @torch.no_grad()
    def sample(
        self, n: int, shape: tuple[int, int], condition: Tensor | None = None, *, temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Draw n maps (n, H, W), with the prior's cache."""
        codes, u, condition, _ = begin(self.prior, n, shape, condition, temperature, None, 0, None, generator)
        codes = F.pad(codes, (1, 0, 1, 0), value=self.K)  # K stands for what is off the map
        with undisturbed(self.prior):
            cache = Cache(self.prior, n, shape, condition)
            for i in range(shape[0]):
                cache.next_row(i)
                cache.start_row(codes[:, i, 1:].T)
                for j in range(shape[1]):
                    logits = self._cut(cache.logits(j, codes[:, i + 1, j]))
                    codes[:, i + 1, j + 1] = choose(logits, u[:, i, j, None], temperature)[:, 0]
        return codes[:, 1:, 1:].contiguous()


def top_k(start: Start, k: int = 16) -> Prior:
    """The MLE generator, which draws each code from the k likeliest."""
    return Truncated(start.generator, k=k)


def nucleus(start: Start, p: float = 0.9) -> Prior:
    """The MLE generator, which draws each code from the fewest likeliest ones with a mass of p (top-p)."""
    return Truncated(start.generator, p=p)
