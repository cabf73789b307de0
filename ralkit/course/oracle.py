"""The oracle experiment's world (section 5.2): a prior of the real codes is declared to be the truth."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..errors import RalkitError
from ..metrics import frechet_distance, oracle_metrics
from ..prior import TwoStreamPrior
from ..protocols import Codes, Prior
from ..sampling import sample_levels
from ..training import MLE_RECIPE, History, train_mle
from .presets import Preset
from .trainer import in_batches
from .world import Numbers, Splits, World

SAMPLING_RECIPE = 1  # raise it when the same oracle and seed are to give other codes


class OracleWorld(World):
    """The world whose data are drawn from the oracle, so that every probability is known.

    It is made as `World` is, with the preset's oracle experiment; raises RalkitError where there is none.
    """

    def __init__(self, preset: str | Preset = "quick", dataset: str = "faces", seed: int = 1, **options):
        super().__init__(preset, dataset, seed, **{"levels": None, "features": "faces"} | options)

    @property
    def name(self) -> str:
        return "oracle world"

    # ---- The oracle and its codes ----

    @property
    def oracle_inputs(self) -> tuple:
        """What the oracle is made of, for the keys of artefacts."""
        return self.config.oracle, *self.vqvae_inputs, MLE_RECIPE

    @property
    def networks(self) -> list[tuple[str, tuple]]:
        return [*super().networks, ("oracle", self.oracle_inputs)]

    @property
    def kept_maps(self) -> list[tuple[str, tuple]]:
        return [*super().kept_maps, self._drawn("train"), self._drawn("test")]

    def _sizes(self) -> dict[str, int]:
        return {"train": self.config.n_oracle, "test": 2 * self.config.n_eval}

    def _drawn(self, split: str) -> tuple[str, tuple]:
        return f"oracle {split}", (*self.oracle_inputs, self._sizes()[split], SAMPLING_RECIPE)

    @cached_property
    def oracle(self) -> TwoStreamPrior:
        """The prior of the real codes, which the experiment takes for the true distribution."""
        cfg, prior = self.config.oracle, self.fresh_prior(self.config.oracle, self.seed)

        def train(**options) -> History:
            test = tuple(c[: self.config.n_curve] for c in self.codes["test"])
            watch = lambda: {"NLL_test": self.nll((prior,), test)}  # noqa: E731
            return train_mle(
                prior, self.codes["train"][0], cfg, evaluate=watch, at_once=self.fitting.at_once, **options
            )

        self.trainer.fit(*self.networks[1], {"prior": prior}, self.seed, train)
        return prior

    @cached_property
    def oracle_codes(self) -> Mapping[str, Codes]:
        """Codes drawn from the oracle: "train" (int16) for generators and critics, "test" (int64) for measuring."""
        sizes = self._sizes()

        def make(split: str) -> Codes:
            oracle = self.oracle  # trained before the file of its codes is begun

            def draw() -> Iterator[Codes]:
                yield self.sample((oracle,), sizes[split], self.seed + 1000 * (1 + list(sizes).index(split)))

            codes = self.kept_codes(*self._drawn(split), draw)
            return codes if split == "train" else tuple(c.long() for c in codes)

        return Splits(make)

    @property
    def data(self) -> Mapping[str, Codes]:
        return self.oracle_codes

    @property
    def data_inputs(self) -> tuple:
        return *self.oracle_inputs, self.config.n_oracle, SAMPLING_RECIPE

    def reference(self, name: str, priors: Sequence[Prior]) -> Sequence[Prior]:
        known = {"MLE": priors, "oracle": (self.oracle,)}
        if name not in known:
            raise RalkitError(f"unknown reference {name!r}; it must be {' or '.join(known)}")
        return known[name]

    def reference_inputs(self, name: str) -> tuple:
        return self.oracle_inputs if name == "oracle" else ()

    # ---- Measuring ----

    def truth(self, n: int) -> Tensor:
        """log oracle in nats of each code of the first n test maps, given those before it: (n, H, W)."""
        return self._truth[:n]

    @property
    def own_numbers(self) -> Numbers:
        """What the oracle would have in the place of a generator, nats per image: its entropy, estimated, and 0."""
        entropy = -self._truth.sum((1, 2)).mean().item()
        return {
            "NLL_oracle": entropy,
            "NLL_test": entropy,
            "entropy": entropy,
            "KL(G||oracle)": 0.0,
            "KL(oracle||G)": 0.0,
        }

    @cached_property
    @torch.no_grad()
    def _truth(self) -> Tensor:
        codes = self.oracle_codes["test"][0][: max(self.config.n_eval, self.config.n_curve)]
        return in_batches(self.oracle.log_prob, codes)

    def watch_prior(self, prior: Prior, level: int) -> Numbers:
        return self.watch((prior,), sample_levels((prior,), self.config.n_curve, self.shapes))

    def watch(self, priors: Sequence[Prior], codes: Codes, images: Tensor | None = None) -> Numbers:
        """The oracle's numbers (`metrics.oracle_metrics`); the images are not asked."""
        (test,) = self.test_codes(self.config.n_curve)
        return oracle_metrics(priors[0], self.oracle, codes[0], test, oracle_log_prob=self.truth(len(test)))

    def numbers(self, priors: Sequence[Prior], temperature: float) -> Numbers:
        """A row of Table 1: the oracle's numbers and FD-faces, from n_eval samples at `temperature`."""
        (codes,) = self.sample(priors, self.config.n_eval, 7, temperatures=[temperature])
        (test,) = self.test_codes(self.config.n_eval)
        row = oracle_metrics(priors[0], self.oracle, codes, test, temperature, self.truth(len(test)))
        return row | self.compare(self.features(self.decode(codes)))

    @property
    def numbers_inputs(self) -> tuple:
        return *super().numbers_inputs, self.config.n_eval

    @torch.no_grad()
    def exposure(self, prior: Prior, rows: int, temperature: float) -> float:
        """KL(G || oracle) in nats per code of the last quarter of a map, of which the first `rows` rows are real.

        It is taken over n_curve maps. How it grows with fewer real rows is the exposure bias.
        """
        (real,), ((H, _),) = self.test_codes(self.config.n_curve), self.shapes
        (codes,) = self.sample((prior,), len(real), 9, given=[real], given_rows=[rows], temperatures=[temperature])
        of_G = in_batches(lambda c: prior.log_prob(c, temperature=temperature), codes)
        return (of_G - in_batches(self.oracle.log_prob, codes))[:, -max(1, H // 4) :].mean().item()

    def compare(self, features: Tensor) -> Numbers:
        """FD-faces of features (N, D) to the oracle's decoded samples and to the real test images."""
        return {f"{self.metric} to {k}": frechet_distance(x, features) for k, x in self._references.items()}

    @cached_property
    def _references(self) -> dict[str, Tensor]:
        oracle = self.decode(self.oracle_codes["test"][0][self.config.n_eval :])
        return {"oracle data": self.features(oracle), "real data": self.reference_features("real")}

    @cached_property
    def floors(self) -> dict[str, Numbers]:
        """The same distances of sets that no generator made: the least that can be asked for at this number."""
        return {
            "oracle, other samples": self.compare(self.features(self.decode(*self.test_codes(self.config.n_eval)))),
            "real images, reconstructed": self.compare(self.reference_features("reconstructed, others")),
            "real images, other ones": self.compare(self.reference_features("real, others")),
        }
