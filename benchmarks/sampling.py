"""Cached sampling beside full forward passes: `python -m benchmarks.sampling`, a few minutes on two CPU cores.

Both draw the same maps from the same untrained prior (the quick preset's oracle); the runs alternate, the best of
three counts. Full forwards of large batches are timed on some positions and multiplied, as the table says.
"""

import time

import torch

from ralkit.experiment import markdown_table
from ralkit.presets import get_preset
from ralkit.prior import PixelCNN
from ralkit.sampling import cached_logits, sample

REPEATS, POSITIONS = 3, 4


def seconds(f, device: torch.device) -> float:
    began = time.perf_counter()
    f()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


@torch.no_grad()
def compare(prior: PixelCNN, n: int, side: int, device: torch.device) -> dict[str, float | int]:
    """Seconds for n maps of side x side by the cache and by full forwards, and the largest difference of logits."""
    codes = torch.randint(prior.K, (n, side, side), device=device)
    cached, forward = [], []
    for _ in range(REPEATS + 1):  # the first of each warms up
        cached.append(seconds(lambda: sample(prior, n, (side, side)), device))
        forward.append(seconds(lambda: [prior(codes) for _ in range(POSITIONS)], device) / POSITIONS)
    full = min(forward[1:]) * side * side
    few = codes[:64]
    return {
        "maps": n,
        "size": f"{side}x{side}",
        "cached, s": min(cached[1:]),
        f"full forwards, s ({POSITIONS} of {side * side} timed)": full,
        "times faster": full / min(cached[1:]),
        "largest difference of logits": (cached_logits(prior, few) - prior(few)).abs().max().item(),
    }


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cfg = get_preset("quick").oracle
    prior = PixelCNN(get_preset("quick").vqvae.K, cfg.channels, cfg.layers, cfg.k, cfg.output_layers).to(device).eval()
    rows = [compare(prior, n, side, device) for n, side in ((16, 8), (64, 8), (1024, 8), (16, 16), (64, 16))]
    print(f"{cfg.channels} channels, {cfg.layers} layers, {cfg.k}x{cfg.k}; {device}, {torch.get_num_threads()} threads")
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
