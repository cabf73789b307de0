import hashlib

import pytest
import torch
import torch.nn.functional as F

from ralkit.course.faces import (
    BLOCK,
    DRAWING_RECIPE,
    FACTORS,
    NUISANCES,
    PALETTES,
    FactorConfig,
    FactorNet,
    draw,
    faces,
    render,
    rgb,
    train_factors,
)  # fmt: skip
from ralkit.errors import RalkitError
from ralkit.vqvae import to_float


def test_shapes_and_determinism():
    images, factors = faces(5, 32, seed=3)
    again, same = faces(5, 32, seed=3)
    assert images.shape == (5, 3, 32, 32) and images.dtype == torch.uint8
    assert factors.shape == (5, len(FACTORS)) and factors.dtype == torch.int64
    assert images.equal(again) and factors.equal(same)


def test_the_pixels_are_those_of_the_recipe():
    """Where this fails because faces are meant to look otherwise, raise DRAWING_RECIPE with the digest."""
    images, factors = faces(50, 32, seed=3)
    digest = hashlib.sha256(images.numpy().tobytes() + factors.numpy().tobytes()).hexdigest()
    assert (DRAWING_RECIPE, digest[:16]) == (1, "98cf4d209055f011")


@pytest.mark.parametrize("size", [19, 32])
def test_a_face_does_not_depend_on_its_neighbours(size):
    start, n = BLOCK - 20, 300  # over the edge of a block, and of a chunk
    images, factors = faces(n, size, seed=1, start=start)
    for offset, length in [(0, 1), (7, 40), (141, 3), (n - 1, 1)]:
        some, their_factors = faces(length, size, seed=1, start=start + offset)
        assert some.equal(images[offset : offset + length])
        assert their_factors.equal(factors[offset : offset + length])


def test_a_face_is_the_same_at_every_size():
    small, factors = faces(64, 32)
    for size in (64, 128):
        large, same = faces(64, size)
        assert same.equal(factors)
        error = F.adaptive_avg_pool2d(large.float(), 32) - small.float()
        assert error.abs().mean() < 4  # of 255; two different faces are about 70 apart


def test_seeds_and_blocks_differ():
    (factors, nuisances), (other, _), (third, _) = draw(0, seed=0), draw(0, seed=1), draw(1, seed=0)
    assert not factors.equal(other) and not factors.equal(third) and not other.equal(third)
    assert nuisances.min() >= -1 and nuisances.max() <= 1 and nuisances.std() > 0.5


def test_every_value_occurs_with_its_weight():
    factors = torch.cat([draw(block, seed=0)[0] for block in range(4)])
    for column, (name, values) in zip(factors.T, FACTORS.items(), strict=True):
        shares = torch.bincount(column, minlength=len(values)) / len(column)
        expected = {"glasses": [1 / 2, 1 / 4, 1 / 4], "beard": [2 / 3, 1 / 6, 1 / 6]}
        expected = torch.tensor(expected.get(name, [1 / len(values)] * len(values)))
        assert shares.shape == expected.shape and (shares - expected).abs().max() < 0.04


@pytest.mark.parametrize("name", FACTORS)
def test_every_value_changes_the_picture(name):
    column, values = list(FACTORS).index(name), FACTORS[name]
    bases, nuisances = draw(0, seed=5)
    for base, nuisance in zip(bases[:8], nuisances[:8], strict=True):
        factors = base.repeat(len(values), 1)
        factors[:, column] = torch.arange(len(values))
        images = render(factors, nuisance.expand(len(values), -1), 32).int()
        for one in range(len(values)):
            for other in range(one):
                changed = (images[one] - images[other]).abs().amax(0) > 16
                assert changed.sum() >= 2, f"{name}: {values[one]} looks like {values[other]}"


@pytest.mark.parametrize("name", NUISANCES)
def test_every_nuisance_changes_the_picture(name):
    factors, nuisances = (part[:2] for part in draw(0, seed=0))
    moved = nuisances.clone()
    moved[:, NUISANCES.index(name)] *= -1
    assert not render(factors, nuisances, 32).equal(render(factors, moved, 32))


def test_both_eyes_have_the_colour_of_the_factor():
    factors, nuisances = draw(0, seed=2)
    images = render(factors[:24], torch.zeros_like(nuisances[:24]), 128)
    column = list(FACTORS).index("eye_colour")
    colours = (rgb(*PALETTES["eye_colour"].values())[factors[:24, column], :, 0, 0] * 255).round()
    for eye in (49, 78):  # columns through the centres of the eyes; row 72 is under the pupils
        assert images[:, :, 72, eye].equal(colours.to(torch.uint8))


@pytest.mark.parametrize("asked", [{"n": 0, "size": 32}, {"n": 1, "size": 15}, {"n": 1, "size": 32, "start": -1}])
def test_bad_input_is_refused(asked):
    with pytest.raises(RalkitError, match="faces need"):
        faces(**asked)


@pytest.mark.parametrize("size", [32, 64])
def test_factor_net_shapes(size):
    net = FactorNet(channels=8).eval()
    x = to_float(faces(3, size)[0])
    assert net.features(x).shape == (3, net.feature_dim)
    assert [logits.shape for logits in net(x)] == [(3, len(values)) for values in FACTORS.values()]
    predicted = net.predict(x)
    assert predicted.shape == (3, len(FACTORS)) and predicted.dtype == torch.int64
    assert predicted.equal(torch.stack([logits.argmax(1) for logits in net(x)], 1))


def test_factor_net_learns():
    net, (images, factors) = FactorNet(channels=16), faces(1024, 32)
    history = train_factors(net, images, factors, FactorConfig(steps=64, lr=3e-3), seed=0, points=2)
    assert history["step"][-1] == 64 and history["loss"][-1] < history["loss"][0]
    unseen, truth = faces(256, 32, seed=1)
    with torch.no_grad():
        accuracy = (net.eval().predict(to_float(unseen)) == truth).float().mean(0)
    accuracy = dict(zip(FACTORS, accuracy.tolist(), strict=True))
    assert min(accuracy["background"], accuracy["shirt"]) > 0.8, accuracy
