"""Diagnostics: whether RAL's gradient carries a signal, and whether the cached sampler is exact."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .cache import Cache
from .errors import RalkitError
from .prior import TwoStreamPrior
from .protocols import Prior
from .ral import policy_gradient_loss
from .sampling import check_number, undisturbed


def part_gradients(
    prior: Prior,
    codes: Tensor,
    A: Tensor,
    condition: Tensor | None = None,
    *,
    parts: int = 8,
    at_once: int | None = None,
) -> Tensor:
    """The policy gradient of each of `parts` shares of the roll-outs: (parts, P), P numbers for P weights.

    The roll-outs are codes (B, H, W), sampled given condition (B, h, w), with advantages A (B, T). Shares are as equal
    as they can be; if there are fewer roll-outs than `parts`, each is a share. A share is differentiated `at_once`
    roll-outs at a time (default: whole). Raises RalkitError for a single roll-out, whose noise is not known.
    """
    if len(codes) < 2:
        raise RalkitError("the noise of a gradient needs at least 2 roll-outs")
    parameters = [p for p in prior.parameters() if p.requires_grad]
    rows, parts = [], min(parts, len(codes))
    data = (A, codes) if condition is None else (A, codes, condition)
    for share in zip(*(x.tensor_split(parts) for x in data), strict=True):
        n, row = len(share[0]), 0.0
        for a, *c in zip(*(x.split(at_once or n) for x in share), strict=True):
            loss = policy_gradient_loss(prior.log_prob(*c).flatten(1), a) * (len(a) / n)
            row = row + torch.cat([-d.flatten() for d in torch.autograd.grad(loss, parameters)])
        rows.append(row)
    return torch.stack(rows)


def gradient_snr(g: Tensor) -> float:
    """Signal to noise of a gradient from its parts g (parts, P): length of the mean over its standard error.

    About 1 means noise only, because the mean of pure noise is as long as its own standard error. 0 where all parts are
    zero; parts that are all alike have no noise but that of rounding. Raises RalkitError for a single part.
    """
    if len(g) < 2:
        raise RalkitError("the noise of a gradient needs at least 2 parts")
    largest = g.abs().max()
    if largest == 0:
        return 0.0
    g = g / largest  # the squares of finite numbers are finite
    signal = g.mean(0).norm()
    noise = ((g - g.mean(0)).square().sum() / (len(g) - 1) / len(g)).sqrt()
    return (signal / noise.clamp_min(torch.finfo(g.dtype).eps)).item()


def gradient_cosine(g: Tensor, h: Tensor) -> float:
    """Cosine of two expected gradients, from parts g, h (parts, P) over the same roll-outs; nan where all is noise.

    No part is multiplied by itself, so the noise counts neither as length nor as likeness.
    """
    apart = lambda a, b: (a.sum(0) @ b.sum(0) - (a * b).sum()).item()  # noqa: E731
    squares = apart(g, g) * apart(h, h)
    return apart(g, h) / squares**0.5 if min(apart(g, g), apart(h, h)) > 0 else float("nan")


@torch.no_grad()
def cached_logits(prior: TwoStreamPrior, codes: Tensor, condition: Tensor | None = None, given_rows: int = 0) -> Tensor:
    """Return the logits (B, H - given_rows, W, K) of codes (B, H, W), computed a code at a time as `sample` does."""
    B, H, W = codes.shape
    check_number("the number of given rows", given_rows, 0, H)
    codes = F.pad(codes, (1, 0, 1, 0), value=prior.K)
    logits = prior.embedding.weight.new_empty(B, H - given_rows, W, prior.K)
    with undisturbed(prior):
        cache = Cache(prior, B, (H, W), condition)
        for i in range(H):
            cache.next_row(i)
            cache.start_row(codes[:, i, 1:].T)
            if i < given_rows:
                cache.skip_row(codes[:, i + 1, 1:].T)
            else:
                for j in range(W):
                    logits[:, i - given_rows, j] = cache.logits(j, codes[:, i + 1, j])
    return logits
