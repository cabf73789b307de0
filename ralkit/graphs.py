"""CUDA graphs: the many small kernels of a function are recorded once, and launched together from then on."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch


def record_cuda_graph(f: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record what f() does on the GPU, and return a call that launches all of it at once.

    f must have run before, and is not run by the recording. All graphs of a device share one piece of memory, so only
    the latest of them may be used.
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
    """Return the stream for recording, and a graph that is never freed: it keeps the memory that the others share."""
    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    with _beside(stream):
        _capture(graph, lambda: torch.zeros(1, device=device))
    return stream, graph


@contextmanager
def _beside(stream: torch.cuda.Stream) -> Iterator[None]:
    """Launch work on `stream`: it runs after the work launched before this block, and before that launched after it."""
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


def _capture(graph: torch.cuda.CUDAGraph, f: Callable[[], object], *pool) -> None:
    """Capture what f() launches. `torch.cuda.graph` would first give back all memory that PyTorch keeps at hand."""
    with torch.inference_mode(False):  # the state of random numbers that this makes also serves captures elsewhere
        graph.capture_begin(*pool, capture_error_mode="thread_local")  # NCCL looks after its work in another thread
    try:
        f()
    except BaseException:
        with suppress(RuntimeError):  # that the capture is broken is not the error to report
            graph.capture_end()
        raise
    graph.capture_end()


# By kind of device: a function that takes one that has run once, and does the same to the same memory each time, and
# returns a cheaper one that does the same.
RECORDERS = {"cuda": record_cuda_graph}
