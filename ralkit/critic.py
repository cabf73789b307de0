"""The critic: a PatchGAN that scores every patch of an image, and its losses (section 4.2)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RalkitError
from .protocols import Critic


class ChannelNorm(nn.LayerNorm):
    """Each place of a map (B, C, H, W) normalised over its own C channels, so that it stays local."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMS = {"none": lambda c: nn.Identity(), "layer": lambda c: nn.GroupNorm(1, c), "channel": ChannelNorm}


class PatchCritic(nn.Module):
    """`stages` strided 4x4 convolutions and a 3x3 head: S x S pixels -> a map of S / 2^stages square scores.

    `norm` is "none" (the paper names no normalisation), "layer" (over all of an image) or "channel" (place by place).
    With "none" and "channel" a score sees a square of 5 * 2^stages - 2 pixels; with "layer" every pixel has a small
    say. Batch normalisation would tie the images of a batch together, which the per-image gradient penalty does not
    allow.
    """

    def __init__(self, stages: int, channels: int, norm: str = "none", max_channels: int = 256):
        super().__init__()
        self.patch = 2**stages
        if norm not in NORMS:
            raise RalkitError(f"the critic's norm is {norm!r}; it must be one of {', '.join(NORMS)}")
        widths = [3] + [min(channels * 2**s, max_channels) for s in range(stages)]
        body = []
        for s, (a, b) in enumerate(pairwise(widths)):
            # The first layer sees pixels, whose contrast is information: it is never normalised.
            body += [nn.Conv2d(a, b, 4, 2, 1), NORMS[norm if s else "none"](b), nn.LeakyReLU(0.2)]
        self.body, self.head = nn.Sequential(*body), nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Score map (B, h, w) of images x (B, 3, H, W), h = H / 2^stages rounded up; higher is more real."""
        x = F.pad(x, (0, -x.shape[3] % self.patch, 0, -x.shape[2] % self.patch))
        return self.head(self.body(x))[:, 0]


def image_score(score_map: Tensor) -> Tensor:
    """D(x), the mean of each score map: (B, h, w) -> (B,)."""
    return score_map.mean((1, 2))


def squared_gradient(critic: Critic, x: Tensor) -> Tensor:
    """|dD(x)/dx|^2 of each image of x (B, 3, H, W), over all its pixels: (B,)."""
    x = x.detach().requires_grad_()
    (grad,) = torch.autograd.grad(image_score(critic(x)).sum(), x, create_graph=True)
    return grad.square().flatten(1).sum(1)


def wgan_gp(critic: Critic, real: Tensor, fake: Tensor, weight: float = 10.0) -> Tensor:
    """Eq. 5: -D(real) + D(fake) + weight * (|dD/dx~| - 1)^2, x~ uniform on the line from fake to real."""
    epsilon = torch.rand(len(real), 1, 1, 1, device=real.device)
    penalty = (squared_gradient(critic, fake.lerp(real, epsilon)).add(1e-12).sqrt() - 1).square().mean()
    return critic(fake).mean() - critic(real).mean() + weight * penalty


def logistic_r1(critic: Critic, real: Tensor, fake: Tensor, weight: float = 10.0) -> Tensor:
    """-log s(S(real)) - log s(-S(fake)) of each patch, plus weight / 2 * |dD/dx|^2 on real images (R1).

    With this loss a score estimates the log odds of real against fake for its patch, log p_d / p_G. The penalty's mean
    is estimated on every fourth real image: its second derivatives are most of an update's cost.
    """
    penalty = squared_gradient(critic, real[::4]).mean()
    return F.softplus(critic(fake)).mean() + F.softplus(-critic(real)).mean() + weight / 2 * penalty


LOSSES = {"wgan-gp": wgan_gp, "logistic-r1": logistic_r1}
