"""Is an image a face at all? The nearest face that can be drawn, and known damage that a measure should see.

No photo set can answer this. But our faces are drawn from factors and nuisances, so an image can be compared with the
nearest of all faces that there could be.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .faces import FACTORS, NUISANCES, FactorNet, canvas_of


@torch.enable_grad()
def nearest_faces(images: Tensor, net: FactorNet, steps: int = 30, lr: float = 0.15) -> tuple[Tensor, Tensor]:
    """The nearest faces that can be drawn, (N, 3, S, S) in [-1, 1], and how far images (N, 3, S, S) in [-1, 1] are.

    The factors are those that the network sees. The nuisances are found by gradient descent through the drawing, at
    half the size, which is three times as fast and finds the same faces. The distance is the root of the mean squared
    difference of pixels in [0, 1], (N,).
    """
    with torch.no_grad():
        factors, pixels = net.predict(images).cpu(), ((images + 1) / 2).cpu()
        wanted = F.avg_pool2d(pixels, 2)
    nuisances = torch.zeros(len(images), len(NUISANCES), requires_grad=True)
    optimiser = torch.optim.Adam([nuisances], lr)
    for _ in range(steps):
        optimiser.zero_grad()
        (canvas_of(factors, nuisances, wanted.shape[-1]) - wanted).square().mean((1, 2, 3)).sum().backward()
        nuisances.grad.nan_to_num_(0)  # the root in a distance has no slope at its centre
        optimiser.step()
        with torch.no_grad():
            nuisances.clamp_(-1, 1)
    with torch.no_grad():
        drawn = canvas_of(factors, nuisances, images.shape[-1]).clamp(0, 1)
        return 2 * drawn - 1, (drawn - pixels).square().mean((1, 2, 3)).sqrt()


# ---- Damage: images (N, 3, S, S), the factors they show (N, F), a strength from 0 (none) to 1 ----


def blurred(images: Tensor, factors: Tensor, strength: float) -> Tensor:
    """Images after a Gaussian of up to a 24th of their side."""
    sigma = strength * images.shape[-1] / 24
    if sigma == 0:
        return images
    reach = int(3 * sigma) + 1
    line = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    kernel = (line / line.sum()).to(images).expand(3, 1, 1, -1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.mT, groups=3)


def melted(images: Tensor, factors: Tensor, strength: float) -> Tensor:
    """Images whose parts have run: each place is moved by a smooth random field, by up to a tenth of the side or so."""
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(len(images), 2, 5, 5, generator=generator).to(images)
    field = F.interpolate(field, images.shape[-2:], mode="bicubic", align_corners=True)
    still = F.affine_grid(torch.eye(2, 3).to(images).expand(len(images), -1, -1), list(images.shape), False)
    moved = still + 0.1 * strength * field.movedim(1, -1)
    return F.grid_sample(images, moved, padding_mode="border", align_corners=False)


def halved(images: Tensor, factors: Tensor, strength: float) -> Tensor:
    """Images of which a share of `strength`, spread evenly over them, has the right half of another one."""
    half, count = images.shape[-1] // 2, (strength * torch.arange(len(images) + 1)).floor()
    chosen = count.diff() > 0
    swapped = images.clone()
    swapped[chosen, ..., half:] = images.roll(1, 0)[chosen, ..., half:]
    return swapped


def narrowed(images: Tensor, factors: Tensor, strength: float) -> Tensor:
    """Images without some kinds of hair, up to all but one; those that are left are repeated."""
    hair = factors[:, list(FACTORS).index("hair")]
    kinds = len(FACTORS["hair"]) - round(strength * (len(FACTORS["hair"]) - 1))
    left = (hair < kinds).nonzero().flatten()
    return images[left[torch.arange(len(images)) % len(left)]]


DAMAGES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "blurred": blurred,
    "melted": melted,
    "halves of two": halved,
    "fewer kinds of hair": narrowed,
}
