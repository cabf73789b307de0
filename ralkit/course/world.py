"""A world: images, their VQ-VAE and its codes, where priors are trained and judged; levels are always tuples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import distributed
from ..errors import RalkitError
from ..metrics import fidelity, frechet_distance
from ..prior import PriorConfig, SnailConfig, TwoStreamPrior, make_prior
from ..protocols import Codes, Prior, own_and_above
from ..sampling import sample_levels
from ..training import VQVAE_RECIPE, seeded, train_vqvae
from ..vqvae import VQVAE, VQVAE2, as_levels, make_vqvae, to_float
from . import frozen
from .artefacts import Artefacts
from .data import Faces, ImageSet, load
from .features import Features
from .presets import Preset, get_preset
from .project import Project
from .trainer import Fitting, Trainer, find_device, in_batches

LEAST = 12  # images in each part: fidelity needs 6, and a covariance of fewer says nothing
FLOORS_RECIPE = 1  # raise it when the mathematics of the floors changes
Numbers = dict[str, float]


class Splits(Mapping):
    """The "train" and the "test" part of something, each made by `make(split)` when it is first asked for."""

    def __init__(self, make: Callable[[str], Any]):
        self.make, self.made = make, {}

    def __getitem__(self, split: str) -> Any:
        if split not in self:
            raise KeyError(split)
        if split not in self.made:
            self.made[split] = self.make(split)
        return self.made[split]

    def __contains__(self, split: object) -> bool:
        return split in ("train", "test")

    def __iter__(self) -> Iterator[str]:
        return iter(("train", "test"))

    def __len__(self) -> int:
        return 2


class World:
    """The images of a data set at a preset's size, with `levels` maps of codes (1 or 2).

    `seed` decides the faces and the VQ-VAE, and is the first of the priors' seeds; `features` is as `Features` takes
    it. With `pretrained` it is loaded from data/pretrained/ where a file there fits. Raises RalkitError for an unknown
    preset, device or network, and for levels that the preset does not have; a data set that cannot be read is reported
    when the images are first asked for.
    """

    def __init__(
        self,
        preset: str | Preset = "quick",
        dataset: str = "faces",
        seed: int = 1,
        *,
        levels: int | None = 2,
        features: str = "auto",
        root: Path | None = None,
        fitting: Fitting | None = None,
        pretrained: bool = False,
    ):
        preset = preset if isinstance(preset, Preset) else get_preset(preset)
        self.levels, self.seed, self.fitting = levels, seed, fitting or Fitting()
        self.device = find_device(preset, self.fitting.device)
        self.config, self.project = preset.world(levels), Project.of(preset, dataset, seed, root)
        self.frozen = None
        if pretrained and dataset == "faces":
            self.frozen = frozen.find(self.project, self.name, [Artefacts.file_name(*of) for of in self.networks])
        # A frozen world may have more seeds than the preset has the time to train.
        self.seeds = self.frozen.seeds if self.frozen else tuple(range(seed, seed + self.config.seeds))
        folder = self.frozen.folder if self.frozen else self.project.artefacts
        self.trainer = Trainer(folder, self.device, self.config.points, self.fitting)
        self.features = Features(features, self.project, self.config, self.trainer)
        self.metric = self.features.metric

    @property
    def name(self) -> str:
        return {1: "one level", 2: "two levels"}[self.levels]

    @property
    def weights(self) -> str:
        """Where the weights of this world come from: "trained here", or the version and digest of its file."""
        return str(self.frozen or "trained here")

    @property
    def networks(self) -> list[tuple[str, tuple]]:
        """Name and inputs of the networks that this world is made by; a frozen world fits if it has them."""
        return [(f"VQ-VAE {self.name}", self.vqvae_inputs)]

    @property
    def kept_maps(self) -> list[tuple[str, tuple]]:
        """Name and inputs of the codes that are frozen with this world: of the test images, but not two maps of them.

        Two maps are long. They are encoded again where they are needed, as those of the training images are.
        """
        return [self._codes("test")] if len(self.shapes) == 1 else []

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(H, W) of each level's code map, the top one first."""
        return self.config.shapes

    @property
    def level_names(self) -> tuple[str, ...]:
        """What the levels are called; a single one has no name."""
        return ("",) if len(self.shapes) == 1 else ("top", "bottom")

    # ---- Images ----

    @cached_property
    def images(self) -> ImageSet | Faces:
        c, p = self.config, self.project
        with distributed.rank_zero_first():
            return load(p.dataset, c.size, c.n_train, c.n_test, seed=self.seed, cache=p.cache, least=LEAST)

    @cached_property
    def images_key(self) -> str:
        """What identifies the images; that of the faces is known without drawing them."""
        return self.images.key

    @cached_property
    def about_images(self) -> dict[str, str | int]:
        """Name, size and numbers of the images; those of the faces are known without drawing them."""
        images = self.images
        return {"name": images.name, "size": images.size} | {part: images.count(part) for part in ("train", "test")}

    @cached_property
    def n_eval(self) -> int:
        """Images behind every number: sets that are compared have as many, also where the data set is small."""
        return min(self.config.n_eval, self.about_images["train"], self.about_images["test"])

    # ---- VQ-VAE and codes ----

    @property
    def vqvae_inputs(self) -> tuple:
        """What the VQ-VAE and its codes are made of, for the keys of artefacts."""
        return self.config.vqvae, len(self.shapes), self.images_key, self.seed, VQVAE_RECIPE

    @cached_property
    def vqvae(self) -> VQVAE | VQVAE2:
        cfg = self.config.vqvae
        with seeded(self.seed):
            model = self.trainer.place(make_vqvae(cfg, len(self.shapes)))
        model.at_once = self.fitting.at_once
        self.trainer.fit(
            *self.networks[0], {"model": model}, self.seed,
            lambda **options: train_vqvae(
                model, self.images.train, self.images.first("test", self.config.n_curve), cfg, **options
            ),
        )  # fmt: skip
        return model

    def encode(self, images: Tensor) -> Codes:
        """Codes of every level, (N, H, W) each, of uint8 images (N, 3, S, S)."""
        return tuple(torch.cat(level) for level in zip(*self._encoded(self.vqvae, images), strict=True))

    def _encoded(self, vqvae: VQVAE | VQVAE2, images: Tensor, batch: int = 500) -> Iterator[Codes]:
        for x in images.split(batch):
            yield as_levels(vqvae.encode(to_float(x.to(self.device))))

    def decode(self, *codes: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] of the codes of every level."""
        return in_batches(self.vqvae.decode, *codes)

    def kept_codes(self, name: str, inputs: tuple, make: Callable[[], Iterator[Codes]]) -> Codes:
        """Codes of every level, int16 (N, H, W) each, on a CPU read from the disk; at first from parts of make()."""
        sizes = [H * W for H, W in self.shapes]
        parts = (torch.cat([c.flatten(1) for c in codes], 1) for codes in make())
        levels = self.trainer.artefacts.rows(name, inputs, parts, sum(sizes)).split(sizes, 1)
        return tuple(c.unflatten(1, shape).to(self.device) for c, shape in zip(levels, self.shapes, strict=True))

    def _codes(self, split: str) -> tuple[str, tuple]:
        return f"codes {split} {self.name}", self.vqvae_inputs

    @cached_property
    def codes(self) -> Mapping[str, Codes]:
        """Codes of the real images, of every level, (N, H, W) each: "train" (int16) and "test" (int64)."""

        def make(split: str) -> Codes:
            vqvae = self.vqvae  # trained before the file of its codes is begun
            codes = self.kept_codes(*self._codes(split), lambda: self._encoded(vqvae, getattr(self.images, split)))
            return codes if split == "train" else tuple(c.long() for c in codes)

        return Splits(make)

    def first_codes(self, split: str, n: int) -> Codes:
        """Codes of the first n images of "train" or "test"; no more of the training images are drawn and encoded."""
        return self.encode(self.images.first(split, n)) if split == "train" else tuple(c[:n] for c in self.codes[split])

    # ---- What priors learn from and are judged by: an OracleWorld has its own ----

    @property
    def data(self) -> Mapping[str, Codes]:
        """The codes that priors learn from ("train") and are judged by ("test")."""
        return self.codes

    def prepare(self) -> int:
        """Make the data that priors learn from, and all that comes before; return how many maps there are."""
        return len(self.data["train"][0])

    def is_made(self) -> bool:
        """Whether the networks that this world is made by are there."""
        return all(self.trainer.artefacts.is_stored(*of) for of in self.networks)

    @property
    def data_inputs(self) -> tuple:
        """What `data` is made of, for the keys of artefacts."""
        return self.vqvae_inputs

    def test_codes(self, n: int) -> Codes:
        """The first n codes of every level that priors are judged by."""
        return tuple(c[:n] for c in self.data["test"])

    def reference(self, name: str, priors: Sequence[Prior]) -> Sequence[Prior]:
        """The priors that RAL's KL term is taken to: for "MLE" those given; RalkitError for a name unknown here."""
        if name != "MLE":
            raise RalkitError(f"images have no reference {name!r}; it must be MLE")
        return priors

    def reference_inputs(self, name: str) -> tuple:
        """What the reference adds to the key of a run."""
        return ()

    def watch_prior(self, prior: Prior, level: int) -> Numbers:
        """What the curve of a level's training by maximum likelihood shows at one point."""
        return {"NLL_test": self.nll_of_level(prior, self.test_codes(self.config.n_curve), level)}

    def watch(self, priors: Sequence[Prior], codes: Codes, images: Tensor) -> Numbers:
        """What a curve of RAL shows at one point, from codes sampled from the priors and their images."""
        distance = frechet_distance(self.reference_features("reconstructed"), self.features(images))
        return {self.metric: distance, "NLL_test": self.nll(priors, self.test_codes(self.config.n_curve))}

    def numbers(self, priors: Sequence[Prior], temperature: float) -> Numbers:
        """A row of the tables: distances, fidelity and NLL_test, from n_eval samples at `temperature`."""
        codes = self.sample(priors, self.n_eval, 7, temperatures=[temperature] * len(priors))
        row = self.compare(self.features(self.decode(*codes)))
        return row | {"NLL_test": self.nll(priors, self.test_codes(self.n_eval), temperature)}

    @property
    def numbers_inputs(self) -> tuple:
        """What `numbers` are made of beside the priors and the temperature, for the keys of artefacts."""
        return self.n_eval, self.metric, *self.features.inputs

    @torch.no_grad()
    def nll_of_level(self, prior: Prior, codes: Codes, level: int, temperature: float = 1.0) -> float:
        """-log G(codes) of one level, nats per image."""
        log_prob = lambda *c: prior.log_prob(*c, temperature=temperature)  # noqa: E731
        return -in_batches(log_prob, *own_and_above(codes, level), batch=250).sum((1, 2)).mean().item()

    def nll(self, priors: Sequence[Prior], codes: Codes, temperature: float = 1.0) -> float:
        """-log G(codes) of all levels together, nats per image."""
        return sum(self.nll_of_level(prior, codes, level, temperature) for level, prior in enumerate(priors))

    # ---- Priors ----

    def fresh_prior(self, cfg: PriorConfig | SnailConfig, seed: int, level: int = 0) -> TwoStreamPrior:
        """An untrained prior of a level."""
        K = self.config.vqvae.K
        with seeded(seed):
            prior = make_prior(cfg, K, K if level else None).to(self.device)
        prior.recompute = self.fitting.recompute
        return prior

    def sample(self, priors: Sequence[Prior], n: int, seed: int, **options) -> Codes:
        """n code maps of every level, the same ones for the same seed; options as `sample_levels` takes them."""
        with seeded(seed):
            return sample_levels(priors, n, self.shapes, **options)

    # ---- Distances ----

    def reference_features(self, of: str) -> Tensor:
        """Features (n_eval, D) of "real" test images or of their reconstructions ("reconstructed").

        With ", others" after either they are those of training images.
        """
        n, what = self.n_eval, of.removesuffix(", others")
        split = "train" if of.endswith(", others") else "test"

        def make() -> Tensor:
            if what == "real":
                return self.features(self.images.first(split, n))
            return self.features(self.decode(*self.first_codes(split, n)))

        inputs = (self.images_key, n, self.metric, *self.features.inputs)
        inputs += self.vqvae_inputs if what == "reconstructed" else ()
        return self.trainer.tensor(f"features {self.metric} {of} {self.name}", inputs, make)

    def compare(self, features: Tensor) -> Numbers:
        """Frechet distances of features (N, D) to the real test images and to their reconstructions, and fidelity."""
        real, reconstructed = self.reference_features("real"), self.reference_features("reconstructed")
        distances = {
            f"{self.metric} to real": frechet_distance(real, features),
            f"{self.metric} to reconstructed": frechet_distance(reconstructed, features),
        }
        return distances | fidelity(reconstructed, features)

    @cached_property
    def floors(self) -> dict[str, Numbers]:
        """The same numbers of sets that no prior made (S-Table 12).

        They are what distances to real images can fall to at this number of images without the VQ-VAE, and what all
        numbers can reach with it.
        """
        make = lambda _: {  # noqa: E731
            "real images, other ones": self.compare(self.reference_features("real, others")),
            "reconstructions, other ones": self.compare(self.reference_features("reconstructed, others")),
        }
        inputs = (*self.vqvae_inputs, *self.numbers_inputs, FLOORS_RECIPE)
        return self.trainer.artefacts.get(f"measured floors {self.name}", inputs, make)

    def factors_kept(self, images: Tensor) -> Numbers:
        """The share of the first test faces' factors that the classifier finds in images (N, 3, S, S)."""
        truth = self.images.test_factors
        if truth is None:
            return {}
        seen = self.features.factors(images)
        return {"factors kept": (seen == truth[: len(seen)]).double().mean().item()}
