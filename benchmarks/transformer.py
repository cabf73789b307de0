"""The cached PixelCNN beside what a user would pick instead: a decoder-only transformer with its key-value cache.

Needs `pip install x-transformers`, which nothing else of the project does. Both have about the same number of
parameters, and sample maps of the same size in the same process, in turns.
"""

import statistics

import torch

from ralkit.errors import RalkitError

from . import common


def transformer(parameters: int, codes: int, device: str):
    """A transformer of x-transformers over `codes` places, of the width whose size is nearest to `parameters`."""
    try:
        from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper
    except ImportError as error:
        raise RalkitError("this benchmark needs x-transformers: pip install x-transformers") from error

    def of(width: int):
        layers = Decoder(dim=width, depth=5, heads=max(1, width // 32), attn_dim_head=32, attn_flash=True)
        return TransformerWrapper(num_tokens=common.K + 1, max_seq_len=codes + 1, attn_layers=layers)

    size = lambda width: sum(p.numel() for p in of(width).parameters())  # noqa: E731
    width = min(range(32, 513, 32), key=lambda w: abs(size(w) - parameters))
    return AutoregressiveWrapper(of(width)).to(device).eval(), width


@torch.no_grad()
def compare(prior, n: int, side: int, device: str, rounds: int = 5) -> dict:
    """Seconds of both, in turns, and the spread of their ratio."""
    size = sum(p.numel() for p in prior.parameters())
    net, width = transformer(size, side * side, device)
    start = torch.full((n, 1), common.K, device=device)  # a symbol of its own before the first code
    draw = lambda: net.generate(start, side * side, cache_kv=True)  # noqa: E731
    ours, theirs = [], []
    for _ in range(rounds + 1):  # the first of each warms up
        ours.append(common.seconds(lambda: prior.sample(n, (side, side)), device))
        theirs.append(common.seconds(draw, device))
    ratios = [b / a for a, b in zip(ours[1:], theirs[1:], strict=True)]
    return {
        "batch": n,
        "map": f"{side}x{side}",
        "parameters": f"{size} and {sum(p.numel() for p in net.parameters())} (width {width})",
        "PixelCNN, s": min(ours[1:]),
        "transformer, s": min(theirs[1:]),
        "transformer / PixelCNN": statistics.median(ratios),
        "from": min(ratios),
        "to": max(ratios),
    }


def main() -> None:
    """Time both over map sizes and batches, write the table."""
    chosen = common.options(
        __doc__, sides=(common.numbers, "8,16,32", "sides of the maps"), batches=(common.numbers, "16,64", "batches")
    )  # fmt: skip
    prior = common.models(chosen.device)["PixelCNN"]
    sizes = ((n, side) for side in chosen.sides for n in chosen.batches)
    rows = (compare(prior, n, side, chosen.device) for n, side in sizes)
    common.report("transformer", rows, chosen.device, "64 channels, 5 layers, 5x5, beside a 5-layer transformer.")


if __name__ == "__main__":
    common.run(main)
