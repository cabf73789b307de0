"""VQ-VAE: images to a map of discrete codes and back (van den Oord et al. 2017; the paper's section 3).

images (B, 3, S, S) -> encoder -> z (B, D, H, W) -> nearest of K codebook vectors -> codes (B, H, W)
codes  (B, H, W)    -> codebook vectors (B, D, H, W) -> decoder -> images (B, 3, S, S) in [-1, 1]
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Codebook(nn.Module):
    """K vectors of D numbers, moved by exponential moving averages of the encoder outputs that choose them.

    The averages are those of VQ-VAE-2 (decay .99). The first training batch places the vectors; a vector
    that fewer than `revive_below` outputs a batch choose on average is dead, and is put on an output again.
    """

    def __init__(self, size: int, dim: int, decay: float = 0.99, revive_below: float = 2.0):
        super().__init__()
        self.decay, self.revive_below = decay, revive_below
        self.register_buffer("vectors", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))  # N_i: moving average of how many chose i
        self.register_buffer("sums", torch.zeros(size, dim))  # m_i: moving average of their sum
        self.register_buffer("placed", torch.tensor(False))

    def nearest(self, z: Tensor) -> Tensor:
        """Codes (B, H, W) of the codebook vectors nearest to z (B, D, H, W)."""
        flat = z.movedim(1, -1)
        return (self.vectors.square().sum(1) - 2 * flat @ self.vectors.T).argmin(-1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (B, D, H, W) -> quantised z with the straight-through gradient, codes (B, H, W), commitment loss."""
        if self.training and not self.placed:
            self._place(z)
        codes = self.nearest(z)
        if self.training:
            self._update(z, codes)
        e = self.lookup(codes)
        commitment = F.mse_loss(z, e)
        return z + (e - z).detach(), codes, commitment

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook vectors (B, D, H, W) of codes (B, H, W)."""
        return self.vectors[codes].movedim(-1, 1)

    @torch.no_grad()
    def _place(self, z: Tensor) -> None:
        self.vectors.copy_(self._draw(z, len(self.vectors)))
        self.counts.fill_(z[:, 0].numel() / len(self.counts))
        self.sums.copy_(self.vectors * self.counts[:, None])
        self.placed.fill_(True)

    @torch.no_grad()
    def _update(self, z: Tensor, codes: Tensor) -> None:
        flat, chosen = z.movedim(1, -1).flatten(0, -2), codes.flatten()
        n = torch.zeros_like(self.counts).index_add_(0, chosen, torch.ones_like(flat[:, 0]))
        m = torch.zeros_like(self.sums).index_add_(0, chosen, flat)
        self.counts.lerp_(n, 1 - self.decay)
        self.sums.lerp_(m, 1 - self.decay)
        dead = self.counts < self.revive_below
        # A revived vector starts with an average share, which gives it a few hundred steps to be chosen.
        drawn, share = self._draw(z, len(dead)), len(flat) / len(dead)
        self.counts.copy_(torch.where(dead, share, self.counts))
        self.sums.copy_(torch.where(dead[:, None], drawn * share, self.sums))
        self.vectors.copy_(self.sums / self.counts[:, None])

    @staticmethod
    def _draw(z: Tensor, n: int) -> Tensor:
        flat = z.movedim(1, -1).flatten(0, -2)
        return flat[torch.randint(len(flat), (n,), device=z.device)]


def perplexity(codes: Tensor, size: int) -> Tensor:
    """exp of the entropy (nats) of how often each of `size` codes occurs: the number of codes in real use."""
    p = torch.bincount(codes.flatten(), minlength=size).float()
    return torch.special.entr(p / p.sum()).sum().exp()


class Residual(nn.Sequential):
    """x + conv1x1(relu(conv3x3(relu(x)))), with `inner` channels between (the tables' "residual units")."""

    def __init__(self, channels: int, inner: int):
        super().__init__(nn.ReLU(), nn.Conv2d(channels, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class VQVAE(nn.Module):
    """The one-level VQ-VAE: `stages` strided convolutions down, a codebook, as many transposed ones up.

    S-Tables 4-7: hidden (128), residual (64), stages ("Layers"), K (codebook size), D (codebook dimension).
    """

    def __init__(self, stages: int, hidden: int, residual: int, K: int, D: int, blocks: int = 2):
        super().__init__()
        widths = [3, hidden // 2] + [hidden] * (stages - 1)
        down = [m for a, b in pairwise(widths) for m in (nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())]
        stack = [Residual(hidden, residual) for _ in range(blocks)]
        self.encoder = nn.Sequential(
            *down, nn.Conv2d(widths[-1], hidden, 3, padding=1), *stack, nn.ReLU(), nn.Conv2d(hidden, D, 1)
        )
        self.codebook = Codebook(K, D)
        widths = [hidden] * stages + [3] if stages == 1 else [hidden] * (stages - 1) + [hidden // 2, 3]
        up = [m for a, b in pairwise(widths) for m in (nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1))]
        stack = [Residual(hidden, residual) for _ in range(blocks)]
        self.decoder = nn.Sequential(nn.Conv2d(D, hidden, 3, padding=1), *stack, *up)

    @property
    def K(self) -> int:
        return len(self.codebook.vectors)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, 3, S, S) -> reconstruction (B, 3, S, S), codes (B, H, W), commitment loss; H = S / 2^stages."""
        z, codes, commitment = self.codebook(self.encoder(x))
        return self.decoder(z), codes, commitment

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, H, W) int64 of images (B, 3, S, S) in [-1, 1]."""
        return self.codebook.nearest(self.encoder(x))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] of codes (B, H, W)."""
        return self.decoder(self.codebook.lookup(codes)).clamp(-1, 1)


def vqvae_loss(model: VQVAE, x: Tensor, beta: float = 0.25) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error plus beta times the commitment loss, for images x (B, 3, S, S); and what to log."""
    x_hat, codes, commitment = model(x)
    mse = F.mse_loss(x_hat, x)
    logs = {"mse": mse.detach(), "commitment": commitment.detach(), "perplexity": perplexity(codes, model.K)}
    return mse + beta * commitment, logs
