"""A study: the priors of a world as MLE and RAL leave them, trained once each, and their numbers.

The oracle experiment's and that of images differ only in what their worlds supply.
"""

import copy

import torch
from torch import Tensor

from ..critic import PatchCritic, image_score
from ..diagnostics import gradient_snr, part_gradients
from ..errors import RalkitError
from ..metrics import auc, frechet_distance
from ..prior import PriorConfig, SnailConfig, TwoStreamPrior
from ..protocols import own_and_above
from ..ral import RalConfig, kl_reward, learning_levels, make_critic, score_advantages
from ..sampling import complete, sample_levels
from ..training import (
    CRITIC_RECIPE,
    MLE_RECIPE,
    RAL_RECIPE,
    WARM_UP_RECIPE,
    History,
    critic_adam,
    seeded,
    train_critic,
    train_mle,
    train_ral,
    warm_config,
    warm_critic,
)
from . import runs
from .runs import MLE
from .trainer import in_batches
from .validity import nearest_faces
from .world import Numbers, World

Priors = tuple[TwoStreamPrior, ...]  # one a level, the top one first
MEASURE_RECIPE = 1  # raise it when the mathematics of a `measure...` changes


def rejection_threshold(D: Tensor, price: float) -> float:
    """The tau at which sigma(D - tau) is 1 / price on average over scores D (N,): one of `price` samples is kept."""
    low, high = -50.0, 50.0
    for _ in range(60):  # bisection: the share that is kept falls with tau
        tau = (low + high) / 2
        low, high = (tau, high) if torch.sigmoid(D - tau).mean() > 1 / price else (low, tau)
    return tau


class Study:
    """The priors of `world`, by method and seed. A method is "MLE", "MLE continued" or one of `runs.RUNS`."""

    def __init__(self, world: World):
        self.world, self.trainer, self.seeds = world, world.trainer, world.seeds

    # ---- Recipes, names and inputs ----

    def recipe(self, method: str, level: int = 0) -> PriorConfig | SnailConfig | RalConfig:
        """The configuration of a method: of its RAL run, or of the training of a level; RalkitError if unknown."""
        c = self.world.config
        if method == "MLE":
            return c.priors[level]
        if method == "MLE continued":
            return runs.control(c.priors[level], c.ral)
        return runs.recipe(method, c.ral, c.size)

    def canonical(self, method: str) -> str:
        """The first method with the same recipe."""
        return runs.canonical(method, self.world.config.ral, self.world.config.size)

    def artefacts_of(self, method: str, seed: int) -> list[tuple[str, tuple]]:
        """Name and inputs of the artefacts that a method leaves: one a level for MLE, one in all for RAL."""
        method = self.canonical(method)
        if method in MLE:
            return [self._level(method, level, seed) for level in range(len(self.world.shapes))]
        return [self._run(method, seed, self.recipe(method))]

    def keys(self, method: str, seed: int) -> tuple[str, ...]:
        return tuple(self.trainer.artefacts.key(*of) for of in self.artefacts_of(method, seed))

    def is_stored(self, method: str, seed: int) -> bool:
        """Whether all artefacts of a method are there."""
        return all(self.trainer.artefacts.is_stored(*of) for of in self.artefacts_of(method, seed))

    def _name(self, *words: object) -> str:
        return " ".join(str(word) for word in (*words, self.world.name) if word != "")

    def _level(self, method: str, level: int, seed: int) -> tuple[str, tuple]:
        name = self._name(method, self.world.level_names[level], seed)
        inputs = (self.recipe(method, level), level, seed, *self.world.data_inputs, MLE_RECIPE)
        if method == "MLE continued":
            inputs += (self.trainer.artefacts.key(*self._level("MLE", level, seed)), self.world.config.ral.anneal)
        return name, inputs

    def _run(self, name: str, seed: int, cfg: RalConfig) -> tuple[str, tuple]:
        world = self.world
        start = (*self.keys("MLE", seed), *world.data_inputs, WARM_UP_RECIPE)
        reference = world.reference_inputs(cfg.reference) if cfg.kl else ()
        return self._name(name, seed), (cfg, seed, *start, RAL_RECIPE, *reference)

    # ---- Priors ----

    def generator(self, method: str, seed: int) -> Priors:
        """The priors of `seed` as a method left them, in eval mode.

        Raises RalkitError if they were frozen for what was measured of them, without their weights.
        """
        priors, weighted = self._priors(method, seed)
        if not weighted:
            raise self._lacking(self.artefacts_of(method, seed)[-1], "weights")
        return priors

    def _priors(self, method: str, seed: int) -> tuple[Priors, bool]:
        """The priors as a method left them, and whether they have their weights."""
        method = self.canonical(method)
        if method in MLE:
            levels = [self._trained(method, level, seed) for level in range(len(self.world.shapes))]
            return tuple(prior for prior, _ in levels), all(weighted for _, weighted in levels)
        priors, _, weighted = self._ral(method, seed, self.recipe(method))
        return priors, "prior 0" in weighted

    def _lacking(self, of: tuple[str, tuple], what: str) -> RalkitError:
        return RalkitError(
            f"{self.trainer.artefacts.path(*of)} was frozen without its {what}; set pretrained = False "
            "(--no-pretrained on the command line) to train it"
        )

    def history(self, method: str, seed: int, level: int = 0) -> History:
        """What a method's training logged and measured on its way; for MLE that of one level."""
        names = [name for name, _ in self.artefacts_of(method, seed)]
        name = names[level if len(names) > 1 else 0]
        if name not in self.trainer.histories:
            self._priors(method, seed)
        return self.trainer.histories[name]

    def _trained(self, method: str, level: int, seed: int) -> tuple[TwoStreamPrior, bool]:
        world, cfg = self.world, self.recipe(method, level)
        prior = world.fresh_prior(cfg, seed, level)

        def train(**options) -> History:
            if method == "MLE continued":
                prior.load_state_dict(self.generator("MLE", seed)[level].state_dict())
            own, *above = own_and_above(world.data["train"], level)
            return train_mle(
                prior, own, cfg, condition=above[0] if above else None,
                decay=method == "MLE" or world.config.ral.anneal,  # the control's learning rate falls as RAL's does
                evaluate=lambda: world.watch_prior(prior, level), at_once=world.fitting.at_once, **options,
            )  # fmt: skip

        weighted = self.trainer.fit(*self._level(method, level, seed), {"prior": prior}, seed, train)
        return prior, bool(weighted)

    def ral(self, name: str, seed: int, cfg: RalConfig | None = None) -> tuple[Priors, PatchCritic]:
        """The MLE priors of `seed` after RAL, and its critic: the run `name`, or one of that name as `cfg` says.

        Raises RalkitError if the run was frozen without its critic.
        """
        if cfg is None:
            name = self.canonical(name)
            cfg = self.recipe(name)
        priors, critic, weighted = self._ral(name, seed, cfg)
        if "critic" not in weighted:
            raise self._lacking(self._run(name, seed, cfg), "critic")
        return priors, critic

    def _ral(self, name: str, seed: int, cfg: RalConfig) -> tuple[Priors, PatchCritic, set[str]]:
        """Priors and critic after RAL, and the names of those that have weights."""
        world = self.world
        priors, _ = self._priors("MLE", seed)
        with seeded(seed):
            critic = self.trainer.place(make_critic(cfg))
        reference = world.reference(cfg.reference, copy.deepcopy(priors)) if cfg.kl else None

        def train(**options) -> History:
            self.generator("MLE", seed)  # raises where MLE has no weights to start from
            data = world.decode, world.data["train"]
            return train_ral(
                priors, critic, self._warm(critic, priors, seed, cfg), *data, cfg, reference=reference,
                evaluate=lambda: self._watch(priors, critic, cfg, reference), at_once=world.fitting.at_once, **options,
            )  # fmt: skip

        modules = {f"prior {level}": prior for level, prior in enumerate(priors)} | {"critic": critic}
        return priors, critic, self.trainer.fit(*self._run(name, seed, cfg), modules, seed, train)

    def _warm(self, critic: PatchCritic, priors: Priors, seed: int, cfg: RalConfig) -> torch.optim.Optimizer:
        """Give the critic the warm-up of section 4.4, made once for all runs that it is the same for; its optimiser."""
        world, optimiser = self.world, critic_adam(critic, cfg)

        def make(_) -> dict:
            warm_critic(critic, optimiser, priors, world.decode, world.data["train"], cfg, seed=seed)
            return {"critic": critic.state_dict(), "optimiser": optimiser.state_dict()}

        inputs = (warm_config(cfg), seed, *self.keys("MLE", seed), *world.data_inputs, WARM_UP_RECIPE)
        warm = self.trainer.artefacts.get(self._name("warm critic", seed), inputs, make)
        critic.load_state_dict(warm["critic"])
        optimiser.load_state_dict(warm["optimiser"])
        return optimiser

    def _watch(self, priors: Priors, critic: PatchCritic, cfg: RalConfig, reference: Priors | None) -> Numbers:
        """What a curve of RAL shows at one point: the world's numbers, what the critic sees, the gradient's noise."""
        world = self.world
        test = world.test_codes(world.config.n_curve)
        codes = sample_levels(priors, len(test[0]), world.shapes)
        images = world.decode(*codes)
        row = world.watch(priors, codes, images)
        with torch.no_grad():
            fake, real = in_batches(critic, images), in_batches(critic, world.decode(*test))
        row["AUC"] = auc(image_score(real), image_score(fake))
        row["gap"] = (image_score(real).mean() - image_score(fake).mean()).item()
        codes = tuple(c[: cfg.rollouts] for c in codes)
        for level in learning_levels(len(priors), cfg):
            own = own_and_above(codes, level)
            extra = cfg.kl * kl_reward(priors[level], reference[level], *own) if cfg.kl else 0.0
            A = score_advantages(fake[: cfg.rollouts], real[: cfg.rollouts], world.shapes[level], cfg, extra)
            g = part_gradients(priors[level], own[0], A, *own[1:], at_once=world.fitting.at_once or cfg.rollouts)
            row[f"SNR {world.level_names[level]}".strip()] = gradient_snr(g)
        return row

    def known_critic(self, seed: int) -> PatchCritic:
        """A critic that was trained for long against the MLE priors of `seed`, as "RAL anchored" begins with it.

        Its score D estimates log p / G, of real codes p and the MLE model G.
        """
        if self.is_stored("RAL anchored", seed):  # where the critic stands still
            return self.ral("RAL anchored", seed)[1]
        cfg = self.recipe("RAL anchored")
        with torch.enable_grad(), seeded(seed):
            critic = self.trainer.place(make_critic(cfg))
            self._warm(critic, self.generator("MLE", seed), seed, cfg)
        return critic

    def critic_alone(
        self, name: str, seed: int, cfg: RalConfig, updates: int, method: str = "MLE"
    ) -> tuple[PatchCritic | None, History]:
        """A critic trained for `updates` against the priors of a method, which stand still: what can it see?

        Of one that was frozen for its history alone the critic is None.
        """
        world, priors = self.world, self.generator(method, seed)
        with seeded(seed):
            critic = self.trainer.place(make_critic(cfg))
        n = world.config.n_curve

        def train(**options) -> History:
            fakes, reals = (world.decode(*c) for c in (world.sample(priors, n, seed + 500), world.test_codes(n)))

            @torch.no_grad()
            def watch() -> Numbers:
                real, fake = (image_score(in_batches(critic, x)) for x in (reals, fakes))
                return {"AUC": auc(real, fake), "gap": (real.mean() - fake.mean()).item()}

            return train_critic(
                critic, priors, world.decode, world.data["train"], cfg, updates, evaluate=watch, **options
            )

        name = self._name("critic", name, method, seed)
        inputs = (warm_config(cfg), updates, seed, *self.keys(method, seed), *world.data_inputs, CRITIC_RECIPE)
        weighted = self.trainer.fit(name, inputs, {"critic": critic}, seed, train)
        return critic if weighted else None, self.trainer.histories[name]

    # ---- Measuring ----

    def measure(self, method: str, seed: int, temperature: float = 1.0) -> Numbers:
        """The numbers of one method, from samples at `temperature` at every level (`World.numbers`)."""
        world, method = self.world, self.canonical(method)
        inputs = (*self.keys(method, seed), *world.numbers_inputs, temperature, MEASURE_RECIPE)
        name = self._name("measured", method, seed, f"{temperature:g}")
        make = lambda _: world.numbers(self.generator(method, seed), temperature)  # noqa: E731
        return self.trainer.artefacts.get(name, inputs, make)

    @torch.no_grad()
    def measure_rejection(self, seed: int, price: int) -> Numbers:
        """The distances and fidelity of n_eval samples of MLE, of which a critic kept one in `price` (notebook 08).

        A sample is kept with probability sigma(D - tau), where D is the score of `known_critic`.
        """
        world = self.world

        def make(_) -> Numbers:
            priors, critic = self.generator("MLE", seed), self.known_critic(seed)
            # A fifth more than are needed on average: sets that are compared have as many images.
            codes = world.sample(priors, round(1.2 * price * world.n_eval), 7)
            D = in_batches(lambda *c: image_score(critic(world.decode(*c))), *codes)
            with seeded(7):
                kept = torch.rand_like(D) < torch.sigmoid(D - rejection_threshold(D, price))
            return world.compare(world.features(world.decode(*(c[kept][: world.n_eval] for c in codes))))

        start = (*self.keys("MLE", seed), warm_config(self.recipe("RAL anchored")), *world.numbers_inputs)
        inputs = (*start, price, WARM_UP_RECIPE, MEASURE_RECIPE)
        return self.trainer.artefacts.get(self._name("measured rejection", seed, price), inputs, make)

    def measure_completion(
        self, method: str, seed: int, rows: int, temperature: float = 1.0, again: bool = False
    ) -> Numbers:
        """Distance and `factors_kept` of completions of the test images below their first `rows` rows of top codes.

        With `again` they are drawn from other random numbers.
        """
        world, method = self.world, self.canonical(method)
        H, W = world.shapes[0]
        keep = torch.arange(H)[:, None].expand(H, W) < rows

        def make(_) -> Numbers:
            with seeded(12 if again else 11):
                codes = complete(
                    self.generator(method, seed), world.test_codes(world.n_eval), keep, temperature=temperature
                )
            images = world.decode(*codes)
            distance = frechet_distance(world.reference_features("reconstructed"), world.features(images))
            return {world.metric: distance} | world.factors_kept(images)

        inputs = (*self.keys(method, seed), *world.numbers_inputs, rows, temperature, MEASURE_RECIPE)
        name = self._name("completed", *["again"] * again, method, seed, rows, f"{temperature:g}")
        return self.trainer.artefacts.get(name, inputs, make)

    def measure_faces(self, method: str, seed: int, temperature: float = 1.0) -> Tensor:
        """The distances of samples to the nearest faces that can be drawn (`validity`), n_curve / 10 of them."""
        world, method = self.world, self.canonical(method)
        n = world.config.n_curve // 10  # the search takes long
        inputs = (*self.keys(method, seed), *world.numbers_inputs, n, temperature, MEASURE_RECIPE)

        def make(_) -> Tensor:
            codes = world.sample(self.generator(method, seed), n, 5, temperatures=[temperature] * len(world.shapes))
            return nearest_faces(world.decode(*codes), world.features.factor_net)[1]

        name = self._name("measured faces", method, seed, f"{temperature:g}")
        return self.trainer.artefacts.get(name, inputs, make)

    def measure_exposure(self, method: str, seed: int, rows: int, temperature: float = 1.0) -> float:
        """How far the last rows of a method's maps are from the oracle, `rows` of them real (`world.exposure`)."""
        world, method = self.world, self.canonical(method)
        inputs = (*self.keys(method, seed), world.config.n_curve, rows, temperature, MEASURE_RECIPE)
        name = self._name("measured exposure", method, seed, rows, f"{temperature:g}")
        make = lambda _: world.exposure(*self.generator(method, seed), rows, temperature)  # noqa: E731
        return self.trainer.artefacts.get(name, inputs, make)
