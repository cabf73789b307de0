"""RAL on images (section 5.3): `ImageExperiment(preset, dataset, seed, levels)` with one code map or two.

It asks for artefacts as `Experiment` does. Runs have names: RUNS says what each changes in the preset's RalConfig.
"""

import copy
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from math import log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..critic import image_score
from ..diagnostics import gradient_snr, part_gradients
from ..errors import RalkitError
from ..inception import largest_tap, load_inception
from ..metrics import auc, fidelity, frechet_distance
from ..prior import Prior, PriorConfig, SnailConfig
from ..protocols import Codes
from ..ral import RalConfig, kl_reward, learning_levels, make_critic, score_advantages
from ..sampling import complete, sample_levels
from ..training import History, seeded, train_mle, train_ral
from ..vqvae import VQVAE, VQVAE2, as_levels, make_vqvae, to_float, to_uint8
from .data import ImageSet
from .experiment import RUNS as OF_ANY
from .experiment import Experiment, changed, in_batches
from .presets import Preset

LEVELS = ("top", "bottom")

RUNS: dict[str, dict[str, Any]] = {run: c for run, c in OF_ANY.items() if c.get("reference") != "oracle"} | {
    # Half of the codes in an update: as much time for twice as many updates.
    "RAL partial": {"partial": True, "updates": lambda c: 2 * c.updates},
    "RAL top": {"levels": "top"},
    "RAL bottom": {"levels": "bottom"},
    **{f"RAL {r} {n}x{n}": {"reward": r, "map": n} for r in ("single", "intermediate") for n in (8, 4, 2)},
}


class ImageExperiment(Experiment):
    """One run of the experiments on images, with `levels` code maps (1 or 2).

    `features` says which network the Frechet distance is taken on: "faces" (the classifier of the faces' factors, no
    download), "inception" (the paper's, downloaded), or a file with that one's weights; ":768" and the like after
    either chooses another tap than 2048. "auto" is the file in data/ where there is one and the images are not the
    faces, else "faces". Raises RalkitError as `Experiment` does, for unknown features, and for levels that are unknown
    or not in the preset.
    """

    def __init__(
        self,
        preset: str | Preset = "quick",
        dataset: str = "faces",
        seed: int = 1,
        root: Path | None = None,
        *,
        levels: int = 2,
        features: str = "auto",
    ):
        super().__init__(preset, dataset, seed, root)
        if levels not in (1, 2):
            raise RalkitError(f"images have 1 or 2 levels of codes, not {levels}")
        if features == "auto":
            files = sorted((self.root / "data").glob("*inception-2015-12-05*.pth")) if dataset != "faces" else []
            features = f"{files[0]}:{largest_tap(files[0])}" if files else "faces"
        self.levels, self.source = levels, features
        cfg = self.preset.images
        self.config = cfg and (cfg.one if levels == 1 else cfg.two)
        if self.config is None:
            raise RalkitError(f"the preset {self.preset.name} has no images with {levels} level(s) of codes")
        shared = {
            key: getattr(cfg, key) for key in ("size", "n_train", "n_test", "factors", "n_eval", "n_curve", "points")
        }
        self.preset = replace(self.preset, vqvae=self.config.vqvae, seeds=cfg.seeds, **shared)
        self.seeds = tuple(range(seed, seed + cfg.seeds))

    # ---- The world ----

    @cached_property
    def images(self) -> ImageSet:
        images = super().images
        # Sets that are compared have the same number of images, also where the data set is small.
        n_eval = min(self.preset.n_eval, len(images.test), len(images.train))
        self.preset = replace(self.preset, n_eval=n_eval)
        return images

    def _make_vqvae(self) -> VQVAE | VQVAE2:
        return make_vqvae(self.preset.vqvae, self.levels)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(H, W) of each level's code map."""
        return self.config.shapes(self.preset.size)

    def encode(self, images: Tensor) -> Codes:
        """Codes of every level, (N, H, W) each, of uint8 images (N, 3, S, S)."""
        return tuple(torch.cat(level) for level in zip(*self._encoded(images), strict=True))

    def _encoded(self, images: Tensor, batch: int = 500) -> Iterator[Codes]:
        for x in images.split(batch):
            yield as_levels(self.vqvae.encode(to_float(x.to(self.device))))

    def decode(self, *codes: Tensor) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] of the codes of every level."""
        return in_batches(self.vqvae.decode, *codes)

    @cached_property
    def codes(self) -> dict[str, Codes]:
        """Codes of the real images, of every level, (N, H, W) each: "train" (int16; on a CPU, on disk) and "test"."""
        _, codes, sizes = self.vqvae, {}, [H * W for H, W in self.shapes]
        for split, images in {"train": self.images.train, "test": self.images.test}.items():
            parts = (torch.cat([c.flatten(1) for c in levels], 1) for levels in self._encoded(images))
            rows = self._rows(f"codes {split}", (self.keys["vqvae"],), parts, sum(sizes))
            levels = zip(rows.split(sizes, 1), self.shapes, strict=True)
            codes[split] = tuple(c.unflatten(1, shape).to(self.device) for c, shape in levels)
        return codes | {"test": tuple(c.long() for c in codes["test"])}

    # ---- Features ----

    @cached_property
    def metric(self) -> str:
        """The Frechet distance's name, which says on what network it is taken: FD-faces, FID-2048, FID-768, ..."""
        return "FD-faces" if self.source == "faces" else f"FID-{self._tap[1]}"

    @property
    def _tap(self) -> tuple[str | None, int]:
        """The file of Inception's weights, None for the one to download, and the tap."""
        source, _, tap = self.source.partition(":")
        if tap and not tap.isdigit():
            raise RalkitError(f"--features {self.source}: after the colon stands a tap, such as 768")
        return None if source == "inception" else source, int(tap or 2048)

    @cached_property
    def feature_net(self):
        """Images, uint8 or in [-1, 1], a few hundred at most -> features."""
        if self.source == "faces":
            net = self.factor_net
            return lambda x: net.features(to_float(x) if x.dtype == torch.uint8 else x)
        source, tap = self._tap
        net = self.place(load_inception(tap, source))
        return lambda x: net(x if x.dtype == torch.uint8 else to_uint8(x))

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D) of uint8 images, or of float ones in [-1, 1], (N, 3, S, S)."""
        net = self.feature_net
        with torch.no_grad():
            return in_batches(lambda x: net(x.to(self.device)), images, batch=250)

    def reference(self, of: str) -> Tensor:
        """Features (n_eval, D) of real test images ("real") or their reconstructions, or of others; kept on disk."""
        _ = self.vqvae, self.feature_net
        n = self.preset.n_eval
        network = self.keys["factor net"] if self.source == "faces" else self.metric
        key = (self.images.key, n, network, self.keys["vqvae"] if of.startswith("reconstructed") else "")
        make = {
            "real": lambda: self.features(self.images.test[:n]),
            "reconstructed": lambda: self.features(self.decode(*(c[:n] for c in self.codes["test"]))),
            "real, others": lambda: self.features(self.images.train[:n]),
            "reconstructed, others": lambda: self.features(self.decode(*(c[:n] for c in self.codes["train"]))),
        }
        return self._tensor(f"features {self.metric} {of}", key, make[of])

    # ---- Priors ----

    def generator(self, method: str, seed: int) -> list[Prior]:
        """The priors of `seed`, top level first, as `method` ("MLE", "MLE continued" or one of RUNS) left them."""
        if method in RUNS:
            return self.ral(self.canonical(method), seed, self._recipe(method))[0]
        if method not in ("MLE", "MLE continued"):
            raise RalkitError(f"unknown run {method!r}; there are: MLE, MLE continued, {', '.join(RUNS)}")
        return [self._trained(method, level, seed) for level in range(self.levels)]

    def canonical(self, method: str) -> str:
        """The first run with the same recipe: a score map of the preset's own size is the default run's."""
        return next((run for run in RUNS if method in RUNS and self._recipe(run) == self._recipe(method)), method)

    def _recipe(self, method: str, level: int = 0) -> PriorConfig | SnailConfig | RalConfig:
        ral, mle = self.config.ral, self.config.priors[level]
        if method == "MLE":
            return mle
        if method == "MLE continued":  # as many updates as RAL's, of its batch and learning rate, on data and by MLE
            return replace(mle, batch=ral.rollouts, steps=ral.updates, lr=ral.lr_prior, dropout=0.0)
        changes = dict(RUNS[method])
        if "map" in changes:  # the score map's side is the image's over 2^stages
            changes["critic_stages"] = int(log2(self.preset.size / changes.pop("map")))
        return changed(ral, changes)

    def _of(self, seed: int, *cfg: PriorConfig | SnailConfig | RalConfig) -> tuple:
        _ = self.codes, self.reference("reconstructed")  # their keys are known once they are there
        p = self.preset
        of = (self.keys["codes train"], seed, self.levels, p.n_curve, p.points, self.metric, self.config.ral.anneal)
        return (*of, *self.config.priors, *cfg)

    def _trained(self, method: str, level: int, seed: int) -> Prior:
        cfg = self._recipe(method, level)
        prior = self._fresh_prior(cfg, seed, self.preset.vqvae.K if level else None)
        if method == "MLE continued":
            prior.load_state_dict(self._trained("MLE", level, seed).state_dict())
        # The level itself comes last, the one above it first.
        train, test = (self.codes[split][max(level - 1, 0) : level + 1] for split in ("train", "test"))
        test = [c[: self.preset.n_curve] for c in test]
        name, of = self._name_and_of(method, level, seed)

        def fit(checkpoint: Path) -> History:
            decay = method == "MLE" or self.config.ral.anneal
            return train_mle(
                prior, train[-1], cfg, above=train[0] if level else None, decay=decay,
                evaluate=lambda: {"NLL_test": self._nll(prior, test[-1], *test[:-1])}, at_once=self.at_once,
                name=name, **self._fitting(seed, checkpoint),
            )  # fmt: skip

        self._fit(name, of, {"prior": prior}, fit)
        return prior

    def _name_and_of(self, method: str, level: int, seed: int) -> tuple[str, tuple]:
        name = f"{method} {LEVELS[level - self.levels]} {self.levels} {seed}"
        return name, self._of(seed, level, self._recipe(method, level))

    @torch.no_grad()
    def _nll(self, prior: Prior, codes: Tensor, *above: Tensor) -> float:
        return -in_batches(prior.log_prob, codes, *above, batch=250).sum((1, 2)).mean().item()

    def nll(self, priors: Sequence[Prior], codes: Codes) -> float:
        """-log G(codes) of all levels together, nats per image."""
        return sum(self._nll(p, c, *codes[:i][-1:]) for i, (p, c) in enumerate(zip(priors, codes, strict=True)))

    def ral(self, name: str, seed: int, cfg: RalConfig) -> tuple[list[Prior], Any]:
        """The MLE priors of `seed` after RAL as `cfg` says, and its critic; `name` names the run."""
        priors, key = self.generator("MLE", seed), f"{name} {self.levels} {seed}"
        with seeded(seed):
            critic = self.place(make_critic(cfg))

        if cfg.reference != "MLE":
            raise RalkitError(f"images have no reference {cfg.reference!r}; it must be MLE")
        reference = copy.deepcopy(priors) if cfg.kl else None

        def train(checkpoint: Path) -> History:
            world = self.decode, self.codes["train"]
            return train_ral(
                priors, critic, self._warm(critic, priors, *world, seed, cfg), *world, cfg,
                evaluate=lambda: self._watch_images(priors, cfg, critic, reference), at_once=self.at_once,
                reference=reference,
                name=key, **self._fitting(seed, checkpoint),
            )  # fmt: skip

        modules = {f"prior {i}": prior for i, prior in enumerate(priors)} | {"critic": critic}
        self._fit(key, self._of(seed, cfg), modules, train)
        return priors, critic

    def _there(self, method: str, seed: int) -> bool:
        if method in RUNS:
            cfg = self._recipe(method)
            return self._path(f"{self.canonical(method)} {self.levels} {seed}", self._of(seed, cfg)).exists()
        return all(self._path(*self._name_and_of(method, level, seed)).exists() for level in range(self.levels))

    def _begin_apart(self, jobs: Sequence[tuple[str, int]], threads: int, *options: str) -> subprocess.Popen:
        return super()._begin_apart(jobs, threads, "--levels", str(self.levels), "--features", self.source, *options)

    def sample(self, priors: Sequence[Prior], n: int, seed: int, **options) -> Codes:
        """n code maps of every level, the same ones for the same seed; options as `sample_levels` takes them."""
        with seeded(seed):
            return sample_levels(priors, n, self.shapes, **options)

    def _watch_images(self, priors: Sequence[Prior], cfg: RalConfig, critic, reference=None) -> dict[str, float]:
        """What a curve of RAL on images shows at one point."""
        n = self.preset.n_curve
        test = tuple(c[:n] for c in self.codes["test"])
        codes = sample_levels(priors, n, self.shapes)
        images = self.decode(*codes)
        row = {self.metric: frechet_distance(self.reference("reconstructed"), self.features(images))}
        row["NLL_test"] = self.nll(priors, test)
        with torch.no_grad():
            fake, real = in_batches(critic, images), in_batches(critic, self.decode(*test))
        row["AUC"] = auc(image_score(real), image_score(fake))
        for level in learning_levels(self.levels, cfg):
            c, *above = codes[level], *codes[:level][-1:]
            more = cfg.kl * kl_reward(priors[level], reference[level], c, *above) if cfg.kl else 0.0
            A = score_advantages(fake, real, self.shapes[level], cfg, more)
            g = part_gradients(priors[level], c, A, *above, at_once=self.at_once or cfg.rollouts)
            row[f"SNR {LEVELS[level - self.levels]}"] = gradient_snr(g)
        return row

    # ---- Completion (section 5.5) ----

    def measure_completion(self, method: str, seed: int, rows: int, temperature: float = 1.0) -> dict[str, float]:
        """Of completions of the test images below their first `rows` rows of top codes: distance and `factors_kept`."""
        method = self.canonical(method)
        priors, n = self.generator(method, seed), self.preset.n_eval
        keep = torch.arange(self.shapes[0][0])[:, None].expand(*self.shapes[0]) < rows

        def make(_: Path) -> dict[str, Any]:
            with seeded(11):
                codes = complete(priors, tuple(c[:n] for c in self.codes["test"]), keep, temperature=temperature)
            images = self.decode(*codes)
            row = {self.metric: frechet_distance(self.reference("reconstructed"), self.features(images))}
            return row | self.factors_kept(images)

        name = f"completed {method} {self.levels} {seed} {rows}" + f" {temperature:g}" * (temperature != 1)
        return self.artefact(name, self._of_run(method, seed), make)

    def factors_kept(self, images: Tensor) -> dict[str, float]:
        """Of the factors of the first test faces, the share that the classifier finds in images (N, 3, S, S)."""
        truth = self.images.test_factors
        if truth is None:
            return {}
        with torch.no_grad():
            seen = in_batches(self.factor_net.predict, images, batch=250).cpu()
        return {"factors kept": (seen == truth[: len(seen)]).double().mean().item()}

    # ---- Measuring ----

    def compare(self, features: Tensor) -> dict[str, float]:
        """Frechet distances of features (N, D) to the real test images and to their reconstructions, and fidelity."""
        real, reconstructed = self.reference("real"), self.reference("reconstructed")
        distances = {
            f"{self.metric} to real": frechet_distance(real, features),
            f"{self.metric} to reconstructed": frechet_distance(reconstructed, features),
        }
        return distances | fidelity(reconstructed, features)

    def measure(self, method: str, seed: int, temperature: float = 1.0) -> dict[str, float]:
        """The numbers of one run: distances, fidelity and NLL_test, n_eval samples at `temperature` at every level."""
        method = self.canonical(method)
        priors, n = self.generator(method, seed), self.preset.n_eval

        def make(_: Path) -> dict[str, Any]:
            codes = self.sample(priors, n, 7, temperatures=[temperature] * self.levels)
            test = tuple(c[:n] for c in self.codes["test"])
            return self.compare(self.features(self.decode(*codes))) | {"NLL_test": self.nll(priors, test)}

        of = (*self._of_run(method, seed), temperature)
        return self.artefact(f"measured {method} {self.levels} {seed} {temperature:g}", of, make)

    def _of_run(self, method: str, seed: int) -> tuple:
        """What a number of one run is made of: the run's artefacts, the features to compare with, and their number."""
        _ = self.generator(method, seed), self.reference("real")
        runs = [f"{method} {self.levels} {seed}"]
        if method not in RUNS:
            runs = [self._name_and_of(method, level, seed)[0] for level in range(self.levels)]
        of = *sorted(runs), f"features {self.metric} real", f"features {self.metric} reconstructed"
        return (*(self.keys[key] for key in of), self.preset.n_eval)

    @cached_property
    def floors(self) -> dict[str, dict[str, float]]:
        """The same numbers of sets that no prior made (S-Table 12): what distances to real images can fall to at this N
        without the VQ-VAE, and what all numbers can reach with it.
        """
        return {
            "real images, other ones": self.compare(self.reference("real, others")),
            "reconstructions, other ones": self.compare(self.reference("reconstructed, others")),
        }
