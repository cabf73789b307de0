"""`Experiment(preset, dataset, seed)`: ask for a model, codes or numbers, get them loaded or made; knows all paths.

An artefact's file name carries a hash of the configuration that made it and of the hashes of what it was made from.
"""

import copy
import csv
import inspect
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import __version__, distributed, store
from ..critic import PatchCritic, image_score
from ..diagnostics import gradient_snr, part_gradients
from ..errors import RalkitError
from ..metrics import auc, frechet_distance, map_log_prob, oracle_metrics
from ..prior import PixelCNN, Prior, PriorConfig, SnailConfig, make_prior
from ..protocols import Codes
from ..ral import RalConfig, kl_reward, make_critic, score_advantages
from ..sampling import sample
from ..training import (
    Decoder,
    History,
    critic_adam,
    device_name,
    seeded,
    train_critic,
    train_factors,
    train_mle,
    train_ral,
    train_vqvae,
    warm_config,
    warm_critic,
)
from ..vqvae import VQVAE, make_vqvae, to_float
from .data import ImageSet, load
from .faces import FactorNet, faces
from .presets import PRESETS, Preset, get_preset

METHODS = ("MLE", "MLE continued", "RAL single", "RAL intermediate")
FACES = 20_000  # faces drawn to teach the factor network; as many as a large data set has would fill the memory

# What a run changes in the preset's RalConfig: values, or functions of it.
RUNS: dict[str, dict[str, Any]] = {
    "RAL single": {"reward": "single"},
    "RAL intermediate": {"reward": "intermediate"},
    # A critic of the MLE model, trained for long and then left alone: its logit estimates log p_data / G_MLE, and with
    # the KL divergence to G_MLE the reward is log p_data / G (notebook 08).
    "RAL anchored": {
        "reward": "single", "normalise": "none", "gamma": 1.0, "kl": 1.0, "penalty": 0.1, "critic_updates": 0,
        "warmup": lambda c: 5 * c.warmup, "lr_prior": lambda c: 3 * c.lr_prior,
    },
    # The oracle in the critic's place: what the policy gradient could do if the critic knew everything.
    "RAL, true reward": {
        "reward": "none", "reference": "oracle", "kl": 1.0, "gamma": 1.0, "critic_updates": 0, "warmup": 0,
        "lr_prior": lambda c: 3 * c.lr_prior,
    },
    "RAL without baseline": {"baseline": "none"},
    "RAL gamma .99": {"gamma": 0.99},
    "RAL, a quarter of the roll-outs": {"rollouts": lambda c: c.rollouts // 4},
    "RAL without layer norm": {"critic_norm": "none"},
    "RAL WGAN-GP": {"critic_loss": "wgan-gp"},
    "RAL, three times the learning rate": {"lr_prior": lambda c: 3 * c.lr_prior},
    # The paper's setting, section 4.4, for as many updates and with as large a critic, on which it is silent.
    "RAL literal": {
        key: value
        for key, value in asdict(RalConfig()).items()
        if key not in ("critic_channels", "critic_stages", "updates")
    },
}  # fmt: skip
# What the anchored run rests on: each has some of its settings as the preset's own RAL has them.
RUNS |= {
    f"RAL anchored, {keys} taken back": {k: v for k, v in RUNS["RAL anchored"].items() if k not in keys.split(" and ")}
    for keys in (
        "kl", "critic_updates", "kl and critic_updates", "warmup", "penalty", "normalise", "reward", "lr_prior",
    )
}  # fmt: skip


def changed(cfg: RalConfig, changes: dict[str, Any]) -> RalConfig:
    """The configuration with what one of RUNS changes."""
    return replace(cfg, **{key: value(cfg) if callable(value) else value for key, value in changes.items()})


def project_root() -> Path:
    """The folder that holds `notebooks/` and `ralkit/`: here or above; else the current folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "environment.yml").is_file():
            return folder
    return here


def in_batches(f: Callable[..., Tensor], *x: Tensor, batch: int = 500) -> Tensor:
    """f(x, ...), a batch of rows at a time."""
    return torch.cat([f(*part) for part in zip(*(a.split(batch) for a in x), strict=True)])


class Experiment:
    """One run of the course's experiments.

    `seed` decides the world (faces, VQ-VAE, oracle) and the first of the generators; the others take the seeds after
    it. Raises RalkitError for an unknown preset, a data set that cannot be read, or a GPU preset without a GPU.
    """

    # How training is fitted to a device; no result changes by it but by rounding.
    at_once: int | None = None  # images whose activations a step keeps together; None: its batch
    recompute: bool = False  # priors compute activations again in the backward pass, to keep fewer
    bf16: bool = False  # training steps, but those of critics, under autocast to bfloat16

    def __init__(self, preset: str | Preset = "quick", dataset: str = "faces", seed: int = 1, root: Path | None = None):
        self.preset = preset if isinstance(preset, Preset) else get_preset(preset)
        self._named = self.preset is PRESETS.get(self.preset.name)  # another process can be told its name
        if self.preset.needs_cuda and not torch.cuda.is_available():
            raise RalkitError(
                f"the preset {self.preset.name} needs a CUDA GPU and torch sees none; "
                "use --preset quick, or install a CUDA build of torch"
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.root = Path(root) if root else project_root()
        # A relative path, to here or to the project, is made to mean the same in a notebook, which runs in notebooks/.
        there = next((p for p in (Path(dataset).expanduser(), self.root / dataset) if p.exists()), None)
        self.dataset = dataset if dataset == "faces" or there is None else os.path.abspath(there)
        self.seed = seed
        self.seeds = tuple(range(seed, seed + self.preset.seeds))
        run = self.preset.name if dataset == "faces" else f"{self.preset.name}-{Path(dataset).stem}"
        self.artefacts = self.root / "runs" / run / "artefacts"
        # Pictures made from somebody's data set stay out of the committed folder.
        self.figures = self.root / "figures" / run if dataset == "faces" else self.root / "runs" / run / "figures"
        self.histories: dict[str, History] = {}
        self.keys: dict[str, str] = {}
        self.began = time.monotonic()

    def about(self, notebook: str) -> str:
        """One line on this run, and how long `notebook` ("03_oracle") took, as figures/*/minutes.json says."""
        device = self.device_name
        took = []
        for file in sorted((self.root / "figures").glob("*/minutes.json")):
            run = json.loads(file.read_text())
            if notebook in run["minutes"]:
                took.append(f"{run['minutes'][notebook]:.1f} minutes with {file.parent.name} on {run['device']}")
        return (
            f"preset {self.preset.name}, data set {self.dataset}, seeds {', '.join(map(str, self.seeds))}, {device}; "
            f"after those before it, this notebook took {'; '.join(took) if took else 'a time not recorded yet'}"
        )

    @property
    def device_name(self) -> str:
        return device_name(self.device)

    def place(self, net: nn.Module) -> nn.Module:
        """A network of images on this run's device; channels last, which its convolutions are faster with."""
        return net.to(self.device, memory_format=torch.channels_last)

    # ---- Artefacts ----

    def artefact(self, name: str, of: tuple, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The content of artefact `name`, made of `of` (configurations, numbers, keys): read, or made and written.

        `make` gets the path of a checkpoint, which is removed when the artefact is whole.
        """
        path = self._path(name, of)
        if not distributed.broadcast(path.exists()):
            checkpoint = path.with_suffix(".checkpoint")
            content = make(checkpoint)
            with distributed.rank_zero_first():
                if distributed.rank() == 0:
                    store.write(path, content)
                    checkpoint.unlink(missing_ok=True)
        return store.read(path)

    def _path(self, name: str, of: tuple) -> Path:
        self.keys[name] = store.key(name, __version__, *of)
        return self.artefacts / f"{name.replace(' ', '-')}-{self.keys[name]}.pt"

    def _fit(self, name: str, of: tuple, modules: dict[str, nn.Module], train: Callable[[Path], History]) -> None:
        """Give `modules` their trained weights: from the artefact, or by `train(checkpoint)`."""

        def make(checkpoint: Path) -> dict[str, Any]:
            history = train(checkpoint)
            return {"states": {k: m.state_dict() for k, m in modules.items()}, "history": history}

        content = self.artefact(name, of, make)
        for key, module in modules.items():
            module.load_state_dict(content["states"][key])
            module.eval()
        self.histories[name] = content["history"]

    def _fitting(self, seed: int, checkpoint: Path) -> dict[str, Any]:
        """What every training takes."""
        return {"seed": seed, "checkpoint": checkpoint, "points": self.preset.points, "bf16": self.bf16}

    def _tensor(self, name: str, of: tuple, make: Callable[[], Tensor]) -> Tensor:
        return self.artefact(name, of, lambda _: {"x": make().cpu()})["x"].to(self.device)

    def _rows(self, name: str, of: tuple, parts: Iterable[Tensor], width: int) -> Tensor:
        """Codes (N, width), read from the disk as they are used; made of `parts` (n, width) where there are none."""
        path = self._path(name, of).with_suffix(".int16")
        with distributed.rank_zero_first():
            if distributed.rank() == 0 and not path.exists():
                store.write_rows(path, parts)
        return store.read_rows(path, width)

    # ---- The world: images, VQ-VAE, oracle ----

    @cached_property
    def images(self) -> ImageSet:
        p = self.preset
        with distributed.rank_zero_first():
            return load(self.dataset, p.size, p.n_train, p.n_test, seed=self.seed, cache=self.root / "runs" / "cache")

    def _make_vqvae(self) -> VQVAE:
        return make_vqvae(self.preset.vqvae, 1)

    @cached_property
    def vqvae(self) -> VQVAE:
        cfg = self.preset.vqvae
        with seeded(self.seed):
            model = self.place(self._make_vqvae())
        model.at_once = self.at_once
        test = self.images.test[: self.preset.n_curve]
        self._fit(
            "vqvae",
            (cfg, type(model).__name__, self.images.key, self.seed, self.preset.points),
            {"model": model},
            lambda checkpoint: train_vqvae(model, self.images.train, test, cfg, **self._fitting(self.seed, checkpoint)),
        )
        return model

    @cached_property
    def factor_net(self) -> FactorNet:
        """The network behind FD-faces, trained on the procedural faces whatever the data set is."""
        cfg, p = self.preset.factors, self.preset
        with seeded(self.seed):
            net = self.place(FactorNet(cfg.channels))

        def train(checkpoint: Path) -> History:
            images, factors = faces(min(p.n_train, FACES), p.size, seed=self.seed)
            return train_factors(net, images, factors, cfg, **self._fitting(self.seed, checkpoint))

        drawn_by = Path(inspect.getfile(faces)).read_text(encoding="utf-8")  # other drawing code, another network
        self._fit("factor net", (cfg, drawn_by, p.size, p.n_train, self.seed, p.points), {"net": net}, train)
        return net

    def encode(self, images: Tensor) -> Tensor:
        """Codes (N, H, W) of uint8 images (N, 3, S, S)."""
        return in_batches(lambda x: self.vqvae.encode(to_float(x.to(self.device))), images)

    def features(self, images: Tensor) -> Tensor:
        """FD-faces features (N, D) of uint8 images, or of float ones in [-1, 1], (N, 3, S, S)."""
        net = self.factor_net
        as_float = to_float if images.dtype == torch.uint8 else lambda x: x
        with torch.no_grad():
            return in_batches(lambda x: net.features(as_float(x.to(self.device))), images)

    @cached_property
    def codes(self) -> dict[str, Tensor]:
        """Codes of the real images, "train" (N, H, W) and "test" (M, H, W)."""
        _ = self.vqvae  # its key is known once it is there
        of, images = (self.keys["vqvae"],), {"train": self.images.train, "test": self.images.test}
        return {k: self._tensor(f"codes {k}", of, lambda x=x: self.encode(x)) for k, x in images.items()}

    def _fresh_prior(self, cfg: PriorConfig | SnailConfig, seed: int, K_above: int | None = None) -> Prior:
        with seeded(seed):
            prior = make_prior(cfg, self.preset.vqvae.K, K_above).to(self.device)
        prior.recompute = self.recompute
        return prior

    @cached_property
    def oracle(self) -> PixelCNN:
        """The prior of the real codes, which the oracle experiment takes for the true distribution."""
        cfg = self.preset.oracle
        if cfg is None:
            raise RalkitError(f"the preset {self.preset.name} has no oracle experiment, only images (--levels)")
        codes, n = self.codes, self.preset.n_curve
        prior = self._fresh_prior(cfg, self.seed)

        def train(checkpoint: Path) -> History:
            watch = lambda: {"NLL_test": -map_log_prob(prior, codes["test"][:n]).mean().item()}  # noqa: E731
            return train_mle(
                prior, codes["train"], cfg, evaluate=watch, at_once=self.at_once,
                name="oracle", **self._fitting(self.seed, checkpoint),
            )  # fmt: skip

        self._fit(
            "oracle",
            (cfg, self.keys["vqvae"], self.seed, self.preset.points),
            {"prior": prior},
            train,
        )
        return prior

    @cached_property
    def oracle_codes(self) -> dict[str, Tensor]:
        """Codes drawn from the oracle: "train" for the generators and critics, "test" for measuring only."""
        p, prior = self.preset, self.oracle
        sizes = {"train": p.n_oracle, "test": 2 * p.n_eval}

        def draw(split: str) -> Tensor:
            with seeded(self.seed + 1000 * (1 + list(sizes).index(split))):
                return sample(prior, sizes[split], (p.codes, p.codes))

        return {
            split: self._tensor(f"oracle {split}", (self.keys["oracle"], n, self.seed), lambda s=split: draw(s))
            for split, n in sizes.items()
        }

    # ---- Generators ----

    def draw(self, prior: PixelCNN, n: int, seed: int, **options) -> Tensor:
        """n code maps sampled from a prior, the same ones for the same seed."""
        with seeded(seed):
            return sample(prior, n, (self.preset.codes, self.preset.codes), **options)

    @cached_property
    def _held_out(self) -> tuple[Tensor, Tensor, Tensor]:
        """What curves are measured with: codes of the oracle, their log-probabilities, the images they stand for."""
        codes = self.oracle_codes["test"][: self.preset.n_curve]
        return codes, map_log_prob(self.oracle, codes), in_batches(self.vqvae.decode, codes)

    def _watch(
        self,
        prior: PixelCNN,
        cfg: RalConfig | None = None,
        critic: PatchCritic | None = None,
        reference: PixelCNN | None = None,
    ) -> dict[str, float]:
        """What a curve of the oracle experiment shows at one point; with a critic, how well that one sees."""
        codes, log_prob, images = self._held_out
        sampled = sample(prior, len(codes), codes.shape[1:])
        row = oracle_metrics(prior, self.oracle, sampled, codes, oracle_log_prob=log_prob)
        if critic is not None:
            with torch.no_grad():
                fake = in_batches(lambda c: critic(self.vqvae.decode(c)), sampled)
                real = in_batches(critic, images)
            row["AUC"] = auc(image_score(real), image_score(fake))
            row["gap"] = (image_score(real).mean() - image_score(fake).mean()).item()
            m = cfg.rollouts
            more = cfg.kl * kl_reward(prior, reference, sampled[:m]) if cfg.kl else 0.0
            A = score_advantages(fake[:m], real[:m], codes.shape[1:], cfg, more)
            row["SNR"] = gradient_snr(part_gradients(prior, sampled[:m], A, at_once=self.at_once))
        return row

    def generator(self, method: str, seed: int) -> PixelCNN:
        """The generator of `seed` as `method` ("MLE", "MLE continued" or one of RUNS) left it, with its history."""
        if method in RUNS:
            return self.ral(method, seed, self._recipe(method))[0]
        if method not in ("MLE", "MLE continued"):
            raise RalkitError(f"unknown method {method!r}; there are: MLE, MLE continued, {', '.join(RUNS)}")
        prior = self._fresh_prior(self.preset.generator, seed)
        if method == "MLE continued":
            prior.load_state_dict(self.generator("MLE", seed).state_dict())
        cfg, name = self._recipe(method), f"{method} {seed}"

        def train(checkpoint: Path) -> History:
            decay = method == "MLE" or self.preset.ral.anneal
            return train_mle(
                prior, self.oracle_codes["train"], cfg, decay=decay, evaluate=lambda: self._watch(prior),
                at_once=self.at_once,
                name=name, **self._fitting(seed, checkpoint),
            )  # fmt: skip

        self._fit(name, self._of(seed, cfg), {"prior": prior}, train)
        return prior

    def ral(self, name: str, seed: int, cfg: RalConfig) -> tuple[PixelCNN, PatchCritic]:
        """The MLE generator of `seed` after RAL as `cfg` says, and its critic; `name` names the run."""
        prior, key = self.generator("MLE", seed), f"{name} {seed}"
        with seeded(seed):
            critic = self.place(make_critic(cfg))
        references = {"MLE": copy.deepcopy(prior) if cfg.kl else None, "oracle": self.oracle}
        if cfg.reference not in references:
            raise RalkitError(f"unknown reference {cfg.reference!r}; it must be {' or '.join(references)}")
        reference = references[cfg.reference]

        def train(checkpoint: Path) -> History:
            world = self.vqvae.decode, (self.oracle_codes["train"],)
            return train_ral(
                (prior,), critic, self._warm(critic, (prior,), *world, seed, cfg), *world, cfg,
                evaluate=lambda: self._watch(prior, cfg, critic, reference), at_once=self.at_once,
                reference=(reference,),
                name=key, **self._fitting(seed, checkpoint),
            )  # fmt: skip

        self._fit(key, self._of(seed, cfg), {"prior": prior, "critic": critic}, train)
        return prior, critic

    def _warm(
        self, critic: PatchCritic, priors: Sequence[Prior], decode: Decoder, codes: Codes, seed: int, cfg: RalConfig
    ) -> torch.optim.Optimizer:
        """Give the critic the warm-up of section 4.4, made once for all runs that it is the same for; its optimiser."""
        optimiser = critic_adam(critic, cfg)

        def make(_: Path) -> dict[str, Any]:
            warm_critic(critic, optimiser, priors, decode, codes, cfg, seed=seed)
            return {"critic": critic.state_dict(), "optimiser": optimiser.state_dict()}

        warm = self.artefact(f"warm critic {seed}", self._of(seed, warm_config(cfg)), make)
        critic.load_state_dict(warm["critic"])
        optimiser.load_state_dict(warm["optimiser"])
        return optimiser

    def _recipe(self, method: str) -> PriorConfig | RalConfig:
        p = self.preset
        if method == "MLE":
            return p.generator
        if method == "MLE continued":  # as many updates as RAL's, of its batch and learning rate, on data and by MLE
            return replace(p.generator, batch=p.ral.rollouts, steps=p.ral.updates, lr=p.ral.lr_prior, dropout=0.0)
        return changed(p.ral, RUNS[method])

    def _of(self, seed: int, cfg: PriorConfig | RalConfig) -> tuple:
        """What a generator is made of: the oracle's codes, how it was pre-trained, and `cfg`."""
        _, p = self.oracle_codes, self.preset  # the codes' keys are known once they are there
        of = (self.keys["oracle train"], self.keys["oracle test"], p.generator, seed, p.n_curve, p.points, cfg)
        is_control = isinstance(cfg, PriorConfig) and cfg != p.generator
        return (*of, p.ral.anneal) if is_control else of  # the control's learning rate falls as RAL's does

    def train(self, methods: Sequence[str], seeds: Sequence[int]) -> None:
        """`train_together` of this experiment alone."""
        train_together((self, methods, seeds))

    def _there(self, method: str, seed: int) -> bool:
        return self._path(f"{method} {seed}", self._of(seed, self._recipe(method))).exists()

    def _begin_apart(self, jobs: Sequence[tuple[str, int]], threads: int, *options: str) -> subprocess.Popen:
        """Another process, of so many threads, that trains method after method, each of its own seed."""
        command = [sys.executable, "-m", "ralkit", "train", "--preset", self.preset.name, "--dataset", self.dataset]
        command += ["--seed", str(self.seed), *options]
        for method, seed in jobs:
            command += ["--method", method, "--generator", str(seed)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.root, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, **pipes)

    def critic_alone(
        self, name: str, seed: int, cfg: RalConfig, updates: int, method: str = "MLE"
    ) -> tuple[PatchCritic, History]:
        """A critic trained for `updates` against the generator of a method, which stands still: what can it see?"""
        G, of = self.generator(method, seed), self.keys[f"{method} {seed}"]
        with seeded(seed):
            critic = self.place(make_critic(cfg))
        codes, (_, _, images), n = self.oracle_codes["train"], self._held_out, self.preset.n_curve
        fakes = in_batches(self.vqvae.decode, self.draw(G, n, seed + 500))

        @torch.no_grad()
        def watch() -> dict[str, float]:
            real, fake = (in_batches(lambda x: image_score(critic(x)), x) for x in (images, fakes))
            return {"AUC": auc(real, fake), "gap": (real.mean() - fake.mean()).item()}

        key = f"critic {name} {method} {seed}"
        self._fit(
            key,
            (of, cfg, updates, seed, n, self.preset.points),
            {"critic": critic},
            lambda checkpoint: train_critic(
                critic, (G,), self.vqvae.decode, (codes,), cfg, updates, evaluate=watch,
                name=key, **self._fitting(seed, checkpoint),
            ),
        )  # fmt: skip
        return critic, self.histories[key]

    # ---- Measuring ----

    def measure(self, name: str, seed: int, temperature: float = 1.0) -> dict[str, float]:
        """Table 1's numbers of one generator, `n_eval` samples at `temperature`; `name` as `generator` takes it."""
        G, _ = self.generator(name, seed), self.factor_net  # their keys are known once they are there
        n, test = self.preset.n_eval, self.oracle_codes["test"]
        of = (self.keys[f"{name} {seed}"], self.keys["factor net"], n, temperature)

        def make(_: Path) -> dict[str, Any]:
            codes = self.draw(G, n, 7, temperature=temperature)
            row = oracle_metrics(G, self.oracle, codes, test[:n], temperature, self._truth)
            return row | self.frechet(in_batches(self.vqvae.decode, codes))

        return self.artefact(f"measured {name} {seed} {temperature:g}", of, make)

    @cached_property
    def _truth(self) -> Tensor:
        """log oracle(c) of the oracle's test codes that numbers are measured with."""
        return map_log_prob(self.oracle, self.oracle_codes["test"][: self.preset.n_eval])

    def frechet(self, images: Tensor) -> dict[str, float]:
        """FD-faces of images (N, 3, S, S) to the oracle's decoded samples and to the real test images."""
        features = self.features(images)
        return {f"FD-faces to {k}": frechet_distance(reference, features) for k, reference in self._references.items()}

    @cached_property
    def _references(self) -> dict[str, Tensor]:
        n = self.preset.n_eval
        oracle = in_batches(self.vqvae.decode, self.oracle_codes["test"][n:])
        return {"oracle data": self.features(oracle), "real data": self.features(self.images.test[:n])}

    @cached_property
    def floors(self) -> dict[str, dict[str, float]]:
        """The same distances of sets that no generator made: the least that can be asked for at this N."""
        n = self.preset.n_eval
        sets = {
            "oracle, other samples": in_batches(self.vqvae.decode, self.oracle_codes["test"][:n]),
            "real images, reconstructed": in_batches(self.vqvae.decode, self.codes["train"][:n]),
            "real images, other ones": self.images.train[:n],
        }
        return {name: self.frechet(images) for name, images in sets.items()}

    # ---- Figures and tables ----

    def origin(self) -> dict[str, Any]:
        """Where a number comes from: preset, configuration, data, seeds, device, versions, time, commit."""
        images = self.images

        def git(*words: str) -> str:
            if shutil.which("git") is None:
                return ""
            command = ["git", *words]
            return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False).stdout.strip()

        # Figures are written by the run itself; what counts is whether the code is the commit's.
        edited = git("status", "--porcelain", "--", "ralkit", "notebooks", "environment.yml")
        commit = (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if edited else "")
        return {
            "preset": self.preset.name,
            "configuration": asdict(self.preset),
            "seeds": list(self.seeds),
            "dataset": {
                "name": images.name,
                "size": images.size,
                "train": len(images.train),
                "test": len(images.test),
            },
            "device": self.device_name,
            "versions": {
                "ralkit": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "seconds": round(time.monotonic() - self.began, 1),
            "commit": commit,
        }

    def save_figure(self, name: str, figure, title: str, data: dict | None = None, note: str = "") -> None:
        """Write a matplotlib figure as figures/<preset>/<name>.png, its data and origin beside it."""
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=150, bbox_inches="tight", metadata={"Software": None})
        store.write_bytes(self.figures / f"{name}.png", buffer.getvalue())
        self._save_origin(name, {"kind": "figure", "title": title, "data": data, "note": note})

    def save_table(
        self, name: str, rows: list[dict[str, Any]], title: str, note: str = "", paper: list[dict] | None = None
    ) -> str:
        """Write rows as figures/<preset>/<name>.csv and .md, their origin beside them; returns the markdown."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = markdown_table(rows)
        store.write_bytes(self.figures / f"{name}.csv", buffer.getvalue().encode())
        store.write_bytes(self.figures / f"{name}.md", f"{text}\n".encode())
        self._save_origin(name, {"kind": "table", "title": title, "rows": rows, "paper": paper, "note": note})
        return text

    def _save_origin(self, name: str, about: dict[str, Any]) -> None:
        content = json.dumps(about | {"origin": self.origin()}, indent=1)
        store.write_bytes(self.figures / f"{name}.json", f"{content}\n".encode())


def train_together(*plans: tuple[Experiment, Sequence[str], Sequence[int]]) -> None:
    """Load generators, by experiment, methods and seeds; train those not there, side by side on a CPU's cores.

    Each is too small for two cores. They begin method by method: those after the first find their critic warm. Raises
    RalkitError with the words of a run that failed, which ends the others.
    """
    cores = os.cpu_count() or 1
    every = dict.fromkeys(m for _, methods, _ in plans for m in methods if m != "MLE")
    for wave in (("MLE",), every):  # all others start from MLE
        jobs = [(exp, m, s) for m in wave for exp, methods, seeds in plans if m in ("MLE", *methods) for s in seeds]
        apart = [job for job in jobs if job[0].device.type == "cpu" and job[0]._named and not job[0]._there(*job[1:])]
        workers = min(cores, len(apart))
        if workers > 1:
            _train_apart([apart[k::workers] for k in range(workers)], max(1, cores // workers))
        # Now they are loaded, with their histories; what was not trained apart is trained here.
        for exp, method, seed in jobs:
            exp.generator(method, seed)


def _train_apart(shares: Sequence[Sequence[tuple[Experiment, str, int]]], threads: int) -> None:
    """Train each share in a process of its own, one for each of its experiments: to begin takes long for small runs."""
    running: list[subprocess.Popen] = []

    def work(share: Sequence[tuple[Experiment, str, int]]) -> None:
        for exp in dict.fromkeys(exp for exp, _, _ in share):
            with exp._begin_apart([job[1:] for job in share if job[0] is exp], threads) as process:
                running.append(process)
                complaints = ThreadPoolExecutor(1).submit(process.stderr.read)
                for line in process.stdout:
                    print(line, end="", flush=True)
            if process.returncode:
                last = (complaints.result().strip().splitlines() or ["no message"])[-1]
                raise RalkitError(f"training in another process failed: {last.removeprefix('ralkit: ')}")

    with ThreadPoolExecutor(len(shares)) as pool:
        working = [pool.submit(work, share) for share in shares]
        try:
            for done in as_completed(working):
                done.result()
        except BaseException:
            for process in running:
                process.terminate()
            raise


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """A markdown table of rows with the same columns; floats of more than five digits get four."""

    def show(v: Any) -> str:
        if isinstance(v, float):
            v = float(f"{v:.9g}")  # 127.99999999999997 is 128
            v = f"{v:.4g}" if len(f"{v:.9g}") > 6 else v
        return f"{v}".replace("|", r"\|")

    lines = [
        [show(name) for name in rows[0]],
        ["---"] * len(rows[0]),
        *([show(v) for v in row.values()] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
