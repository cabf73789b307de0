"""The FID network: its blocks and numbers, TensorFlow's resize, and every sentence a user may meet."""

import io
import math
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ralkit.course import data
from ralkit.errors import RalkitError
from ralkit.inception import FILE, TAPS, URL, Conv, Inception, load_inception, resize_tf1
from ralkit.metrics import frechet_distance
from ralkit.vqvae import to_float, to_uint8

SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "weights/inception-2015-12-05-to-mixed_7a.pth"
CELEBA = SHARED / "datasets/celeba64.zip"
needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="no weights of the FID network in shared/weights")
needs_celeba = pytest.mark.skipif(not CELEBA.exists(), reason="no copy of CelebA in shared/datasets")


def images(n: int, height: int = 20, width: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8)


@pytest.fixture
def small(tmp_path) -> Path:
    """A file of the network up to tap 64, with random weights and batch norms that do something."""
    state = Inception(64).state_dict()
    for key in state:
        if ".bn." in key and state[key].is_floating_point():
            state[key] = torch.rand_like(state[key]) + 0.5
    torch.save(state, tmp_path / "small.pth")
    return tmp_path / "small.pth"


# ---- The network ----


@pytest.mark.parametrize("tap", TAPS)
def test_every_tap_has_its_number_of_features(tap):
    with torch.no_grad():
        features = Inception(tap).eval()(images(2))
    assert features.shape == (2, tap)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(7, 5), (9, 21), (11, 11)])
def test_resize_is_tensorflows(height, width):
    """Against the definition, pixel by pixel: enlarged, made smaller, unchanged."""
    x, size = torch.rand(2, 3, height, width), 11
    expected = np.zeros((2, 3, size, size))
    for i in range(size):
        for j in range(size):
            y, top = math.modf(i * height / size)
            z, left = math.modf(j * width / size)
            rows, columns = [int(top), min(int(top) + 1, height - 1)], [int(left), min(int(left) + 1, width - 1)]
            corners = x.double().numpy()[:, :, rows][..., columns]
            expected[:, :, i, j] = np.einsum("bcyz,y,z->bc", corners, [1 - y, y], [1 - z, z])
    np.testing.assert_allclose(resize_tf1(x, size).numpy(), expected, atol=1e-6)
    if height == width == size:
        assert torch.equal(resize_tf1(x, size), x)


def test_pixels_become_minus_one_to_one(monkeypatch):
    seen = []
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: seen.append(x) or x)
    Inception(64)(torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    assert seen[0].shape == (1, 3, 299, 299)
    assert seen[0][0, :, 7, 9].tolist() == [-1, 0, 127 / 128]


def test_batch_norm_has_tensorflows_epsilon():
    conv, x = Conv(2, 3, 1).eval(), torch.randn(4, 2, 5, 5)
    nn.init.constant_(conv.bn.running_var, 1 - 1e-3)  # as in the published weights: the norm is only a bias
    nn.init.normal_(conv.bn.bias)
    expected = (conv.conv(x) + conv.bn.bias.view(1, 3, 1, 1)).relu()
    torch.testing.assert_close(conv(x), expected)


def test_pools_inside_the_blocks_are_tensorflows():
    pools = {name: block.pool for name, block in Inception(2048).named_children() if name.startswith("Mixed")}
    for name, pool in pools.items():
        if name in ("Mixed_6a", "Mixed_7a", "Mixed_7c"):
            assert isinstance(pool, nn.MaxPool2d), name
            assert (pool.stride, pool.padding) == ((1, 1) if name == "Mixed_7c" else (2, 0)), name
        else:
            assert isinstance(pool, nn.AvgPool2d) and not pool.count_include_pad, name


def test_the_blocks_that_no_local_file_has_are_named_and_shaped_as_published():
    """Mixed_7b and Mixed_7c; `test_names_and_shapes_are_the_files` checks the others."""
    state = Inception(2048).state_dict()
    for block, channels in ("Mixed_7b", 1280), ("Mixed_7c", 2048):
        convs = {key: tuple(w.shape) for key, w in state.items() if key.startswith(block) and "conv" in key}
        assert convs == {
            f"{block}.branch1x1.conv.weight": (320, channels, 1, 1),
            f"{block}.branch3x3_1.conv.weight": (384, channels, 1, 1),
            f"{block}.branch3x3_2a.conv.weight": (384, 384, 1, 3),
            f"{block}.branch3x3_2b.conv.weight": (384, 384, 3, 1),
            f"{block}.branch3x3dbl_1.conv.weight": (448, channels, 1, 1),
            f"{block}.branch3x3dbl_2.conv.weight": (384, 448, 3, 3),
            f"{block}.branch3x3dbl_3a.conv.weight": (384, 384, 1, 3),
            f"{block}.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
            f"{block}.branch_pool.conv.weight": (192, channels, 1, 1),
        }


def test_only_the_blocks_needed_are_built():
    assert [name for name, _ in Inception(64).named_children()][-1] == "pool1"
    assert [name for name, _ in Inception(768).named_children()][-1] == "Mixed_6e"


def test_loaded_network_is_frozen_and_leaves_the_random_state(small):
    before = torch.get_rng_state()
    network = load_inception(64, small)
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    plain = Inception(64).eval()
    plain.load_state_dict(torch.load(small, weights_only=True))
    x = images(3)
    torch.testing.assert_close(network(x), plain(x).detach())
    torch.testing.assert_close(network(x[1:2]), network(x)[1:2])


# ---- The weights ----


@needs_weights
def test_names_and_shapes_are_the_files():
    state = torch.load(WEIGHTS, weights_only=True)
    ours = Inception(2048).state_dict()
    assert {key.split(".")[0] for key in ours.keys() - state.keys()} == {"Mixed_7b", "Mixed_7c"}
    assert all(ours[key].shape == value.shape for key, value in state.items())
    needed = {key: value for key, value in state.items() if not key.startswith("Mixed_7")}
    Inception(768).load_state_dict(needed, strict=True)


@needs_weights
@pytest.mark.parametrize(
    ("tap", "norm", "first"),
    [
        (64, 23.205870, [2.011597, 1.417173, 3.068969, 0.420138, 1.808211]),
        (192, 43.804188, [4.620234, 0.321467, 5.215411, 2.394092, 1.843066]),
        (768, 2.211083, [0.195587, 0.0, 0.000447, 0.020058, 0.001038]),
    ],
)
def test_features_are_those_of_torch_fidelity(tap, norm, first):
    """The numbers are what torch-fidelity 0.4.0 gives with the same weights."""
    x = (torch.arange(3 * 40 * 48) ** 2 // 50 % 256).to(torch.uint8).view(1, 3, 40, 48)
    features = load_inception(tap, WEIGHTS)(x)[0]
    assert features.norm().item() == pytest.approx(norm, rel=1e-5)
    assert features[:5].tolist() == pytest.approx(first, abs=1e-5)


@needs_weights
@needs_celeba
def test_noise_is_far_from_faces(tmp_path):
    """FID-768 between two halves of 200 faces, and between one half and itself under noise."""
    faces = data.load(str(CELEBA), 64, 200, 1, cache=tmp_path).train
    noised = to_uint8(to_float(faces[:100]) + 0.3 * torch.randn(100, 3, 64, 64))
    network = load_inception(768, WEIGHTS)
    one, other, bad = (torch.cat([network(x) for x in part.split(8)]) for part in (faces[:100], faces[100:], noised))
    assert 3 * frechet_distance(one, other) < frechet_distance(one, bad)


# ---- Sentences ----


def sentence(*arguments) -> str:
    with pytest.raises(RalkitError) as error:
        load_inception(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_tap():
    assert sentence(100) == "No tap 100 in the FID network: ask for one of 64, 192, 768, 2048."


def test_images_of_another_type():
    with pytest.raises(RalkitError, match=r"got torch\.float32 images: give uint8"):
        Inception(64)(torch.zeros(1, 3, 20, 20))


def test_missing_file(tmp_path):
    assert sentence(64, tmp_path / "absent.pth").startswith(f"No weights file {tmp_path / 'absent.pth'}: give its path")


@pytest.mark.parametrize("damage", ["empty", "cut short", "text", "a folder"])
def test_damaged_file(small, damage):
    whole = small.read_bytes()
    small.unlink()
    if damage == "a folder":
        small.mkdir()
    else:
        small.write_bytes({"empty": b"", "cut short": whole[: len(whole) // 2], "text": b"<html>Not found"}[damage])
    assert sentence(64, small).startswith(f"{small} cannot be read as weights (")


@pytest.mark.parametrize("content", [torch.zeros(3), {"weight": torch.zeros(3)}, {3: 4}, "narrower", "stem only"])
def test_another_networks_file(small, content):
    state = torch.load(small, weights_only=True)
    if content == "narrower":
        content = state | {"Conv2d_2a_3x3.conv.weight": torch.zeros(31, 32, 3, 3)}
    if content == "stem only":
        content = {key: value for key, value in state.items() if key.startswith("Conv2d_1a")}
    torch.save(content, small)
    assert sentence(64, small).startswith(f"{small} does not hold the FID network: give {FILE}")


def test_file_without_the_blocks_needed(small):
    expected = f"{small} holds the network up to pool1, tap 192 needs more: ask for tap 64, or give no file"
    assert sentence(192, small).startswith(expected)


@needs_weights
def test_file_without_the_last_blocks():
    assert f"{WEIGHTS.name} holds the network up to Mixed_7a, tap 2048 needs more: ask for tap 768" in sentence(
        2048, WEIGHTS
    )


def test_more_than_the_blocks_needed_is_ignored(small):
    state = torch.load(small, weights_only=True)
    torch.save(state | {"fc.weight": torch.zeros(1008, 2048), "AuxLogits.fc.bias": torch.zeros(9)}, small)
    assert load_inception(64, small)(images(1)).shape == (1, 64)


def test_download(small, monkeypatch):
    asked = {}

    def fetch(url, **options):
        asked.update(options, url=url)
        return torch.load(small, weights_only=True)

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    x = images(1)
    assert torch.equal(load_inception(64)(x), load_inception(64, small)(x))
    assert asked == dict(url=URL, file_name=FILE, check_hash=True, weights_only=True, map_location="cpu")
    assert torch.hub.HASH_REGEX.search(FILE).group(1) == "6726825d"  # the part that torch.hub holds the file against


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (urllib.error.URLError("Name or service not known"), f"{URL} cannot be downloaded (<urlopen error Name"),
        (
            urllib.error.HTTPError(URL, 404, "Not Found", {}, io.BytesIO()),
            f"{URL} cannot be downloaded (HTTP Error 404",
        ),
        (RuntimeError('invalid hash value (expected "6726825d", got "0")'), f"{URL} arrived damaged: delete "),
    ],
)
def test_failed_download(monkeypatch, failure, expected):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    assert sentence(64).startswith(expected)
