import pytest
import torch

from ralkit.presets import get_preset
from ralkit.prior import PixelCNN
from ralkit.training import seeded


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def smoke():
    return get_preset("smoke")


def make_prior(K=7, channels=8, layers=3, k=5, output_layers=1, scale=2.0) -> PixelCNN:
    """An untrained prior with weights large enough that its probabilities are far from uniform."""
    with seeded(1):
        prior = PixelCNN(K, channels, layers, k, output_layers).eval()
    with torch.no_grad():
        for p in prior.parameters():
            p.mul_(scale)
    return prior
