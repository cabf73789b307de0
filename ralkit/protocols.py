"""What the method asks of its parts: anything that has these takes part in sampling, RAL and the metrics."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Codes = tuple[Tensor, ...]  # a code map (B, H, W) of each level, the top one first


@runtime_checkable
class Prior(Protocol):
    """An autoregressive model G of code maps of K symbols, given the codes of the level above or not.

    RAL also needs it to be a `torch.nn.Module`, whose parameters it trains.
    """

    K: int

    def log_prob(self, codes: Tensor, condition: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """log G(c_t | c_0 .. c_{t-1}, condition) in nats, (B, H, W), of codes (B, H, W), given condition (B, h, w)."""
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
        """Draw codes (n, H, W) of `shape` (H, W), given condition (n, h, w).

        The first `given_rows` rows, and the places marked in `keep` (H, W), are those of `given` (n, H, W).
        """
        ...


class Critic(Protocol):
    """A judge of images (B, 3, H, W) in [-1, 1], which returns a score map (B, h, w): higher is more real."""

    def __call__(self, images: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """What makes images (B, 3, S, S) in [-1, 1] of the codes of every level, (B, H, W), ..., the top one first."""

    def __call__(self, *codes: Tensor) -> Tensor: ...


def own_and_above(codes: Sequence[Tensor], level: int) -> Codes:
    """The codes of `level`, followed by those of the level above where there is one: what its prior is called with."""
    return tuple(codes[max(level - 1, 0) : level + 1][::-1])
