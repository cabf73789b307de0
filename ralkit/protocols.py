"""The interfaces of the method: whatever has them takes part in sampling, completion, RAL and the metrics.

`tests/test_stranger.py` has a prior, a critic and a decoder that are not this library's.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Codes = tuple[Tensor, ...]  # a code map (B, H, W) of each level, the top one first


@runtime_checkable
class Prior(Protocol):
    """An autoregressive model G of code maps, in raster order, whose codes are 0 .. K - 1.

    A bottom prior is given the codes of the level above as its condition. `sampling.AutoregressiveMixin` makes both
    methods from logits. RAL also needs a prior to be a `torch.nn.Module`, because it trains its parameters.
    """

    K: int

    def log_prob(self, codes: Tensor, condition: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Return log G(c_t | c_0 .. c_{t-1}, condition) in nats, (B, H, W), for codes (B, H, W), condition (B, h, w).

        At a `temperature` the logits are divided by it.
        """
        ...

    def sample(
        self,
        n: int,
        shape: tuple[int, int],
        condition: Tensor | None = None,
        *,
        temperature: float = 1.0,
        given: Tensor | None = None,
        given_rows: int = 0,
        keep: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw codes (n, H, W) of `shape` (H, W), int64, with dropout off; the condition is (n, h, w).

        The first `given_rows` rows, and the places marked in `keep` (H, W), are those of `given` (n, H, W).
        """
        ...


class Critic(Protocol):
    """A judge of images (B, 3, S, S) in [-1, 1]: it returns score maps (B, h, w), in which higher is more real."""

    def __call__(self, images: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """A map from the codes of every level, (B, H, W), ..., the top one first, to images (B, 3, S, S) in [-1, 1]."""

    def __call__(self, *codes: Tensor) -> Tensor: ...


def own_and_above(codes: Sequence[Tensor], level: int) -> Codes:
    """Return the codes of `level`, then those of the level above where there is one: its prior's arguments."""
    return tuple(codes[max(level - 1, 0) : level + 1][::-1])
