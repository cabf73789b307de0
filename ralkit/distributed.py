"""Several processes (ranks) that train as one under torchrun: what they share.

The batch of a configuration is that of all ranks together. Each rank takes its share of it, with its own random
numbers, and their common step is the step that one process takes on the joined batch. In a single process every
function here leaves things as they are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .errors import RalkitError


@contextmanager
def process_group() -> Iterator[None]:
    """Connect the processes that torchrun started; each has its own GPU, or all use CPUs.

    Raises RalkitError if there are more processes than GPUs.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    gpus, own = torch.cuda.device_count() if torch.cuda.is_available() else 0, int(os.environ["LOCAL_RANK"])
    if gpus:
        if own >= gpus:
            raise RalkitError(f"process {own + 1} of this machine finds {gpus} GPU(s); start no more than one for each")
        torch.cuda.set_device(own)
    # Objects and CPU tensors go by gloo: with NCCL a CPU would wait for its GPU. A rank may wait for a day, because
    # another may be reading data.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(days=1))
    yield  # after an error the others hang: torchrun ends them, a clean farewell here would wait for them
    dist.barrier()  # with gloo, one that leaves early can take down those that are still at work
    dist.destroy_process_group()


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; rank 0 reports and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_seed(seed: int) -> int:
    """The seed of this rank's random numbers; rank 0's is `seed` itself."""
    return seed + 1_000_003 * rank()


def local_batch(batch: int) -> int:
    """This rank's share of a batch; raises RalkitError if the number of ranks does not divide it."""
    if batch % world_size():
        raise RalkitError(f"{world_size()} processes do not divide a batch of {batch}")
    return batch // world_size()


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum x over the ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def broadcast_tensor(x: Tensor) -> Tensor:
    """Give x the values that rank 0 has, in place."""
    if world_size() > 1:
        dist.broadcast(x, 0)
    return x


def all_gather(x: Tensor) -> Tensor:
    """Join x (B, ...) of all ranks, in order of their rank: (world_size * B, ...)."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def local_rows(x: Tensor) -> Tensor:
    """Take this rank's rows of x; undoes `all_gather`: (world_size * B, ...) -> (B, ...)."""
    return x.chunk(world_size())[rank()]


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks, on every rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Average the gradients over the ranks: of losses that are means over shares, this is that of the joined batch."""
    if world_size() == 1:
        return
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    for sum_of in [dist.all_reduce(g, async_op=True) for g in gradients]:
        sum_of.wait()
    torch._foreach_div_(gradients, world_size())


def broadcast_modules(*modules: nn.Module) -> None:
    """Give every rank the weights that rank 0 has."""
    for module in modules:
        for x in module.state_dict().values():
            broadcast_tensor(x)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Rank 0 runs the block first; the others enter after it."""
    if rank() > 0:
        dist.barrier()
    yield
    if world_size() > 1 and rank() == 0:
        dist.barrier()
