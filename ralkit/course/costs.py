"""What a preset costs: its networks are built, a step of every stage is run and timed, the full run is estimated.

One prior is in memory at a time: the RAL update of each level is a step of its own, on random codes.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RalkitError
from ..prior import PriorConfig, SnailConfig, TwoStreamPrior, make_prior
from ..protocols import own_and_above
from ..ral import Adam, critic_update, descend, learning_levels, make_critic, policy_gradient_loss, score_advantages
from ..training import device_name
from ..vqvae import make_vqvae, vqvae_loss
from .presets import Preset, WorldConfig
from .record import markdown_table

PATIENCE = 1.0  # seconds: a step that takes longer is not tried with more images; the first, which sets up, gets 4
STATE = 16  # bytes of training for each parameter: the weight, its gradient, Adam's two averages
CHUNK = 1024  # maps that are sampled together
MIB, GIB = 2**20, 2**30

NOTE = """\
Activations are what the forward pass keeps for the backward one; the largest batch is the memory, less 16 bytes a
parameter (weight, gradient, Adam's two averages), over that; RAL trains critic and priors together, so their parameters
add up. The batch of a VQ-VAE or prior may be larger: `train --at-once` takes it in parts; `--recompute` keeps of a
prior only what goes from layer to layer. Device-hours: seconds x batch / images timed x steps, for one VQ-VAE, one
prior of each level by MLE and one RAL run; the control, evaluations and further seeds come on top. Where few images of
a batch are timed this is too much, since a step has costs that do not grow with them; more so where the first step,
which also sets up, was too slow to be repeated. A CPU samples two rows of a map only. On 8 devices each takes an
eighth of a batch; what they tell each other is not counted."""


def experiments(preset: Preset) -> dict[str, WorldConfig]:
    """The worlds that a preset trains in, by name."""
    names = {None: "oracle experiment", 1: "one code map", 2: "two code maps"}
    return {name: preset.world(levels) for levels, name in names.items() if levels in preset.levels}


def level_names(levels: int) -> list[str]:
    return ["prior"] if levels == 1 else ["top prior", "bottom prior"]


def count(*modules: nn.Module) -> int:
    """How many parameters the modules have."""
    return sum(p.numel() for module in modules for p in module.parameters())


def parameters(cfg: WorldConfig) -> dict[str, int]:
    """How many parameters each network has; no memory is taken for them."""
    with torch.device("meta"):
        networks = {"VQ-VAE": make_vqvae(cfg.vqvae, len(cfg.priors)), "critic": make_critic(cfg.ral)}
        for level, name in enumerate(level_names(len(cfg.priors))):
            networks[name] = make_prior(cfg.priors[level], cfg.vqvae.K, cfg.vqvae.K if level else None)
    return {name: count(network) for name, network in networks.items()}


def ral_parameters(cfg: WorldConfig) -> int:
    """How many parameters RAL trains at once: of the critic and of the priors that learn."""
    sizes, names = parameters(cfg), level_names(len(cfg.priors))
    return sizes["critic"] + sum(sizes[names[level]] for level in learning_levels(len(names), cfg.ral))


def memory_of(device: torch.device) -> int:
    """Bytes of memory of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def kept_for_backward(*modules: nn.Module) -> Iterator[dict[int, int]]:
    """Collects the bytes of every storage that autograd keeps inside, by address; the modules' own are left out."""
    own = {x.untyped_storage().data_ptr() for m in modules for x in (*m.parameters(), *m.buffers())}
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield kept


class Check:
    """The stages of one experiment on images of `size` x `size`, timed on `device`; each leaves a row of the table."""

    def __init__(self, cfg: WorldConfig, device: torch.device):
        self.size, self.cfg, self.ral, self.device = cfg.size, cfg, cfg.ral, device
        self.memory, self.shapes = memory_of(device), cfg.shapes
        self.rows: list[dict[str, Any]] = []

    def run(self) -> None:
        """Run every stage; first those of the oracle, where there is one."""
        self.time_vqvae()
        if self.cfg.oracle:
            self.time_oracle(self.cfg.oracle, self.cfg.n_oracle + 2 * self.cfg.n_eval)
        self.time_critic()
        for level in range(len(self.shapes)):
            self.time_prior(level)

    # ---- Building and timing ----

    def build(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """The network that `make` makes; raises RalkitError if training it does not fit the memory."""
        with torch.device("meta"):
            needs = STATE * count(make())
        if needs > self.memory:
            raise RalkitError(
                f"training the {name} takes {needs / GIB:.1f} GiB before the first image, more than the "
                f"{self.memory / GIB:.1f} GiB of {device_name(self.device)}"
            )
        with self.device:
            return make()

    def images(self, n: int) -> Tensor:
        return torch.rand(n, 3, self.size, self.size, device=self.device) * 2 - 1

    def codes(self, n: int) -> list[Tensor]:
        return [torch.randint(self.cfg.vqvae.K, (n, *shape), device=self.device) for shape in self.shapes]

    def decoded(self, n: int) -> Tensor:
        return self.vqvae.decode(*self.codes(n))

    def seconds(self, step: Callable[[int], Any], n: int) -> float:
        began = time.perf_counter()
        step(n)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def add(
        self,
        stage: str,
        step: Callable[[int], Any],
        *learning: nn.Module,
        batch: int,
        steps: float,
        least: int = 1,
        rows: tuple[int, int] = (1, 1),
        held: int | None = None,
    ) -> None:
        """Time step(n) for n = least, 2 least, ... batch, as far as that fits and is quick.

        `rows` are how many rows of a code map the step makes, and how many there are; `held` the parameters in training
        at the time of the real step, if they are more than those of `learning`.
        """
        print(f"timing {stage} ...", flush=True)
        with kept_for_backward(*learning) as kept:
            took = self.seconds(step, least)
        each, weights = sum(kept.values()) / least, count(*learning)
        fits = max(0, int((self.memory - STATE * (held or weights)) / each)) if each else batch
        n, most, patience = least, max(least, min(batch, fits)), 4 * PATIENCE
        while took < patience and n < most:
            more, patience = min(2 * n, most), PATIENCE
            try:
                n, took = more, self.seconds(step, more)
            except torch.OutOfMemoryError:  # by what a step needs beside what it keeps
                fits = more - 1
                break
        if took < PATIENCE:  # the first step of a size also sets it up
            took = self.seconds(step, n)
        made, all_rows = rows
        self.rows.append(
            {
                "stage": stage,
                "parameters, M": weights / 1e6 if learning else "",
                "activations, MiB an image": each / MIB if learning else "",
                "largest batch": fits if learning else "",
                "batch": batch,
                "images timed": n if made == all_rows else f"{n}, {made} of {all_rows} rows",
                "seconds": took,
                "steps": round(steps),
                "device-hours": took * (batch / n) * (all_rows / made) * steps / 3600,
            }
        )

    # ---- Stages ----

    def time_vqvae(self) -> None:
        cfg = self.cfg.vqvae
        self.vqvae = self.build("VQ-VAE", lambda: make_vqvae(cfg, len(self.shapes)))
        optimiser = Adam(self.vqvae.parameters(), cfg.lr)
        step = lambda n: descend(vqvae_loss(self.vqvae, self.images(n), cfg.beta)[0], optimiser)  # noqa: E731
        self.add("VQ-VAE", step, self.vqvae, batch=cfg.batch, steps=cfg.steps)
        self.vqvae.eval()

    def time_oracle(self, cfg: PriorConfig, n: int) -> None:
        prior = self.build("oracle", lambda: make_prior(cfg, self.cfg.vqvae.K))
        self.time_mle("oracle", prior, cfg, self.codes)
        self.time_sampling("oracle", prior, self.codes, CHUNK, n / CHUNK)

    def time_critic(self) -> None:
        cfg = self.ral
        self.critic = self.build("critic", lambda: make_critic(cfg))
        optimiser = Adam(self.critic.parameters(), cfg.lr_critic)
        step = lambda n: critic_update(self.critic, optimiser, self.decoded(n), self.decoded(n), cfg)  # noqa: E731
        steps = cfg.warmup + cfg.critic_updates * cfg.updates
        self.add("critic, RAL", step, self.critic, batch=cfg.critic_batch, steps=steps, held=ral_parameters(self.cfg))

    def time_prior(self, level: int) -> None:
        cfg, name, K = self.cfg.priors[level], level_names(len(self.shapes))[level], self.cfg.vqvae.K
        prior = self.build(name, lambda: make_prior(cfg, K, K if level else None))
        codes = lambda n: own_and_above(self.codes(n), level)  # noqa: E731
        self.time_mle(name, prior, cfg, codes)
        maps = self.ral.critic_updates * self.ral.critic_batch + self.ral.rollouts
        self.time_sampling(name, prior, codes, maps, self.ral.updates + self.ral.warmup * self.ral.critic_batch / maps)
        if level in learning_levels(len(self.shapes), self.ral):
            self.time_update(name, prior, codes)

    def time_mle(self, name: str, prior: TwoStreamPrior, cfg: PriorConfig | SnailConfig, codes) -> None:
        """A prior's step of maximum likelihood; `codes(n)` are those of its level and, if any, of the one above."""
        optimiser = Adam(prior.parameters(), cfg.lr)
        step = lambda n: descend(-prior.log_prob(*codes(n)).sum((1, 2)).mean(), optimiser)  # noqa: E731
        self.add(f"{name}, MLE", step, prior.train(), batch=cfg.batch, steps=cfg.steps)
        prior.eval().zero_grad()

    def time_sampling(self, name: str, prior: TwoStreamPrior, codes, batch: int, steps: float) -> None:
        """The sampling of maps; on a CPU only of their first two rows."""
        H, W = codes(1)[0].shape[1:]
        rows = H if self.device.type == "cuda" else 2

        def step(n: int) -> None:
            _, *above = codes(n)
            prior.sample(n, (rows, W), *(c[:, : rows * c.shape[1] // H] for c in above))

        self.add(f"{name}, sampling", step, batch=batch, steps=steps, rows=(rows, H))

    def time_update(self, name: str, prior: TwoStreamPrior, codes) -> None:
        """A prior's step of RAL."""
        cfg = self.ral
        optimiser = Adam(prior.parameters(), cfg.lr_prior)

        def step(n: int) -> None:
            c, *above = codes(n)
            with torch.no_grad():
                fake_map, real_map = self.critic(self.decoded(n)), self.critic(self.decoded(n))
            A = score_advantages(fake_map, real_map, c.shape[1:], cfg)
            descend(policy_gradient_loss(prior.log_prob(c, *above).flatten(1), A), optimiser)

        least = 2 if cfg.baseline == "leave-one-out" else 1
        held = ral_parameters(self.cfg)
        self.add(f"{name}, RAL", step, prior, batch=cfg.rollouts, steps=cfg.updates, least=least, held=held)


def check(preset: Preset) -> None:
    """Print what each experiment of a preset costs, as measured on the device there is.

    Raises RalkitError for a network that the device's memory cannot train.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lines = ["", f"Measured on {device_name(device)}, {memory_of(device) / GIB:.1f} GiB of memory.", ""]
    for name, cfg in experiments(preset).items():
        experiment = Check(cfg, device)
        experiment.run()
        hours = sum(row["device-hours"] for row in experiment.rows)
        codes = " + ".join(f"{H}x{W}" for H, W in experiment.shapes)
        lines += [
            f"{preset.name}, {name}: {cfg.size}x{cfg.size} pixels, codes {codes}",
            "",
            markdown_table(experiment.rows),
            "",
            f"RAL's weights, gradients and averages take {STATE * ral_parameters(cfg) / GIB:.3g} GiB. "
            f"All stages: {hours:.3g} hours on one such device, {hours / 8:.3g} on 8.",
            "",
        ]
    print("\n".join(lines))
    print(NOTE)
