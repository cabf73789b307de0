"""Networks that are trained once on a device and kept, and how training is fitted to the machine."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import RalkitError
from ..training import History
from .artefacts import Artefacts
from .presets import Preset
from .progress import PROGRESS


@dataclass(frozen=True)
class Fitting:
    """How training is fitted to a machine; no result changes by it but by rounding."""

    device: str | None = None  # None: the GPU where there is one, else the CPU
    at_once: int | None = None  # images whose activations a step keeps together; None: its batch
    recompute: bool = False  # priors compute activations again in the backward pass, to keep fewer
    bf16: bool = False  # training steps, but those of critics, under autocast to bfloat16
    save_minutes: float = 1 / 3  # between two checkpoints, at least

    def __post_init__(self):
        if self.at_once is not None and self.at_once < 1:
            raise RalkitError(f"--at-once is {self.at_once}; it must be 1 or more images")
        if not 0 <= self.save_minutes < float("inf"):
            raise RalkitError(f"--save-minutes is {self.save_minutes}; it must be 0 or more minutes")

    def flags(self) -> list[str]:
        """The command line's options that say the same."""
        flags = []
        for name, value in asdict(self).items():
            option = f"--{name.replace('_', '-')}"
            if value is True:
                flags.append(option)
            elif value is not None and value is not False:
                flags += [option, str(value)]
        return flags


def find_device(preset: Preset, wanted: str | None) -> torch.device:
    """The device to train on; RalkitError for one that torch does not see, and for a GPU preset without a GPU."""
    if preset.needs_cuda and not torch.cuda.is_available():
        raise RalkitError(
            f"the preset {preset.name} needs a CUDA GPU and torch sees none; use --preset quick, or install a CUDA "
            "build of torch"
        )
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise RalkitError(f"--device {wanted}: torch sees no such device; give cpu, cuda, or cuda:1") from error
    return device


class Trainer:
    """Train networks on a device, or read what was trained before.

    `histories` holds those of the networks that were asked for, by name; `on_point` is told of every point of a
    training's curve (`training.fit`), and shows it (`progress`).
    """

    def __init__(self, folder: Path, device: torch.device, points: int, fitting: Fitting):
        self.artefacts, self.device, self.points, self.fitting = Artefacts(folder), device, points, fitting
        self.histories: dict[str, History] = {}
        self.on_point: Callable[[str, int, History], None] = PROGRESS.point

    def place(self, net: nn.Module) -> nn.Module:
        """A network of images on the device; channels last, which its convolutions are faster with."""
        return net.to(self.device, memory_format=torch.channels_last)

    def fit(
        self, name: str, inputs: tuple, modules: dict[str, nn.Module], seed: int, train: Callable[..., History]
    ) -> set[str]:
        """Give `modules` their trained weights: from the artefact, or by `train(**options)`, the options of `fit`.

        Returns the names of those that have weights, as `Artefacts.fit` does.
        """

        @torch.enable_grad()  # a network that is first asked for while something is measured is trained then
        def make(checkpoint: Path) -> History:
            return train(
                name=name, seed=seed, checkpoint=checkpoint, points=self.points, bf16=self.fitting.bf16,
                save_minutes=self.fitting.save_minutes, on_point=lambda *point: self.on_point(*point),
                on_step=PROGRESS.step,
            )  # fmt: skip

        self.histories[name], weighted = self.artefacts.fit(name, inputs, modules, make)
        return weighted

    def tensor(self, name: str, inputs: tuple, make: Callable[[], Tensor]) -> Tensor:
        """A tensor on the device: read, or made by `make()` and kept."""
        return self.artefacts.get(name, inputs, lambda _: make().cpu()).to(self.device)


def in_batches(f: Callable[..., Tensor], *x: Tensor, batch: int = 500) -> Tensor:
    """f(x, ...), a batch of rows at a time."""
    return torch.cat([f(*part) for part in zip(*(a.split(batch) for a in x), strict=True)])
