"""CUDA graphs: the many small kernels of a function, recorded once and launched together from then on."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch


def record_cuda_graph(f: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """A call that launches all that f() does on the GPU at once; f has been run before, and is not run by this.

    All graphs of a device share their memory, which stays theirs: only the latest may be used.
    """
    stream, pool = _capturing(device)
    graph = torch.cuda.CUDAGraph()
    with _beside(stream):
        _capture(graph, f, pool.pool())

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay


@functools.cache
def _capturing(device: torch.device) -> tuple[torch.cuda.Stream, torch.cuda.CUDAGraph]:
    """Where captures take place, and a graph that lives on: it keeps the memory that the others share."""
    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    with _beside(stream):
        _capture(graph, lambda: torch.zeros(1, device=device))
    return stream, graph


@contextmanager
def _beside(stream: torch.cuda.Stream) -> Iterator[None]:
    """Work goes to `stream`, after what has been begun, and before what comes next."""
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


def _capture(graph: torch.cuda.CUDAGraph, f: Callable[[], object], *pool) -> None:
    """Not by `torch.cuda.graph`: it first gives back all memory that PyTorch keeps at hand."""
    with torch.inference_mode(False):  # what this makes for random numbers has to serve captures elsewhere too
        graph.capture_begin(*pool, capture_error_mode="thread_local")  # NCCL looks after its work in another thread
    try:
        f()
    except BaseException:
        with suppress(RuntimeError):  # there is no graph; that is not what went wrong
            graph.capture_end()
        raise
    graph.capture_end()


# By kind of device: of a function that has run once, and does the same to the same memory each time, a cheaper one.
RECORDERS = {"cuda": record_cuda_graph}
