"""What tells whether RAL's gradient carries a signal, and whether the cached sampler is exact."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import RalkitError
from .prior import Prior
from .ral import policy_gradient_loss
from .sampling import Cache, _evaluating


def part_gradients(
    prior: Prior, codes: Tensor, A: Tensor, *above: Tensor, parts: int = 8, at_once: int | None = None
) -> Tensor:
    """The policy gradient of each of `parts` shares of the roll-outs, codes (B, H, W) and A (B, T): (parts, P).

    Each share is differentiated `at_once` roll-outs at a time (default: whole). Of fewer roll-outs than `parts` each is
    a share; shares are as equal as they can be. Raises RalkitError for a single roll-out: its noise is not known.
    """
    if len(codes) < 2:
        raise RalkitError("the noise of a gradient needs at least 2 roll-outs")
    parameters = [p for p in prior.parameters() if p.requires_grad]
    rows, parts = [], min(parts, len(codes))
    for share in zip(*(x.tensor_split(parts) for x in (A, codes, *above)), strict=True):
        n, row = len(share[0]), 0.0
        for a, *c in zip(*(x.split(at_once or n) for x in share), strict=True):
            loss = policy_gradient_loss(prior.log_prob(*c).flatten(1), a) * (len(a) / n)
            row = row + torch.cat([-d.flatten() for d in torch.autograd.grad(loss, parameters)])
        rows.append(row)
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


@torch.no_grad()
def cached_logits(prior: Prior, codes: Tensor, above: Tensor | None = None, given_rows: int = 0) -> Tensor:
    """Logits (B, H - given_rows, W, K) of given codes (B, H, W), computed a code at a time as `sample` does."""
    B, H, W = codes.shape
    codes = F.pad(codes, (1, 0, 1, 0), value=prior.K)
    rows = []
    with _evaluating(prior):
        cache = Cache(prior, B, (H, W), above)
        for i in range(H):
            cache.next_row(i)
            cache.start_row(codes[:, i, 1:].T)
            if i < given_rows:
                cache.skip_row(codes[:, i + 1, 1:].T)
            else:
                rows.append(torch.stack([cache.logits(j, codes[:, i + 1, j]) for j in range(W)], 1))
    return torch.stack(rows, 1)
