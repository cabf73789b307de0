"""Several processes that train as one, under torchrun: what each rank has to share with the others.

A batch of a configuration is that of all ranks together: each takes its share of it, with random numbers of its own,
and a step of all of them is the step that one process takes on the joined batch. Alone, nothing here does anything.
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
    """Inside, the processes that torchrun has started know each other; each has a GPU of its own, or gloo on CPUs."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    gpus, own = torch.cuda.device_count() if torch.cuda.is_available() else 0, int(os.environ["LOCAL_RANK"])
    if gpus:
        if own >= gpus:
            raise RalkitError(f"process {own + 1} of this machine finds {gpus} GPU(s); start no more than one for each")
        torch.cuda.set_device(own)
    # What is no tensor goes by gloo: with NCCL a CPU would wait for its GPU. A rank may wait while another reads data.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(days=1))
    yield  # after an error the others hang: torchrun ends them, a clean farewell here would wait for them
    dist.barrier()  # with gloo, one that leaves early can take down those that are still at work
    dist.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def local_seed(seed: int) -> int:
    """The seed of this rank's random numbers; the first rank's is `seed` itself."""
    return seed + 1_000_003 * rank()


def local_batch(batch: int) -> int:
    """How much of a batch this rank takes; raises RalkitError if the ranks do not divide it."""
    if batch % world_size():
        raise RalkitError(f"{world_size()} processes do not divide a batch of {batch}")
    return batch // world_size()


def all_reduce_sum(x: Tensor) -> Tensor:
    """x, in place, summed over the ranks."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def broadcast_tensor(x: Tensor) -> Tensor:
    """x, in place, as the first rank has it."""
    if world_size() > 1:
        dist.broadcast(x, 0)
    return x


def all_gather(x: Tensor) -> Tensor:
    """x (B, ...) of all ranks, one after the other: (world B, ...)."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def local_rows(x: Tensor) -> Tensor:
    """This rank's rows of what is made of everyone's, (world B, ...) -> (B, ...)."""
    return x.chunk(world_size())[rank()]


def broadcast(value: Any) -> Any:
    """The first rank's value."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]


def gather_objects(value: Any) -> list[Any]:
    """Every rank's value."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Gradients of means over shares become those of the mean over the joined batch."""
    if world_size() == 1:
        return
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    for sum_of in [dist.all_reduce(g, async_op=True) for g in gradients]:
        sum_of.wait()
    torch._foreach_div_(gradients, world_size())


def broadcast_modules(*modules: nn.Module) -> None:
    """Every rank begins with the first one's weights."""
    for module in modules:
        for x in module.state_dict().values():
            broadcast_tensor(x)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """What the first rank does inside is done when the others begin: a file that it writes is there for them."""
    if rank() > 0:
        dist.barrier()
    yield
    if world_size() > 1 and rank() == 0:
        dist.barrier()
