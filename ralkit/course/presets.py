"""Every configuration, as frozen dataclasses; where a preset leaves section 4.4, notebook 04 lists it."""

from dataclasses import dataclass, replace

from ..errors import RalkitError
from ..prior import PriorConfig, SnailConfig
from ..ral import RalConfig
from ..vqvae import VQVAEConfig
from .faces import FactorConfig


@dataclass(frozen=True)
class LevelsConfig:
    """The models of RAL on images: a VQ-VAE of as many levels as there are priors, the top one first."""

    vqvae: VQVAEConfig = VQVAEConfig(hidden=128, K=512)
    priors: tuple[PriorConfig | SnailConfig, ...] = (
        SnailConfig(),
        SnailConfig(output_layers=0, attention_layers=0, condition_layers=20, batch=128, steps=156_250),
    )
    ral: RalConfig = RalConfig()
    seeds: int = 3  # of priors; with one, nothing is said of chance, and tables say "one run"


@dataclass(frozen=True)
class ImageConfig:
    """RAL on images (section 5.3): one code map (None: not in the preset) and two; by default S-Tables 7 and 8."""

    size: int = 128
    n_train: int = 200_000
    n_test: int = 20_000
    factors: FactorConfig = FactorConfig()
    one: LevelsConfig | None = LevelsConfig(VQVAEConfig(stages=3, K=512), (SnailConfig(steps=41_666),))
    two: LevelsConfig | None = LevelsConfig()
    n_eval: int = 10_000
    n_curve: int = 1_000
    points: int = 10


@dataclass(frozen=True)
class WorldConfig:
    """What one world, and the study in it, are made of, but the data set and the seed."""

    size: int  # pixels of an image's side
    n_train: int  # real images, upper limit
    n_test: int
    vqvae: VQVAEConfig
    factors: FactorConfig
    priors: tuple[PriorConfig | SnailConfig, ...]  # one a level of codes, the top one first
    ral: RalConfig
    n_eval: int  # samples behind every number of a table
    n_curve: int  # samples behind every point of a curve
    points: int  # points of a curve
    seeds: int  # priors trained, with all that follows from them
    oracle: PriorConfig | None = None  # the prior that the oracle experiment takes for the truth
    n_oracle: int = 0  # codes sampled from it

    @property
    def levels(self) -> int:
        return len(self.priors)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(H, W) of each level's code map, the top one first."""
        bottom = self.size // 2**self.vqvae.stages
        return [(bottom // 2**i,) * 2 for i in reversed(range(self.levels))]


@dataclass(frozen=True)
class Preset:
    """Everything that a run of the notebooks depends on, but the data set and the seed."""

    name: str
    about: str  # whom it is for, what it changes and why
    size: int = 64  # pixels of an image's side
    n_train: int = 200_000  # real images, upper limit
    n_test: int = 20_000
    vqvae: VQVAEConfig = VQVAEConfig(stages=3)
    factors: FactorConfig = FactorConfig()
    oracle: PriorConfig | None = PriorConfig(channels=256, steps=90_039)  # None: no oracle experiment
    generator: PriorConfig = PriorConfig()
    n_oracle: int = 200_000  # codes sampled from the oracle: the generator's training data
    n_eval: int = 10_000  # samples behind every number of a table
    n_curve: int = 2_000  # samples behind every point of a curve
    points: int = 20  # points of a curve
    seeds: int = 3  # generators trained, with all that follows from them
    ral: RalConfig = RalConfig()  # both rewards are run with it, `reward` replaced
    images: ImageConfig | None = ImageConfig()
    ablations: bool = False  # whether the appendix is run: many more runs, none of which the paper has
    needs_cuda: bool = False

    @property
    def levels(self) -> list[int | None]:
        """The levels of codes of the preset's worlds of images; None among them for that of the oracle experiment."""
        models = {1: self.images and self.images.one, 2: self.images and self.images.two, None: self.oracle}
        return [levels for levels, there in models.items() if there]

    def world(self, levels: int | None = None) -> WorldConfig:
        """The world of the oracle experiment, or that of the images with `levels` maps of codes (1 or 2).

        Raises RalkitError where the preset has no such world.
        """
        shared = "size", "n_train", "n_test", "factors", "n_eval", "n_curve", "points"
        if levels is None:
            if self.oracle is None:
                raise RalkitError(f"the preset {self.name} has no oracle experiment, only images (--levels)")
            own = {name: getattr(self, name) for name in (*shared, "vqvae", "ral", "seeds", "oracle", "n_oracle")}
            return WorldConfig(**own, priors=(self.generator,))
        if levels not in (1, 2):
            raise RalkitError(f"images have 1 or 2 levels of codes, not {levels}")
        models = self.images and (self.images.one if levels == 1 else self.images.two)
        if models is None:
            raise RalkitError(f"the preset {self.name} has no images with {levels} level(s) of codes")
        own = {name: getattr(self.images, name) for name in shared}
        return WorldConfig(**own, vqvae=models.vqvae, priors=models.priors, ral=models.ral, seeds=models.seeds)


SMOKE_RAL = RalConfig(
    rollouts=8, critic_batch=4, critic_updates=1, warmup=2, updates=2, lr_prior=1e-3, lr_critic=1e-3,
    critic_loss="logistic-r1", critic_norm="layer", critic_channels=8, critic_stages=4, baseline="leave-one-out",
    gamma=1.0,
)  # fmt: skip

DEEP_IMAGE_RAL = RalConfig(
    rollouts=512, critic_batch=64, warmup=200, updates=40, lr_prior=1e-4, anneal=True, lr_critic=5e-4, gamma=1.0,
    critic_loss="logistic-r1", critic_norm="layer", critic_channels=16, critic_stages=4, baseline="leave-one-out",
)  # fmt: skip

DEEP = Preset(
    "deep",
    "the evidence, whose worlds are pretrained and whose figures are committed: smaller images, networks and lengths "
    "than the paper's, RAL settings chosen by their diagnostics on seed 0, which is not reported; to train it takes "
    "many hours on two CPU cores, and may be stopped and started again at any time",
    size=32,
    n_train=20_000,
    n_test=4_000,
    vqvae=VQVAEConfig(hidden=64, residual=32, batch=64, steps=4800, lr=2e-3),
    factors=FactorConfig(channels=32, batch=64, steps=1000),
    oracle=PriorConfig(channels=64, layers=5, output_layers=0, batch=64, steps=1500, lr=2e-3),
    # As long as it takes until twice as long changes NLL_test by less than 1 %: what RAL gains is then RAL's.
    generator=PriorConfig(channels=24, layers=1, output_layers=0, dropout=0.0, batch=64, steps=24_000, lr=6e-3),
    n_oracle=20_000,
    n_eval=4_000,
    n_curve=1_000,
    points=10,
    seeds=5,
    ral=RalConfig(
        rollouts=768, critic_batch=64, critic_updates=2, warmup=250, updates=100, lr_prior=3e-4, anneal=True,
        lr_critic=5e-4, gamma=1.0, critic_loss="logistic-r1", critic_norm="layer", critic_channels=16,
        critic_stages=4, baseline="leave-one-out",
    ),
    images=ImageConfig(
        size=64, n_train=10_000, n_test=2_000, factors=FactorConfig(channels=32, batch=64, steps=700),
        one=LevelsConfig(
            VQVAEConfig(stages=3, hidden=48, residual=24, batch=8, steps=16_000, lr=2e-3),
            (SnailConfig(24, 2, 3, 0, 0.0, attention_layers=1, heads=4, batch=32, steps=16_000, lr=6e-3),),
            DEEP_IMAGE_RAL,
            seeds=5,
        ),
        two=LevelsConfig(
            VQVAEConfig(stages=2, hidden=48, residual=24, batch=16, steps=4000, lr=2e-3),
            (
                SnailConfig(24, 2, 3, 0, 0.0, attention_layers=1, heads=4, batch=32, steps=16_000, lr=6e-3),
                SnailConfig(40, 3, 3, 0, 0.0, attention_layers=0, condition_layers=2, batch=16, steps=9_000, lr=5e-3),
            ),
            replace(DEEP_IMAGE_RAL, rollouts=384, updates=30, gamma=0.98, critic_stages=3),
            seeds=3,
        ),
        n_eval=2_000, n_curve=500, points=5,
    ),
    ablations=True,
)  # fmt: skip

COMMITTED = DEEP.name  # the preset of the worlds in data/pretrained/, of the committed figures and of the outputs


def _shorter(model: LevelsConfig, vqvae_steps: int, prior_steps: int, updates: int, warmup: int) -> LevelsConfig:
    """One seed of a model of images, with shorter trainings."""
    return LevelsConfig(
        replace(model.vqvae, steps=vqvae_steps),
        tuple(replace(prior, steps=prior_steps) for prior in model.priors),
        replace(model.ral, updates=updates, warmup=warmup),
        seeds=1,
    )


# deep's networks; the lengths are chosen so that all of it takes about an hour.
QUICK = replace(
    DEEP,
    name="quick",
    about="everything from nothing, in about an hour on two CPU cores: deep's networks with shorter trainings, fewer "
    "samples behind each number, three seeds of the oracle experiment and one of the images",
    vqvae=replace(DEEP.vqvae, batch=16, steps=2_400),
    factors=replace(DEEP.factors, steps=600),
    oracle=replace(DEEP.oracle, steps=600),
    generator=replace(DEEP.generator, steps=5_000),
    ral=replace(DEEP.ral, warmup=100, updates=40),
    n_eval=1_000,
    n_curve=500,
    points=5,
    seeds=3,
    images=replace(
        DEEP.images,
        factors=replace(DEEP.images.factors, steps=500),
        one=_shorter(DEEP.images.one, vqvae_steps=3_000, prior_steps=3_000, updates=12, warmup=40),
        two=_shorter(DEEP.images.two, vqvae_steps=1_500, prior_steps=2_000, updates=7, warmup=40),
        n_eval=1_000, n_curve=250, points=4,
    ),
    ablations=False,
)  # fmt: skip

PRESETS = {
    p.name: p
    for p in (
        Preset(
            "smoke",
            "every cell of every notebook runs, in minutes on two CPU cores; its numbers mean nothing",
            size=32,
            n_train=1024,
            n_test=256,
            vqvae=VQVAEConfig(hidden=16, residual=8, K=32, D=8, batch=32, steps=40),
            factors=FactorConfig(channels=8, batch=32, steps=30),
            oracle=PriorConfig(channels=16, layers=2, output_layers=0, dropout=0.0, batch=32, steps=30),
            generator=PriorConfig(channels=8, layers=1, output_layers=0, dropout=0.0, batch=32, steps=20),
            n_oracle=512,
            n_eval=128,
            n_curve=64,
            points=3,
            seeds=2,
            ral=RalConfig(
                rollouts=16, critic_batch=8, critic_updates=2, warmup=5, updates=6, lr_prior=1e-3, lr_critic=1e-3,
                critic_loss="logistic-r1", critic_norm="layer", critic_channels=8, critic_stages=3,
                baseline="leave-one-out",
            ),
            images=ImageConfig(
                size=64, n_train=256, n_test=128, factors=FactorConfig(channels=8, batch=16, steps=10),
                one=LevelsConfig(
                    VQVAEConfig(stages=3, hidden=16, residual=8, K=32, D=8, batch=16, steps=20),
                    (SnailConfig(16, 2, 3, 1, 0.0, attention_layers=1, heads=2, batch=16, steps=10),),
                    SMOKE_RAL,
                    seeds=2,
                ),
                two=LevelsConfig(
                    VQVAEConfig(stages=2, hidden=16, residual=8, K=32, D=8, batch=16, steps=20),
                    (
                        SnailConfig(16, 2, 3, 1, 0.0, attention_layers=1, heads=2, batch=16, steps=10),
                        SnailConfig(16, 1, 3, 0, 0.0, attention_layers=0, condition_layers=1, batch=16, steps=10),
                    ),
                    SMOKE_RAL,
                    seeds=1,
                ),
                n_eval=64, n_curve=32, points=2,
            ),
            ablations=True,
        ),
        QUICK,
        DEEP,
        Preset(
            "gpu",
            "one CUDA GPU of 12 GB or more: 64x64 images to 8x8 codes, the VQ-VAE of S-Table 4, an oracle of half its "
            "width, then 128x128 images; settings scaled from deep's, not tuned",
            n_train=60_000,
            n_test=10_000,
            vqvae=VQVAEConfig(stages=3, steps=4000),
            factors=FactorConfig(steps=3000),
            oracle=PriorConfig(channels=128, layers=5, output_layers=0, batch=256, steps=6000),
            generator=PriorConfig(channels=48, layers=1, output_layers=0, dropout=0.0, batch=256, steps=6000, lr=3e-3),
            n_oracle=60_000,
            n_curve=2_048,
            points=10,
            ral=RalConfig(
                rollouts=1792, critic_batch=128, critic_updates=2, warmup=250, updates=150, lr_prior=3e-4, anneal=True,
                lr_critic=5e-4, gamma=1.0, critic_loss="logistic-r1", critic_norm="layer", critic_channels=32,
                critic_stages=5, baseline="leave-one-out",
            ),
            images=ImageConfig(
                n_train=60_000, n_test=10_000, factors=FactorConfig(steps=3000),
                one=LevelsConfig(
                    VQVAEConfig(stages=3, K=512, steps=4000),
                    (SnailConfig(64, 4, 5, 0, 0.0, attention_layers=2, batch=128, steps=4000),),
                    replace(DEEP_IMAGE_RAL, rollouts=704, updates=60, critic_channels=32, critic_stages=5),
                ),
                two=LevelsConfig(
                    VQVAEConfig(stages=2, K=512, steps=4000),
                    (
                        SnailConfig(64, 4, 5, 0, 0.0, attention_layers=2, batch=128, steps=4000),
                        SnailConfig(64, 4, 5, 0, 0.0, attention_layers=0, condition_layers=4, batch=128, steps=4000),
                    ),
                    replace(
                        DEEP_IMAGE_RAL, rollouts=512, updates=60, gamma=0.98, critic_channels=32, critic_stages=4
                    ),
                ),
                n_eval=5_000,
            ),
            ablations=True,
            needs_cuda=True,
        ),
        Preset(
            "photographs",
            "real images at 64x64 and one map of codes, an hour and a half a seed on a CPU core; RAL as in deep, "
            "whose settings were chosen on faces (`python -m ralkit photographs`)",
            oracle=None,
            images=ImageConfig(
                size=64, factors=DEEP.images.factors,
                one=LevelsConfig(
                    VQVAEConfig(stages=3, hidden=64, residual=32, K=256, batch=8, steps=8_000, lr=2e-3),
                    (SnailConfig(32, 2, 3, 0, 0.0, attention_layers=1, heads=4, batch=32, steps=8_000, lr=6e-3),),
                    DEEP_IMAGE_RAL,
                    seeds=1,
                ),
                two=None, n_eval=1_000, n_curve=500, points=4,
            ),
        ),
        # The paper's own sizes. RAL is that of section 4.4; the number of its updates and of samples is ours.
        Preset(
            "paper-celeba-64",
            "S-Table 4: CelebA at 64x64, the oracle experiment on 8x8 codes",
            images=None,
            needs_cuda=True,
        ),
        Preset(
            "paper-lsun-64-8",
            "S-Table 5: LSUN-bedroom at 64x64, 8x8 codes",
            oracle=None,
            images=ImageConfig(
                size=64, n_train=3_000_000,
                one=LevelsConfig(
                    VQVAEConfig(stages=3, K=512, steps=234_375),
                    (SnailConfig(output_layers=5, attention_layers=0, batch=1536, steps=97_656),),
                ),
                two=None,
            ),
            needs_cuda=True,
        ),
        Preset(
            "paper-lsun-64-16",
            "S-Table 6: LSUN-bedroom at 64x64, 16x16 codes",
            oracle=None,
            images=ImageConfig(
                size=64, n_train=3_000_000,
                one=LevelsConfig(VQVAEConfig(stages=2, K=512, steps=234_375), (SnailConfig(steps=31_250),)),
                two=None,
            ),
            needs_cuda=True,
        ),
        Preset(
            "paper-128",
            "S-Tables 7 and 8: CelebA or LSUN-bedroom at 128x128, 16x16 codes and 16x16 + 32x32",
            oracle=None,
            images=ImageConfig(),
            needs_cuda=True,
        ),
        Preset(
            "paper-celeba-256",
            "S-Table 9: CelebA at 256x256, 32x32 + 64x64 codes",
            oracle=None,
            images=ImageConfig(
                size=256, one=None,
                two=LevelsConfig(
                    VQVAEConfig(stages=2, K=512),
                    (
                        SnailConfig(attention_layers=0, batch=128, steps=187_500),
                        SnailConfig(128, 16, 5, 0, attention_layers=0, condition_layers=20, batch=128, steps=125_000),
                    ),
                ),
            ),
            needs_cuda=True,
        ),
        Preset(
            "paper-celebahq-512",
            "S-Table 10: CelebA-HQ at 512x512, 32x32 + 64x64 codes",
            oracle=None,
            images=ImageConfig(
                size=512, n_train=27_000, n_test=3_000, one=None, n_eval=3_000,
                two=LevelsConfig(
                    VQVAEConfig(stages=3, K=512, steps=23_437),
                    (
                        SnailConfig(attention_layers=0, batch=128, steps=20_625),
                        SnailConfig(128, 16, 5, 0, attention_layers=0, condition_layers=20, batch=128, steps=42_187),
                    ),
                ),
            ),
            needs_cuda=True,
        ),
    )
}  # fmt: skip


def get_preset(name: str) -> Preset:
    """The preset of that name; raises RalkitError, naming those there are, for another."""
    if name not in PRESETS:
        raise RalkitError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
