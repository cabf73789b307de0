import contextlib
import os
import signal
from dataclasses import replace

import pytest
import torch
from standin import stand_in

from ralkit import training
from ralkit.course.presets import get_preset
from ralkit.prior import PixelCNN, PixelSNAIL, TwoStreamPrior
from ralkit.training import seeded

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side share the cores, and so do the processes that they start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


# Under nohup, or behind a script's &, signals are ignored from the start, and nothing could be tested of them.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def smoke():
    return get_preset("smoke")


@pytest.fixture
def tiny(smoke):
    """The smoke preset, smaller still."""
    return replace(
        smoke,
        n_train=64,
        n_test=64,
        vqvae=replace(smoke.vqvae, steps=3),
        factors=replace(smoke.factors, steps=3),
        oracle=replace(smoke.oracle, steps=3),
        generator=replace(smoke.generator, steps=3),
        ral=replace(smoke.ral, warmup=2, updates=2),
        n_oracle=64,
        n_eval=32,
        n_curve=32,
        points=1,
        seeds=1,
    )


@pytest.fixture
def always_saving(monkeypatch):
    """With save_minutes=0, a checkpoint before every step, however long the last one took."""
    monkeypatch.setattr(training, "SAVING", float("inf"))


@pytest.fixture
def cuda():
    """A CUDA GPU; where there is none, a stand-in for one."""
    with contextlib.nullcontext() if torch.cuda.is_available() else stand_in():
        yield


def enlarged(prior: TwoStreamPrior, scale: float) -> TwoStreamPrior:
    """The untrained prior with weights large enough that its probabilities are far from uniform."""
    with torch.no_grad():
        for p in prior.parameters():
            p.mul_(scale)
    return prior.eval()


def random_condition(prior: TwoStreamPrior, shape: tuple[int, int], n: int, K: int = 5) -> torch.Tensor | None:
    """Codes (n, H/2, W/2) of the level above maps of `shape`, if the prior is conditional."""
    conditional = getattr(prior, "condition_net", None) is not None
    return torch.randint(K, (n, shape[0] // 2, shape[1] // 2)) if conditional else None


def make_prior(K=7, channels=8, layers=3, k=5, output_layers=1, scale=2.0) -> PixelCNN:
    with seeded(1):
        return enlarged(PixelCNN(K, channels, layers, k, output_layers), scale)


def make_snail(K=7, channels=8, layers=2, k=3, output_layers=1, scale=2.0, **options) -> PixelSNAIL:
    with seeded(1):
        return enlarged(PixelSNAIL(K, channels, layers, k, output_layers, heads=2, **options), scale)
