"""The cached sampler beside full forward passes, and beside passes over the rows so far: what public code does.

All draw the same number of maps from the same untrained prior. A naive pass takes as long for one place as for
another (of its row), so it is timed at a few places and multiplied. Map sizes take turns with each other, and with the
matrix products that floors are by, see benchmarks.common.floor. On a GPU also without CUDA graphs, and with the weights
in bfloat16.
"""

import copy
from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import torch

from ralkit.diagnostics import cached_logits
from ralkit.graphs import RECORDERS
from ralkit.prior import TwoStreamPrior

from . import common

CACHED, NAIVE = 8.0, 0.5  # seconds for each timing of the cached sampler, and of a naive pass


@torch.no_grad()
def full_forwards(prior: TwoStreamPrior, codes: torch.Tensor, device: str) -> float:
    """Seconds for one pass over whole maps for each place."""
    return common.best(lambda: prior(codes), device, NAIVE) * codes[0].numel()


@torch.no_grad()
def cropped_forwards(prior: TwoStreamPrior, codes: torch.Tensor, device: str, at: int = 4) -> float:
    """Seconds for one pass over the rows so far for each place, from `at` heights and straight lines between."""
    H, W = codes.shape[1:]
    heights = sorted({1, H, *(max(1, round(H * i / (at - 1))) for i in range(at))})
    took = [common.best(lambda h=h: prior(codes[:, :h]), device, NAIVE) for h in heights]
    x = torch.arange(1, H + 1).double()
    left = torch.searchsorted(torch.tensor(heights).double(), x).clamp(1, len(heights) - 1)
    h, t = torch.tensor(heights).double(), torch.tensor(took).double()
    return ((t[left - 1] + (x - h[left - 1]) / (h[left] - h[left - 1]) * (t[left] - t[left - 1])) * W).sum().item()


def rows(
    name: str, prior: TwoStreamPrior, n: int, sides: list[int], device: str, memory: float, naive: int
) -> Iterator[dict]:
    """A line for each map size: all take turns with each other, and with the matrix product that floors are by."""
    product, operations = common.product(device, dtype=prior.embedding.weight.dtype)
    draws = [partial(prior.sample, n, (side, side)) for side in sides]
    least, *cached = common.best_in_turns((product, *draws), device, CACHED)
    for side, took in zip(sides, cached, strict=True):
        yield row(name, prior, n, side, device, took, operations / least, memory, naive)


def row(
    name: str,
    prior: TwoStreamPrior,
    n: int,
    side: int,
    device: str,
    cached: float,
    rate: float,
    memory: float,
    naive: int,
) -> dict:
    """One line of the table; naive ways are timed for batches of up to `naive` codes in all."""
    shape, codes = (side, side), torch.randint(prior.K, (n, side, side), device=device)
    floors = common.floor(prior, n, shape, rate, memory)
    graphs = {}
    if RECORDERS.get(device):
        with patch.dict(RECORDERS, clear=True):
            graphs = {"without graphs, s": common.best(lambda: prior.sample(n, shape), device)}
    slow = {"full": float("nan"), "cropped": float("nan")}
    if n * side * side <= naive:
        slow = {"full": full_forwards(prior, codes, device), "cropped": cropped_forwards(prior, codes, device)}
    few = codes[:2, :16, :16]
    return {
        "prior": name,
        "batch": n,
        "map": f"{side}x{side}",
        "cached, s": cached,
        **graphs,
        "microseconds a code": 1e6 * cached / (n * side * side),
        "full forwards, s": slow["full"],
        "full / cached": slow["full"] / cached,
        "rows so far, s": slow["cropped"],
        "rows so far / cached": slow["cropped"] / cached,
        "GFLOP/s of a matrix product": rate / 1e9,
        **floors,
        "floor / cached": max(floors.values()) / cached,
        "logits differ by": (cached_logits(prior, few) - prior(few)).abs().max().item(),
    }


@torch.no_grad()
def main() -> None:
    """Time all, write the table."""
    chosen = common.options(
        __doc__, sides=(common.numbers, "8,16,32,64", "sides of the maps"),
        batches=(common.numbers, "1,16,64,256", "batches"),
        naive=(int, 2**17, "time the naive ways up to so many codes in a batch"),
    )  # fmt: skip
    device, memory = chosen.device, common.bandwidth(chosen.device)
    priors = common.models(device)
    if device == "cuda":
        priors |= {f"{name}, bfloat16": copy.deepcopy(prior).bfloat16() for name, prior in priors.items()}

    table = (
        line
        for name, prior in priors.items()
        for n in chosen.batches
        for line in rows(name, prior, n, chosen.sides, device, memory, chosen.naive)
    )
    about = f"64 channels, 5 layers, 5x5, {common.K} symbols; best of {CACHED:.0f} s of runs."
    common.report("sampling", table, device, f"{about} Memory {memory / 1e9:.1f} GB/s.")


if __name__ == "__main__":
    common.run(main)
