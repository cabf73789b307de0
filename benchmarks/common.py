"""What the benchmarks share: a clock, the machine's floors, the models that are timed, and where results go."""

import argparse
import csv
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from ralkit.course.presets import WorldConfig
from ralkit.course.record import markdown_table
from ralkit.errors import RalkitError
from ralkit.prior import Attention, PixelCNN, PixelSNAIL, TwoStreamPrior, make_prior
from ralkit.training import device_name

RESULTS = Path(__file__).parent / "results"
K = 128


def own_memory() -> float:
    """Megabytes of memory that are this process's alone (Linux: RssAnon)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


@contextmanager
def watched(rows: list[dict], stage: str) -> Iterator[None]:
    """Add a row: how long what is inside took, and the most memory it held."""
    most, over = [own_memory()], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most.append(own_memory())

    thread, began = threading.Thread(target=watch), time.perf_counter()
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    rows.append({"stage": stage, "seconds": time.perf_counter() - began, "memory at most, MiB": max(most)})


def options(about: str, **more: tuple[Callable, object, str]) -> argparse.Namespace:
    """--device, and `more` options: name=(type, default, help). Raises RalkitError for a device that is not there."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    for name, (kind, default, text) in more.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {default})")
    torch.backends.cudnn.allow_tf32 = False  # as matrix products are by default: one rate for all
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise RalkitError("there is no CUDA GPU here; choose --device cpu")
    return chosen


def numbers(text: str) -> list[int]:
    """What an option like --sides 8,16 stands for."""
    return [int(word) for word in text.split(",")]


def run(main: Callable[[], None]) -> None:
    """main(), which ends with a sentence where something is wrong with what was asked for."""
    try:
        main()
    except RalkitError as error:
        sys.exit(f"benchmarks: {error}")


def seconds(f: Callable[[], object], device: str) -> float:
    """How long f() takes, until the device has finished."""
    finish = torch.cuda.synchronize if device == "cuda" else lambda: None
    finish()
    began = time.perf_counter()
    f()
    finish()
    return time.perf_counter() - began


def turn(f: Callable[[], object], device: str, least: float) -> float:
    """How long f() takes, on average over as many runs as fill `least` seconds."""
    took = [seconds(f, device)]
    while sum(took) < least:
        took.append(seconds(f, device))
    return sum(took) / len(took)


def best_in_turns(fs: Sequence[Callable[[], object]], device: str, budget: float = 2.0) -> list[float]:
    """Seconds that each f takes in the best of its turns, after a run that warms up, in `budget` seconds of each.

    A turn is half a second (a quarter of the budget, if that is less), or one run. What else the machine does only ever
    adds to a time, so the best is the one to ask for; but a short run escapes it more often than a long one, so turns,
    not runs, are compared.
    """
    for f in fs:
        seconds(f, device)
    turns, began = [], time.perf_counter()
    while time.perf_counter() - began < 0.9 * budget * len(fs):
        turns.append([turn(f, device, min(0.5, budget / 4)) for f in fs])
    return [min(own) for own in zip(*turns, strict=True)]


def best(f: Callable[[], object], device: str, budget: float = 2.0) -> float:
    """`best_in_turns` of f alone."""
    return best_in_turns([f], device, budget)[0]


def bandwidth(device: str, megabytes: int = 512) -> float:
    """Bytes a second that the device's memory gives and takes, from copying a block that no cache holds."""
    block = torch.empty(megabytes * 2**20, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    return 2 * block.numel() / best(lambda: other.copy_(block), device)


def product(device: str, rows: int = 1024, dtype: torch.dtype = torch.float32) -> tuple[Callable[[], object], float]:
    """A matrix product of side `rows`, and how many floating-point operations it is."""
    a, b = torch.randn(2, rows, rows, device=device, dtype=dtype)
    return lambda: a @ b, 2.0 * rows**3


def matrix_rate(device: str, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second of a matrix product."""
    f, operations = product(device, dtype=dtype)
    return operations / best(f, device)


def multiplications(prior: TwoStreamPrior, shape: tuple[int, int]) -> float:
    """Of one code, on average over a map of `shape`: every kernel has kept taps only, so it counts once.

    Products with the zeros beside the map are counted; the cached sampler leaves most of them out.
    """
    weights = [m.weight.numel() for m in prior.layers.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    weights += [m.weight.numel() for m in prior.head.modules() if isinstance(m, nn.Linear)]
    attention = sum(m.width for m in prior.layers if isinstance(m, Attention))
    return sum(weights) + attention * shape[0] * shape[1]  # half of the places, for keys and for values


def floor(prior: TwoStreamPrior, n: int, shape: tuple[int, int], rate: float, memory: float) -> dict[str, float]:
    """Seconds for sampling n maps of `shape`: by the arithmetic of all kept taps, and by reading the weights.

    A step reads the weights of the horizontal stream and the head, a row those of the vertical one.
    """
    codes = shape[0] * shape[1]
    parts = {name: p.numel() * p.element_size() for name, p in prior.named_parameters() if "embedding" not in name}
    rows = sum(size for name, size in parts.items() if "vertical" in name or "link" in name)
    steps = sum(parts.values()) - rows
    attention = sum(2 * m.width for m in prior.layers if isinstance(m, Attention))
    element = prior.embedding.weight.element_size()
    kept = element * n * attention * codes / 2  # bytes of keys and values that an average step looks at
    return {
        "arithmetic floor, s": 2 * multiplications(prior, shape) * n * codes / rate,
        "memory floor, s": ((steps + kept) * codes + rows * shape[0]) / memory,
    }


def models(device: str) -> dict[str, TwoStreamPrior]:
    """The priors that are timed: 64 channels, 5 layers, 5x5; PixelSNAIL with an attention after its last block."""
    torch.manual_seed(0)
    priors = {"PixelCNN": PixelCNN(K, 64, 5), "PixelSNAIL": PixelSNAIL(K, 64, 5, attention_layers=1)}
    return {name: prior.to(device).eval() for name, prior in priors.items()}


def priors_of(world: WorldConfig, device: str, dtype: torch.dtype = torch.float32) -> list[TwoStreamPrior]:
    """The untrained priors of every level, the top one first."""
    torch.manual_seed(0)
    K = world.vqvae.K
    priors = [make_prior(cfg, K, K if level else None) for level, cfg in enumerate(world.priors)]
    return [prior.to(device, dtype).eval() for prior in priors]


def report(name: str, rows: Iterable[dict], device: str, about: str) -> None:
    """Write rows to benchmarks/results/<name>-<device>.csv as they come, with what they were timed on; print all."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    on = f"{device_name(torch.device(device))}, {platform.machine()}; {versions}"
    RESULTS.mkdir(exist_ok=True)
    table = []
    for row in rows:
        table.append(row)
        with open(RESULTS / f"{name}-{device}.csv", "w", newline="") as file:
            file.write(f"# {about} {on}\n")
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
    print(f"{about}\n{on}\n\n{markdown_table(table)}")
