"""Pictures of few colours look like those of all."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ralkit.course import plots
from ralkit.course.faces import faces


def reduced(picture: np.ndarray) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(plots.png_of(Image.fromarray(picture)))).convert("RGB")).astype(int)


def test_few_colours_look_like_all_and_white_stays_white():
    images, _ = faces(16, 64, seed=3)
    sheet = np.pad(plots.tile(images, 4), ((8, 8), (8, 8), (0, 0)), constant_values=255)
    few = reduced(sheet)
    error = np.abs(few - sheet).max(2)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 2000 and len(np.unique(few.reshape(-1, 3), axis=0)) <= 256
    assert (few[:8] == 255).all()
    assert error.max() <= 40 and np.quantile(error, 0.99) <= 20  # a median cut: 61 and 30


@pytest.mark.parametrize("place", [np.s_[100:104, 60:64], np.s_[:, 121:122], np.s_[:, 122:123], np.s_[60:61]])
def test_a_small_red_mark_stays_red_among_many_colours(place):
    ramp = matplotlib.colormaps["magma"](np.linspace(0, 1, 300))[:, :3]
    noise = np.random.default_rng(0).normal(0, 12, (300, 300, 3))
    picture = (255 * ramp[None] + noise).clip(0, 255).astype(np.uint8)
    picture[place] = 255, 0, 0
    red, green, blue = reduced(picture)[place].reshape(-1, 3).T
    assert (red > 215).all() and (green < 60).all() and (blue < 60).all()
