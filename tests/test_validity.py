"""The nearest face that can be drawn, and damage of known strength."""

import pytest
import torch

from ralkit.course.faces import FACTORS, faces
from ralkit.course.validity import DAMAGES, nearest_faces


class Knows:
    """A factor network that is always right."""

    def __init__(self, factors):
        self.factors = factors

    def predict(self, images):
        return self.factors


@pytest.fixture
def drawn():
    images, factors = faces(24, 32, seed=5)
    return images.float() / 127.5 - 1, factors


def test_a_face_is_found_again_and_what_is_no_face_is_far(drawn):
    images, factors = drawn
    near, far = nearest_faces(images, Knows(factors))
    assert near.shape == images.shape and near.abs().max() <= 1.001
    assert far.median() < 0.03
    assert ((near - images).square().mean((1, 2, 3)).sqrt() / 2 - far).abs().max() < 1e-5
    (_, wrong), (_, noise) = (
        nearest_faces(images, Knows(factors.roll(1, 0))),
        nearest_faces(torch.rand_like(images) * 2 - 1, Knows(factors)),
    )
    assert wrong.median() > 4 * far.median() and noise.median() > 4 * far.median()
    assert far.isfinite().all() and noise.isfinite().all()


def test_more_steps_come_nearer(drawn):
    images, factors = drawn
    none, some = (nearest_faces(images, Knows(factors), steps=n)[1].mean() for n in (0, 30))
    assert some < 0.6 * none


@pytest.mark.parametrize("name", [name for name in DAMAGES if name != "fewer kinds of hair"])
def test_damage_takes_images_away_from_faces_the_further_the_stronger(drawn, name):
    images, factors = drawn
    assert torch.allclose(DAMAGES[name](images, factors, 0.0), images, atol=1e-5)
    far = [nearest_faces(DAMAGES[name](images, factors, s), Knows(factors))[1].mean() for s in (0.0, 0.5, 1.0)]
    assert far[0] < far[1] < far[2]


def test_fewer_kinds_are_the_same_images_of_fewer_kinds(drawn):
    images, factors = drawn
    hair = factors[:, list(FACTORS).index("hair")]
    narrow = DAMAGES["fewer kinds of hair"](images, factors, 1.0)
    kept = images[hair == 0]
    assert len(narrow) == len(images)
    assert all(any(torch.equal(x, y) for y in kept) for x in narrow)
    assert torch.equal(DAMAGES["fewer kinds of hair"](images, factors, 0.0), images)
