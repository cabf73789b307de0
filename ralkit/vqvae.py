"""VQ-VAE and VQ-VAE-2: images to maps of discrete codes and back (van den Oord et al. 2017; the paper's section 3).

images (B, 3, S, S) -> encoder -> z (B, D, H, W) -> nearest of K codebook vectors -> codes (B, H, W)
codes  (B, H, W)    -> codebook vectors (B, D, H, W) -> decoder -> images (B, 3, S, S) in [-1, 1]

With two levels `encode` gives (top, bottom) codes, and `decode` takes them as two arguments. With `at_once` a training
step keeps the activations of that many images only: the networks take a batch in parts, the codebook takes it whole.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import distributed


@dataclass(frozen=True)
class VQVAEConfig:
    """The settings of a VQ-VAE and of its training."""

    stages: int = 2  # stride-2 stages from image to code map (the tables' "Layers")
    hidden: int = 128
    residual: int = 64
    K: int = 128  # codebook size
    D: int = 64  # codebook dimension
    beta: float = 0.25  # weight of the commitment loss
    batch: int = 128
    steps: int = 156_250
    lr: float = 1e-3


def to_float(x: Tensor) -> Tensor:
    """uint8 in 0..255, any shape -> float32 in [-1, 1]."""
    return x.float() / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Float in [-1, 1] (clamped), any shape -> uint8 in 0..255, rounded; it undoes `to_float` exactly."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


class Codebook(nn.Module):
    """K vectors of D numbers; each is the exponential moving average of the encoder outputs that choose it.

    The averages are those of VQ-VAE-2 (decay .99). The first training batch places the vectors on its outputs. A vector
    is dead if on average fewer than `revive_below` outputs of a batch choose it; it is placed on an output again. A
    batch is that of all ranks.
    """

    def __init__(self, size: int, dim: int, decay: float = 0.99, revive_below: float = 2.0):
        super().__init__()
        self.decay, self.revive_below = decay, revive_below
        self.register_buffer("vectors", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))  # N_i: moving average of how many chose i
        self.register_buffer("sums", torch.zeros(size, dim))  # m_i: moving average of their sum
        self.register_buffer("placed", torch.tensor(False))
        self.started = False

    def nearest(self, z: Tensor) -> Tensor:
        """Codes (B, H, W) of the codebook vectors nearest to z (B, D, H, W)."""
        flat = z.movedim(1, -1)
        return (self.vectors.square().sum(1) - 2 * flat @ self.vectors.T).argmin(-1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (B, D, H, W) -> quantised z with the straight-through gradient, codes (B, H, W), commitment loss."""
        with torch.autocast(z.device.type, enabled=False):  # distances and averages are never rounded to bfloat16
            z = z.to(self.vectors.dtype)
            if self.training and not self.started:  # asked once: each look at `placed` waits for a GPU
                self.started = True
                if not self.placed:
                    self._place(z)
            codes = self.nearest(z)
            e = self.lookup(codes)  # before the update, which puts a dead vector somewhere else
            if self.training:
                self._update(z, codes)
            commitment = F.mse_loss(z, e)
            return z + (e - z).detach(), codes, commitment

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook vectors (B, D, H, W) of codes (B, H, W), whole numbers of any type."""
        return self.vectors[codes.long()].movedim(-1, 1)

    @torch.no_grad()
    def _place(self, z: Tensor) -> None:
        self.vectors.copy_(self._draw(z, len(self.vectors)))
        self.counts.fill_(z[:, 0].numel() * distributed.world_size() / len(self.counts))
        self.sums.copy_(self.vectors * self.counts[:, None])
        self.placed.fill_(True)

    @torch.no_grad()
    def _update(self, z: Tensor, codes: Tensor) -> None:
        flat, chosen = z.movedim(1, -1).flatten(0, -2), codes.flatten()
        n = torch.zeros_like(self.counts).index_add_(0, chosen, torch.ones_like(flat[:, 0]))
        m = torch.zeros_like(self.sums).index_add_(0, chosen, flat)
        self.counts.lerp_(distributed.all_reduce_sum(n), 1 - self.decay)
        self.sums.lerp_(distributed.all_reduce_sum(m), 1 - self.decay)
        dead = self.counts < self.revive_below
        # A revived vector starts with an average share, which gives it a few hundred steps to be chosen.
        drawn, share = self._draw(z, len(dead)), len(flat) * distributed.world_size() / len(dead)
        self.counts.copy_(torch.where(dead, share, self.counts))
        self.sums.copy_(torch.where(dead[:, None], drawn * share, self.sums))
        self.vectors.copy_(self.sums / self.counts[:, None])

    @staticmethod
    def _draw(z: Tensor, n: int) -> Tensor:
        flat = z.movedim(1, -1).flatten(0, -2)
        return distributed.broadcast_tensor(flat[torch.randint(len(flat), (n,), device=z.device)])


def perplexity(codes: Tensor, size: int) -> Tensor:
    """exp of the entropy (nats) of how often each of `size` codes occurs: the number of codes that are in use."""
    one = torch.ones(codes.numel(), device=codes.device)
    p = one.new_zeros(size).index_add_(0, codes.flatten(), one)  # bincount would have a GPU's CPU wait for the largest
    return torch.special.entr(p / p.sum()).sum().exp()


class Residual(nn.Sequential):
    """x + conv1x1(relu(conv3x3(relu(x)))), with `inner` channels between (the tables' "residual units")."""

    def __init__(self, channels: int, inner: int):
        super().__init__(nn.ReLU(), nn.Conv2d(channels, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def _down(widths: list[int]) -> list[nn.Module]:
    return [m for a, b in pairwise(widths) for m in (nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())]


def _residuals(channels: int, inner: int, blocks: int) -> list[nn.Module]:
    return [Residual(channels, inner) for _ in range(blocks)]


def _up(widths: list[int]) -> list[nn.Module]:
    return [m for a, b in pairwise(widths) for m in (nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1))]


def _encoder(stages: int, hidden: int, residual: int, blocks: int) -> list[nn.Module]:
    """Images (B, 3, S, S) -> features (B, hidden, H, W), H = S / 2^stages."""
    widths = [3, hidden // 2] + [hidden] * (stages - 1)
    down, stack = _down(widths), _residuals(hidden, residual, blocks)
    return [*down, nn.Conv2d(widths[-1], hidden, 3, padding=1), *stack, nn.ReLU()]


def _decoder(channels: int, stages: int, hidden: int, residual: int, blocks: int) -> nn.Sequential:
    """Codebook vectors (B, channels, H, W) -> images (B, 3, S, S)."""
    widths = [hidden] * stages + [3] if stages == 1 else [hidden] * (stages - 1) + [hidden // 2, 3]
    up, stack = _up(widths), _residuals(hidden, residual, blocks)
    return nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), *stack, *up)


def _in_parts(net: nn.Module, x: Tensor, at_once: int | None) -> Tensor:
    """net(x); of more than `at_once` rows, the backward pass computes the activations again, part by part."""
    if at_once is None or len(x) <= at_once:
        return net(x)
    return torch.cat([checkpoint(net, part, use_reentrant=False) for part in x.split(at_once)])


class VQVAE(nn.Module):
    """The one-level VQ-VAE: `stages` strided convolutions down, a codebook, as many transposed convolutions up.

    S-Tables 4-7: hidden (128), residual (64), stages ("Layers"), K (codebook size), D (codebook dimension).
    """

    at_once: int | None = None

    def __init__(self, stages: int, hidden: int, residual: int, K: int, D: int, blocks: int = 2):
        super().__init__()
        self.encoder = nn.Sequential(*_encoder(stages, hidden, residual, blocks), nn.Conv2d(hidden, D, 1))
        self.codebook = Codebook(K, D)
        self.decoder = _decoder(D, stages, hidden, residual, blocks)

    @property
    def K(self) -> int:
        return len(self.codebook.vectors)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, 3, S, S) -> reconstruction (B, 3, S, S), codes (B, H, W), commitment loss; H = S / 2^stages."""
        z, codes, commitment = self.codebook(_in_parts(self.encoder, x, self.at_once))
        return _in_parts(self.decoder, z, self.at_once), codes, commitment

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, H, W) int64 of images (B, 3, S, S) in [-1, 1]."""
        return self.codebook.nearest(self.encoder(x))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] of codes (B, H, W)."""
        return self.decoder(self.codebook.lookup(codes)).clamp(-1, 1)


class VQVAE2(nn.Module):
    """The two-level VQ-VAE-2 (Razavi et al. 2019): top codes for the whole, bottom codes for the detail.

    bottom features (S / 2^stages) -> one more stage -> top codes. The bottom codes come from the bottom features and
    the decoded top codes. The decoder sees both levels. S-Tables 8-10: the sizes, named as in VQVAE.
    """

    at_once: int | None = None

    def __init__(self, stages: int, hidden: int, residual: int, K: int, D: int, blocks: int = 2):
        super().__init__()
        self.bottom_encoder = nn.Sequential(*_encoder(stages, hidden, residual, blocks))
        stack = _residuals(hidden, residual, blocks)
        self.top_encoder = nn.Sequential(*_down([hidden, hidden]), *stack, nn.ReLU(), nn.Conv2d(hidden, D, 1))
        self.top_codebook, self.bottom_codebook = Codebook(K, D), Codebook(K, D)
        stack = _residuals(hidden, residual, blocks)
        self.top_decoder = nn.Sequential(nn.Conv2d(D, hidden, 3, padding=1), *stack, *_up([hidden, D]))
        self.join = nn.Conv2d(hidden + D, D, 1)
        self.enlarge = nn.ConvTranspose2d(D, D, 4, 2, 1)
        self.decoder = _decoder(2 * D, stages, hidden, residual, blocks)

    @property
    def K(self) -> int:
        return len(self.top_codebook.vectors)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """x (B, 3, S, S) -> reconstruction, codes ((B, H, W), (B, 2H, 2W)), commitment losses; 2H = S / 2^stages."""
        features = _in_parts(self.bottom_encoder, x, self.at_once)
        top, top_codes, top_commitment = self.top_codebook(_in_parts(self.top_encoder, features, self.at_once))
        both = torch.cat([features, _in_parts(self.top_decoder, top, self.at_once)], 1)
        bottom, bottom_codes, bottom_commitment = self.bottom_codebook(self.join(both))
        x_hat = _in_parts(self.decoder, torch.cat([self.enlarge(top), bottom], 1), self.at_once)
        return x_hat, (top_codes, bottom_codes), top_commitment + bottom_commitment

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Top codes (B, H, W) and bottom codes (B, 2H, 2W), int64, of images (B, 3, S, S) in [-1, 1]."""
        features = self.bottom_encoder(x)
        top = self.top_codebook.nearest(self.top_encoder(features))
        from_top = self.top_decoder(self.top_codebook.lookup(top))
        return top, self.bottom_codebook.nearest(self.join(torch.cat([features, from_top], 1)))

    @torch.no_grad()
    def decode(self, top: Tensor, bottom: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] of top codes (B, H, W) and bottom codes (B, 2H, 2W)."""
        vectors = [self.enlarge(self.top_codebook.lookup(top)), self.bottom_codebook.lookup(bottom)]
        return self.decoder(torch.cat(vectors, 1)).clamp(-1, 1)


def make_vqvae(cfg: VQVAEConfig, levels: int) -> VQVAE | VQVAE2:
    """Make a fresh VQ-VAE of 1 or 2 levels as `cfg` asks for it."""
    return (VQVAE if levels == 1 else VQVAE2)(cfg.stages, cfg.hidden, cfg.residual, cfg.K, cfg.D)


def as_levels(codes: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Put the codes of one level, or of several, into a tuple: one code map for each level, the top one first."""
    return codes if isinstance(codes, tuple) else (codes,)


def perplexities(codes: Tensor | tuple[Tensor, ...], K: int) -> dict[str, Tensor]:
    """The perplexity of the codes of each level, by name."""
    levels = as_levels(codes)
    names = ("perplexity",) if len(levels) == 1 else ("perplexity_top", "perplexity_bottom")
    return {name: perplexity(c, K) for name, c in zip(names, levels, strict=True)}


def vqvae_loss(model: VQVAE | VQVAE2, x: Tensor, beta: float = 0.25) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error plus beta times the commitment loss of images x (B, 3, S, S), and the numbers to log."""
    x_hat, codes, commitment = model(x)
    mse = F.mse_loss(x_hat, x)
    logs = {"mse": mse.detach(), "commitment": commitment.detach()} | perplexities(codes, model.K)
    return mse + beta * commitment, logs
