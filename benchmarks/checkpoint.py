"""What checkpoints cost: seconds and memory of one, and the share of a training's time that saving takes.

The state is weights and Adam's two averages, as many GiB in all as asked for. The training's steps do nothing but wait,
and `save_minutes` is 0: saving is held back only by the rule that it may take a twentieth of the time.
"""

import math
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from ralkit import store, training
from ralkit.ral import Adam, descend

from . import common

LAYER = 2**22  # weights of a layer: 48 MiB with their averages
STEP = 0.05  # seconds


def state(gib: float, device: str) -> dict[str, nn.Module | torch.optim.Optimizer]:
    """A model and an optimiser that has taken a step, `gib` in all."""
    model = nn.ParameterList(torch.randn(LAYER, device=device) for _ in range(math.ceil(gib * 2**30 / (12 * LAYER))))
    optimiser = Adam(model.parameters(), 0.0)
    descend(sum(p.sum() for p in model), optimiser)
    optimiser.zero_grad(set_to_none=True)
    return {"model": model, "optimiser": optimiser}


def main() -> None:
    """Write and read the state once, train with it, write the table."""
    chosen = common.options(__doc__, gib=(float, 4.0, "GiB of weights and Adam's averages"))
    parts, rows, saves = state(chosen.gib, chosen.device), [], []
    held = common.own_memory()

    def wait(t: int) -> dict:
        time.sleep(STEP)
        return {}

    def write(path: Path, content: dict, write=store.write) -> None:
        began = time.perf_counter()
        write(path, content)
        saves.append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "checkpoint"
        with common.watched(rows, "write"):
            store.write(path, {name: part.state_dict() for name, part in parts.items()})
        size = path.stat().st_size
        with common.watched(rows, "read"):
            store.read(path)
        path.unlink()
        steps = math.ceil(42 * rows[0]["seconds"] / STEP)  # for two saves and the time that each of them asks for
        store.write = write
        with common.watched(rows, "training"):
            training.fit("training", parts, wait, steps, seed=0, checkpoint=path, points=1, save_minutes=0)
    for row in rows:
        row["memory at most, MiB"] -= held
        row["saves"] = len(saves) if row["stage"] == "training" else ""
        row["share of the time"] = sum(saves) / row["seconds"] if row["stage"] == "training" else ""
    about = (
        f"A state of {size / 2**30:.2f} GiB. Memory: beside that of the state. Steps of {STEP} s, saved as often as "
        "allowed."
    )
    common.report("checkpoint", rows, chosen.device, about)


if __name__ == "__main__":
    common.run(main)
