"""What images are compared by: the features of a network, and the name of the distance taken on them."""

import os
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ..errors import RalkitError
from ..inception import TAPS, largest_tap, load_inception
from ..training import History, seeded
from ..vqvae import to_float, to_uint8
from . import faces
from .presets import WorldConfig
from .project import Project
from .trainer import Trainer, in_batches

FACES = 20_000  # faces drawn to teach the factor network; as many as a large data set has would fill the memory


class Features:
    """The features of images by the network `source`, with the factor network beside it.

    `source` is "faces" (the classifier of the faces' factors, no download), "inception" (the paper's, downloaded), or a
    file with that one's weights; ":768" and the like after either chooses another tap than 2048. "auto" is the file in
    data/ where there is one and the images are not the faces, else "faces". Raises RalkitError, before anything is
    trained, for a source or a tap that is not there.
    """

    def __init__(self, source: str, project: Project, config: WorldConfig, trainer: Trainer):
        self.config, self.seed, self.trainer = config, project.seed, trainer
        if source == "auto":
            files = sorted((project.root / "data").glob("*inception-2015-12-05*.pth"))
            own = project.dataset == "faces" or not files
            source = "faces" if own else f"{files[0]}:{largest_tap(files[0])}"
        self.source, _, tap = source.partition(":")
        if tap and (not tap.isdigit() or int(tap) not in TAPS):
            raise RalkitError(f"--features {source}: after the colon stands a tap, {', '.join(map(str, TAPS))}")
        self.tap = int(tap or 2048)
        if self.source not in ("faces", "inception"):
            if not os.path.isfile(self.source):
                raise RalkitError(f"--features {source}: no such file; give faces, inception, or a file of its weights")
            if largest_tap(self.source) < self.tap:
                raise RalkitError(
                    f"--features {source}: the file holds the network up to tap {largest_tap(self.source)}; ask for "
                    f"{self.source}:{largest_tap(self.source)}"
                )

    @property
    def name(self) -> str:
        """The source as `Features` takes it."""
        return "faces" if self.source == "faces" else f"{self.source}:{self.tap}"

    @property
    def metric(self) -> str:
        """The Frechet distance's name, which says on what network it is taken: FD-faces, FID-2048, FID-768, ..."""
        return "FD-faces" if self.source == "faces" else f"FID-{self.tap}"

    @property
    def inputs(self) -> tuple:
        """What the features are made of, for the keys of artefacts."""
        return self.factor_inputs if self.source == "faces" else (self.metric,)

    @property
    def factor_inputs(self) -> tuple:
        """What the factor network is made of."""
        c = self.config
        return c.factors, faces.DRAWING_RECIPE, c.size, min(c.n_train, FACES), self.seed, faces.FACTORS_RECIPE

    @property
    def factor_network(self) -> tuple[str, tuple]:
        """Name and inputs of the factor network's artefact."""
        return "factor network", self.factor_inputs

    @cached_property
    def factor_net(self) -> faces.FactorNet:
        """The network behind FD-faces, trained on the procedural faces whatever the data set is."""
        c = self.config
        with seeded(self.seed):
            net = self.trainer.place(faces.FactorNet(c.factors.channels))

        def train(**options) -> History:
            images, factors = faces.faces(min(c.n_train, FACES), c.size, seed=self.seed)
            return faces.train_factors(net, images, factors, c.factors, **options)

        self.trainer.fit(*self.factor_network, {"net": net}, self.seed, train)
        return net

    @cached_property
    def _net(self) -> Callable[[Tensor], Tensor]:
        if self.source == "faces":
            net = self.factor_net
            return lambda x: net.features(to_float(x) if x.dtype == torch.uint8 else x)
        net = self.trainer.place(load_inception(self.tap, None if self.source == "inception" else self.source))
        return lambda x: net(x if x.dtype == torch.uint8 else to_uint8(x))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, D) of uint8 images, or of float ones in [-1, 1], (N, 3, S, S)."""
        return in_batches(lambda x: self._net(x.to(self.trainer.device)), images, batch=250)

    @torch.no_grad()
    def factors(self, images: Tensor) -> Tensor:
        """The factors (N, F) that the classifier sees in images (N, 3, S, S) in [-1, 1], on the CPU."""
        return in_batches(self.factor_net.predict, images, batch=250).cpu()
