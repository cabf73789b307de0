"""Exact sampling of a prior with a cache: each code costs one step of the network, not a whole forward pass.

The vertical stream of a row depends on rows that are finished, so it is computed once a row; the horizontal
stream is computed a code at a time (Ramachandran et al. 2017, the paper's reference 36). Rows that are given
need their vertical stream only.
"""

import torch
from torch import Tensor

from .errors import RalkitError
from .prior import PixelCNN, gate


class Cache:
    """The running state of `prior` over `n` maps of width `W`: per layer, the last rows of the vertical stream
    and the current row of the horizontal one."""

    def __init__(self, prior: PixelCNN, n: int, W: int):
        self.prior, (C, p) = prior, (prior.embedding.embedding_dim, prior.layers[0].reach)
        new, L = prior.embedding.weight.new_zeros, len(prior.layers)
        self.rows = new(L, n, C, p + 1, W + 2 * p)  # inputs of the vertical convolutions, padded
        self.left = new(L, n, (p + W) * C)  # inputs of the horizontal ones, padded at the left
        self.from_above = [None] * L  # what each layer's horizontal stream gets from the vertical, (W, n, 2C)
        # A 1 x (p + 1) convolution at one position is a matrix product with the last p + 1 columns.
        self.horizontal = [m.horizontal.weight[:, :, 0].movedim(0, 2).movedim(0, 1).flatten(0, 1) for m in prior.layers]
        self.out = [(m.out.weight[:, :, 0, 0].T.contiguous(), m.out.bias) for m in prior.layers]
        self.C, self.p, self.W = C, p, W

    def start_row(self, above: Tensor | None) -> None:
        """Run the vertical stream over the next row, from the codes `above` it, (n, W); None for the first."""
        p, W = self.p, self.W
        v = None if above is None else self.prior.embedding(above).movedim(-1, 1)
        for index, layer in enumerate(self.prior.layers):
            rows = self.rows[index]
            rows[:, :, :-1] = rows[:, :, 1:].clone()
            rows[:, :, -1, p : p + W] = 0 if v is None else v
            v = layer.vertical(rows)
            link = layer.link(v) + layer.horizontal.bias[:, None, None]
            self.from_above[index] = link[:, :, 0].permute(2, 0, 1).contiguous()
            v = gate(v)[:, :, 0]

    def logits(self, j: int, left: Tensor | None) -> Tensor:
        """Logits (n, K) of column j of the current row, from the codes `left` of it, (n,); None at column 0."""
        C, p = self.C, self.p
        h = self.left.new_zeros(self.left.shape[1], C) if left is None else self.prior.embedding(left)
        for row, above, horizontal, (out, bias) in zip(
            self.left, self.from_above, self.horizontal, self.out, strict=True
        ):
            row[:, (p + j) * C : (p + j + 1) * C] = h
            update = torch.addmm(above[j], row[:, j * C : (p + j + 1) * C], horizontal)
            h = h + torch.addmm(bias, gate(update), out)
        return self.prior.head(h)


def choose(logits: Tensor, u: Tensor) -> Tensor:
    """Codes (n,) drawn from softmax(logits (n, K)) by inverting its distribution function at u (n,) in [0, 1)."""
    cdf = logits.float().softmax(-1).cumsum(-1)
    # Scaling by the last entry keeps a u close to 1 inside when the sum rounds to less than 1.
    return (cdf <= u[:, None] * cdf[:, -1:]).sum(-1).clamp_(max=logits.shape[-1] - 1)


def _start(prior, n, shape, temperature, given, given_rows, generator) -> tuple[Tensor, Tensor]:
    """The empty (or partly given) codes and the uniform numbers that decide the others, both (n, H, W)."""
    if temperature <= 0:
        raise RalkitError(f"the sampling temperature is {temperature}; it must be above 0")
    H, W = shape
    device = prior.embedding.weight.device
    codes = torch.zeros(n, H, W, dtype=torch.long, device=device)
    if given_rows:
        if given is None or given.shape != codes.shape or not 0 < given_rows <= H:
            got = None if given is None else tuple(given.shape)
            raise RalkitError(f"{given_rows} given rows of maps {(n, H, W)} need codes of that shape, not {got}")
        codes[:, :given_rows] = given[:, :given_rows]
    return codes, torch.rand(n, H, W, device=device, generator=generator)


@torch.no_grad()
def sample(
    prior: PixelCNN,
    n: int,
    shape: tuple[int, int],
    *,
    temperature: float = 1.0,
    given: Tensor | None = None,
    given_rows: int = 0,
    generator: torch.Generator | None = None,
    chunk: int = 1024,
) -> Tensor:
    """Draw n code maps (n, H, W) from the prior, exactly, `chunk` at a time.

    The first `given_rows` rows are kept from `given` (n, H, W). Dropout is off. Raises RalkitError for a
    temperature that is not positive or given codes of another shape.
    """
    H, W = shape
    codes, u = _start(prior, n, shape, temperature, given, given_rows, generator)
    training = prior.training
    prior.eval()
    for c, x in zip(codes.split(chunk), u.split(chunk), strict=True):
        cache = Cache(prior, len(c), W)
        for i in range(H):
            cache.start_row(c[:, i - 1] if i else None)
            for j in range(W if i >= given_rows else 0):
                logits = cache.logits(j, c[:, i, j - 1] if j else None)
                c[:, i, j] = choose(logits / temperature, x[:, i, j])
    prior.train(training)
    return codes


@torch.no_grad()
def sample_naive(prior, n, shape, *, temperature=1.0, given=None, given_rows=0, generator=None) -> Tensor:
    """What `sample` does, by one full forward pass a code: the reference for its results and its speed."""
    codes, u = _start(prior, n, shape, temperature, given, given_rows, generator)
    training = prior.training
    prior.eval()
    for i in range(given_rows, shape[0]):
        for j in range(shape[1]):
            codes[:, i, j] = choose(prior(codes)[:, i, j] / temperature, u[:, i, j])
    prior.train(training)
    return codes


@torch.no_grad()
def cached_logits(prior: PixelCNN, codes: Tensor) -> Tensor:
    """Logits (B, H, W, K) of given codes (B, H, W), computed a code at a time as `sample` does."""
    B, H, W = codes.shape
    cache = Cache(prior, B, W)
    rows = []
    for i in range(H):
        cache.start_row(codes[:, i - 1] if i else None)
        rows.append(torch.stack([cache.logits(j, codes[:, i, j - 1] if j else None) for j in range(W)], 1))
    return torch.stack(rows, 1)
