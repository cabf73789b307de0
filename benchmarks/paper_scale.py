"""Sampling with a preset's pair of priors, as the paper's S-Table 11 times it: a batch of 16, whole maps and parts.

The networks are untrained: what takes time does not depend on the weights. Floors: see benchmarks.common.floor; rows
that are given are not counted in them.
"""

from collections.abc import Iterator
from functools import partial

import torch

from ralkit.course import paper
from ralkit.course.presets import WorldConfig, get_preset
from ralkit.ral import roll_out

from . import common


def rows(world: WorldConfig, n: int, device: str) -> Iterator[dict]:
    """A line for each type of weights and each part of the maps that is sampled."""
    K, size, shapes = world.vqvae.K, world.size, world.shapes
    H, memory = shapes[0][0], common.bandwidth(device)
    codes = tuple(torch.randint(K, (n, *shape), device=device) for shape in shapes)
    name = f"{size}x{size}, " + " + ".join("{}x{}".format(*shape) for shape in shapes)
    theirs = dict(zip(("full", "partial"), (row.get(name, float("nan")) for row in paper.S_TABLE_11), strict=True))
    for dtype in (torch.float32, torch.bfloat16):
        priors = common.priors_of(world, device, dtype)
        rate = common.matrix_rate(device, dtype)
        floors = [common.floor(prior, n, shape, rate, memory) for prior, shape in zip(priors, shapes, strict=True)]
        parts = {"all rows": (0, H), "lower half, upper given": (H // 2, H), "upper half": (0, H // 2)}
        whole = None
        for part, (first, last) in parts.items():
            took = common.best(partial(roll_out, priors, codes, n, first, last), device)
            whole = whole or took
            least = {key: sum(f[key] for f in floors) * (last - first) / H for key in floors[0]}
            yield {
                "codes": name,
                "weights": str(dtype).removeprefix("torch."),
                "sampled": part,
                "s": took,
                "of all rows": took / whole,
                "paper, s": theirs["full" if part == "all rows" else "partial"],
                **least,
                "times the floor": took / max(least.values()),
            }


@torch.no_grad()
def main() -> None:
    """Time all, write the table."""
    chosen = common.options(__doc__, preset=(str, "paper-128", "a preset with two levels"), batch=(int, 16, "maps"))
    world = get_preset(chosen.preset).world(levels=2)
    about = f"The two priors of the preset {chosen.preset}, batch {chosen.batch}; best of 2 s of runs."
    common.report("paper_scale", rows(world, chosen.batch, chosen.device), chosen.device, about)


if __name__ == "__main__":
    common.run(main)
