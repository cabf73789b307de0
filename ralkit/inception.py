"""The Inception network of the FID papers (TensorFlow, 2015-12-05): what images are compared by.

uint8 images (N, 3, S, S') -> 299x299, (pixel - 128) / 128 -> blocks up to a tap -> mean over space: features (N, tap)

The blocks are those of Szegedy et al. 2016 with what the released graph has of its own: averages that leave the
padding out, and a max pool in Mixed_7c. Their names are torchvision's, because those of the public weights are.
"""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .errors import RalkitError

TAPS = {64: "pool1", 192: "pool2", 768: "Mixed_6e", 2048: "Mixed_7c"}  # features: the block they are taken from
FILE = "weights-inception-2015-12-05-6726825d.pth"  # the digits are the start of its SHA-256
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"


class Conv(nn.Module):
    """Convolution, batch norm, ReLU: (N, channels, H, W) -> (N, width, H', W')."""

    def __init__(
        self, channels: int, width: int, kernel: int | tuple[int, int], stride: int = 1, padding: str = "same"
    ):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Chains of convolutions side by side on one input (N, channels, H, W), their channels put together.

    A chain reads ["64 1x1", "96 3x3"]: 64 channels by 1x1, then 96 by 3x3; a last "384 1x3 3x1" is 384 by each.
    The chain `branch_pool` starts from the pooled input. With stride 2 the last convolutions halve the map.
    """

    def __init__(self, channels: int, pool: nn.Module, chains: dict[str, list[str]], stride: int = 1):
        super().__init__()
        self.pool, self.chains = pool, {branch: [] for branch in chains}
        for branch, steps in chains.items():
            before = channels
            for i, step in enumerate(steps, start=1):
                width, *kernels = step.split()
                number = f"_{i}" if len(steps) > 1 else ""
                names = [branch + number + letter for letter in ("ab" if len(kernels) > 1 else [""])]
                how = (stride, "valid") if stride > 1 and i == len(steps) else (1, "same")
                for name, kernel in zip(names, kernels, strict=True):
                    sides = tuple(int(side) for side in kernel.split("x"))
                    self.add_module(name, Conv(before, int(width), sides, *how))
                self.chains[branch].append(names)
                before = int(width)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch, steps in self.chains.items():
            ends = [self.pool(x) if branch == "branch_pool" else x]
            for names in steps:
                ends = [self.get_submodule(name)(ends[0]) for name in names]
            outputs += ends
        return torch.cat(outputs, 1)


class Inception(nn.Sequential):
    """The blocks that features of `tap` (64, 192, 768 or 2048) numbers need; raises RalkitError for another tap."""

    def __init__(self, tap: int):
        super().__init__()
        if tap not in TAPS:
            raise RalkitError(f"No tap {tap!r} in the FID network: ask for one of {', '.join(map(str, TAPS))}.")
        for name, block in _blocks():
            self.add_module(name, block)
            if name == TAPS[tap]:
                break

    def forward(self, images: Tensor) -> Tensor:
        """uint8 images (N, 3, S, S') -> float32 features (N, tap); raises RalkitError for images of another type."""
        if images.dtype != torch.uint8:  # those in [-1, 1] would give features, all of them wrong
            raise RalkitError(f"The FID network got {images.dtype} images: give uint8, by ralkit.vqvae.to_uint8.")
        return super().forward((resize_tf1(images.float()) - 128) / 128).mean((2, 3))


def resize_tf1(x: Tensor, size: int = 299) -> Tensor:
    """Bilinear as in TensorFlow 1, pixel i taken at i * H / size: float (..., H, W) -> (..., size, size)."""
    for dim, shape in (-1, (1, -1)), (-2, (-1, 1)):
        n = x.shape[dim]
        at = torch.arange(size, device=x.device) * (n / size)
        low = at.long()
        high = (low + 1).clamp(max=n - 1)
        x = torch.lerp(x.index_select(dim, low), x.index_select(dim, high), at.frac().view(shape))
    return x


def load_inception(tap: int, weights: str | Path | None = None) -> Inception:
    """The network up to `tap`, in eval mode and frozen, with the weights of a file, by default the published one.

    That one is downloaded once (91 MiB) into torch.hub's folder, its SHA-256 checked. Raises RalkitError for an unknown
    tap, a failed download, and a file that is missing, damaged, of another network or without the blocks needed.
    """
    with torch.device("meta"):  # no numbers are drawn: the caller's random state stays as it is
        network = Inception(tap)
    state, source = (_download(), URL) if weights is None else (_read(weights), weights)
    try:
        missing = network.load_state_dict(state, strict=False, assign=True).missing_keys
    except Exception as error:  # of shapes, of types, of keys: there is no end of other files
        raise RalkitError(_another(source)) from error
    if missing:
        lost = {key.split(".")[0] for key in missing}
        held = list(takewhile(lambda name: name not in lost, dict(network.named_children())))
        taps = [t for t in TAPS if TAPS[t] in held]
        if not taps:
            raise RalkitError(_another(source))
        raise RalkitError(
            f"{source} holds the network up to {held[-1]}, tap {tap} needs more: ask for tap {taps[-1]}, or give no "
            "file, so that the whole network is downloaded."
        )
    network.eval().requires_grad_(False)
    for block in network.modules():
        if isinstance(block, Conv):  # the norm becomes weights and bias of the convolution: 1.3 times as fast on a CPU
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
    return network.to(memory_format=torch.channels_last)  # 1.6 times as fast on a CPU


def largest_tap(weights: str | Path) -> int:
    """The deepest tap that a weights file holds the network for; raises RalkitError as `load_inception` does."""
    state = _read(weights)
    held = [tap for tap, block in TAPS.items() if block.startswith("pool") or any(k.startswith(block) for k in state)]
    return held[-1]


def _another(source: str | Path) -> str:
    return f"{source} does not hold the FID network: give {FILE}, or no file, so that it is downloaded."


def _read(weights: str | Path) -> dict[str, Tensor]:
    try:
        return torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RalkitError(f"No weights file {weights}: give its path, or no file, so that it is downloaded.") from error
    except Exception as error:  # what a damaged file raises depends on the damage
        raise RalkitError(
            f"{weights} cannot be read as weights ({type(error).__name__}): copy it again, or give no file, so that it "
            "is downloaded."
        ) from error


def _download() -> dict[str, Tensor]:
    load = torch.hub.load_state_dict_from_url
    try:
        return load(URL, map_location="cpu", check_hash=True, file_name=FILE, weights_only=True)
    except OSError as error:
        raise RalkitError(
            f"{URL} cannot be downloaded ({error}): go online once, or give the path of a copy of the file."
        ) from error
    except Exception as error:
        raise RalkitError(
            f"{URL} arrived damaged: delete {Path(torch.hub.get_dir(), 'checkpoints', FILE)} if it is there, then run "
            "the same command again."
        ) from error


def _blocks() -> Iterator[tuple[str, nn.Module]]:
    """The blocks of the network in order with their names, each built when it is asked for."""
    yield "Conv2d_1a_3x3", Conv(3, 32, 3, 2, "valid")
    yield "Conv2d_2a_3x3", Conv(32, 32, 3, 1, "valid")
    yield "Conv2d_2b_3x3", Conv(32, 64, 3)
    yield "pool1", nn.MaxPool2d(3, 2)
    yield "Conv2d_3b_1x1", Conv(64, 80, 1)
    yield "Conv2d_4a_3x3", Conv(80, 192, 3, 1, "valid")
    yield "pool2", nn.MaxPool2d(3, 2)
    average = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    for name, channels, pooled in ("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64):
        chains = {
            "branch1x1": ["64 1x1"],
            "branch5x5": ["48 1x1", "64 5x5"],
            "branch3x3dbl": ["64 1x1", "96 3x3", "96 3x3"],
            "branch_pool": [f"{pooled} 1x1"],
        }
        yield name, Mixed(channels, average, chains)
    chains = {
        "branch3x3": ["384 3x3"],
        "branch3x3dbl": ["64 1x1", "96 3x3", "96 3x3"],
        "branch_pool": [],
    }
    yield "Mixed_6a", Mixed(288, nn.MaxPool2d(3, 2), chains, stride=2)
    for name, n in ("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192):
        chains = {
            "branch1x1": ["192 1x1"],
            "branch7x7": [f"{n} 1x1", f"{n} 1x7", "192 7x1"],
            "branch7x7dbl": [f"{n} 1x1", f"{n} 7x1", f"{n} 1x7", f"{n} 7x1", "192 1x7"],
            "branch_pool": ["192 1x1"],
        }
        yield name, Mixed(768, average, chains)
    chains = {
        "branch3x3": ["192 1x1", "320 3x3"],
        "branch7x7x3": ["192 1x1", "192 1x7", "192 7x1", "192 3x3"],
        "branch_pool": [],
    }
    yield "Mixed_7a", Mixed(768, nn.MaxPool2d(3, 2), chains, stride=2)
    for name, channels, pool in ("Mixed_7b", 1280, average), ("Mixed_7c", 2048, nn.MaxPool2d(3, 1, 1)):
        chains = {
            "branch1x1": ["320 1x1"],
            "branch3x3": ["384 1x1", "384 1x3 3x1"],
            "branch3x3dbl": ["448 1x1", "384 3x3", "384 1x3 3x1"],
            "branch_pool": ["192 1x1"],
        }
        yield name, Mixed(channels, pool, chains)
