"""Reinforced adversarial learning in one file: read it from top to bottom, then change something and run it again.

    python notebooks/ral_minimal.py

A prior draws code maps, a decoder turns them into images, and a critic says how real each patch of an image looks.
Codes that are followed by good scores become likelier. The world is that of notebook 03: the decoder, the oracle and
the prior that was trained by maximum likelihood (MLE) are loaded from data/pretrained/, and all that RAL adds is below.
Numbers of sections and equations are those of the paper. It takes about two minutes on a CPU.
"""

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ralkit.course.oracle import OracleWorld
from ralkit.course.study import Study

ROLLOUTS = 768  # maps drawn for one update of the prior
UPDATES = 100  # of the prior
WARM_UP = 250  # updates of the critic before the first of the prior
CRITIC_UPDATES, BATCH = 2, 64  # updates of the critic for each of the prior, and their real and fake images
LR_PRIOR, LR_CRITIC, BETAS = 3e-4, 5e-4, (0.5, 0.999)
GAMMA = 1.0  # how much a reward counts for the code before it
PENALTY = 10.0  # weight of the critic's gradient penalty


# ---- The critic (section 4.2) ----


def make_critic(stages: int = 4, width: int = 16) -> nn.Module:
    """A PatchGAN: images (B, 3, S, S) -> score maps (B, 1, S / 2^stages, S / 2^stages), higher is more real."""
    layers, channels = [], 3
    for stage in range(stages):
        norm = nn.GroupNorm(1, width) if stage else nn.Identity()
        layers += [nn.Conv2d(channels, width, 4, 2, 1), norm, nn.LeakyReLU(0.2)]
        channels, width = width, 2 * width
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))


def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Real patches against fake ones, by the logistic loss; R1 keeps the slope of D on real images small.

    (The paper has WGAN-GP. Notebook 04 compares both.)
    """
    x = real[::4].clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).mean((1, 2, 3)).sum(), x, create_graph=True)
    r1 = slope.square().flatten(1).sum(1).mean()
    return F.softplus(critic(fake)).mean() + F.softplus(-critic(real)).mean() + PENALTY / 2 * r1


# ---- From scores to advantages (sections 4.1 and 4.2) ----


def advantages(S: Tensor, S_real: Tensor, shape: tuple[int, int]) -> Tensor:
    """Score maps (B, 1, h, w) of roll-outs and of real images -> an advantage for each code, (B, T)."""
    S = S / torch.cat([S, S_real]).abs().max().clamp_min(1e-8)  # section 4.4: to (-1, 1)
    r = F.interpolate(S, shape, mode="bilinear").flatten(1)  # intermediate rewards: the score at each code's place
    # The single reward (Eq. 6) would be: r = torch.zeros_like(r); r[:, -1] = S.mean((1, 2, 3))
    Q, q = torch.empty_like(r), torch.zeros_like(r[:, 0])
    for t in reversed(range(r.shape[1])):  # Eq. 3: all that comes after the code
        q = r[:, t] + GAMMA * q
        Q[:, t] = q
    others = (Q.sum(0) - Q) / (len(Q) - 1)  # the baseline: what the other roll-outs get
    return Q - others


def descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> float:
    """One step of the optimiser down the loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# ---- RAL (section 4.4) ----


def ral(G: nn.Module, decode, real_codes: Tensor, warm_up: int, updates: int, rollouts: int, report) -> nn.Module:
    """Train the prior G and a fresh critic in turns; `report(t, G, reward)` is called on the way; return the critic."""
    shape = tuple(real_codes.shape[1:])
    critic = make_critic().to(real_codes.device)
    critic_optimiser = torch.optim.Adam(critic.parameters(), LR_CRITIC, BETAS)
    prior_optimiser = torch.optim.Adam(G.parameters(), LR_PRIOR, BETAS)

    def reals(n: int) -> Tensor:  # real images are decoded codes, too: the critic cannot use the decoder's flaws
        return decode(real_codes[torch.randint(len(real_codes), (n,), device=real_codes.device)].long())

    for _ in range(warm_up):
        descend(critic_loss(critic, reals(BATCH), decode(G.sample(BATCH, shape))), critic_optimiser)
    for t in range(updates):
        for group in prior_optimiser.param_groups:  # in the second half the learning rate falls to 0
            group["lr"] = LR_PRIOR * min(1.0, 2 * (1 - t / updates))
        # G stands still until its own update, so one call draws for all. It needs no graph.
        codes = G.sample(CRITIC_UPDATES * BATCH + rollouts, shape)
        fake = decode(codes)
        for batch in fake[:-rollouts].split(BATCH):
            descend(critic_loss(critic, reals(BATCH), batch), critic_optimiser)
        with torch.no_grad():
            S, S_real = critic(fake[-rollouts:]), critic(reals(BATCH))
        A = advantages(S, S_real, shape)
        log_prob = G.log_prob(codes[-rollouts:]).flatten(1)  # (B, T), in one forward pass
        descend(-(A * log_prob).sum(1).mean(), prior_optimiser)  # its gradient is minus the policy gradient, Eq. 2
        report(t + 1, G, S.mean().item())
    return critic


# ---- What it bought ----


@torch.no_grad()
def judge(G: nn.Module, oracle: nn.Module, test_codes: Tensor) -> str:
    """Quality and diversity of a prior, in nats per image; lower is better in all three."""
    codes = G.sample(len(test_codes), tuple(test_codes.shape[1:]))
    surprise, entropy = (-model.log_prob(codes).sum((1, 2)).mean().item() for model in (oracle, G))
    nll_test = -G.log_prob(test_codes).sum((1, 2)).mean().item()
    return f"NLL_oracle {surprise:.1f}, KL(G||oracle) {surprise - entropy:.1f}, NLL_test {nll_test:.1f}"


def main(preset: str = "deep", warm_up: int = WARM_UP, updates: int = UPDATES, rollouts: int = ROLLOUTS, **world):
    """Load the world of a preset, train its MLE prior by RAL, and say what changed."""
    torch.manual_seed(1)
    world = OracleWorld(preset, pretrained=True, **world)
    (G,), (test_codes,) = Study(world).generator("MLE", 1), world.test_codes(1_000)
    print(f"MLE: {judge(G, world.oracle, test_codes)}", flush=True)
    began = time.monotonic()

    def report(t: int, G: nn.Module, reward: float) -> None:
        if t % max(1, updates // 5) == 0:
            seconds = time.monotonic() - began
            print(
                f"update {t}, {seconds:.0f} s: mean score {reward:+.2f}; {judge(G, world.oracle, test_codes)}",
                flush=True,
            )

    ral(G, world.decode, world.data["train"][0], warm_up, updates, rollouts, report)


if __name__ == "__main__":
    main()
