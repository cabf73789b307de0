"""The runs of the course by name: what each changes in a preset's RalConfig, as data."""

from dataclasses import asdict, replace
from math import log2
from typing import Any

from ..errors import RalkitError
from ..prior import PriorConfig, SnailConfig
from ..ral import RalConfig
from ..training import History

MLE = ("MLE", "MLE continued")
STEPS_AN_UPDATE = 3  # of maximum likelihood, on as many maps: they take about as long (notebook 03 shows the seconds)
METHODS = (*MLE, "RAL single", "RAL intermediate")  # those of the paper's tables

# A value, or a function of the preset's RalConfig; "map" is the side of the score map.
RUNS: dict[str, dict[str, Any]] = {
    "RAL single": {"reward": "single"},
    "RAL intermediate": {"reward": "intermediate"},
    # A critic of the MLE model, trained for long and then left alone: its logit estimates log p_data / G_MLE, and with
    # the KL divergence to G_MLE the reward is log p_data / G (notebook 08).
    "RAL anchored": {
        "reward": "single", "normalise": "none", "gamma": 1.0, "kl": 1.0, "penalty": 0.1, "critic_updates": 0,
        "warmup": lambda c: 5 * c.warmup, "lr_prior": lambda c: 3 * c.lr_prior,
    },
    # The score is a log density ratio while the critic is right, so it keeps its scale, and is set against the KL
    # divergence from the MLE model, at several weights (notebook 08).
    **{
        f"RAL, KL {kl:g}": {"reward": "single", "normalise": "none", "gamma": 1.0, "kl": kl}
        for kl in (0.1, 0.3, 1.0, 3.0)
    },
    # The oracle in the critic's place: what the policy gradient could do if the critic knew everything.
    "RAL, true reward": {
        "reward": "none", "reference": "oracle", "kl": 1.0, "gamma": 1.0, "critic_updates": 0, "warmup": 0,
        "lr_prior": lambda c: 3 * c.lr_prior,
    },
    # Half of the codes in an update: as much time for twice as many updates.
    "RAL partial": {"partial": True, "updates": lambda c: 2 * c.updates},
    "RAL top": {"levels": "top"},
    "RAL bottom": {"levels": "bottom"},
    **{f"RAL {r} {n}x{n}": {"reward": r, "map": n} for r in ("single", "intermediate") for n in (8, 4, 2)},
    # A critic whose scores are judgements of patches: each sees a square of 18x18 of 64x64 pixels, and nothing else.
    # Those of critics with 4x4 scores see nearly all of an image, and by their norm all of it (notebook 06).
    **{
        f"RAL patches {r}": {
            "reward": r, "map": 16, "critic_norm": "channel", "critic_channels": lambda c: 2 * c.critic_channels
        }
        for r in ("single", "intermediate")
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
RUNS["RAL, true reward for longer"] = RUNS["RAL, true reward"] | {"updates": lambda c: 4 * c.updates}
# As literal, but with as many roll-outs in all as the preset's own RAL, and so with many more updates (notebook 08).
RUNS["RAL literal, as many roll-outs"] = RUNS["RAL literal"] | {
    "updates": lambda c: max(1, c.updates * c.rollouts // RalConfig().rollouts)
}
# What the anchored run rests on: each has some of its settings as the preset's own RAL has them.
RUNS |= {
    f"RAL anchored, {keys} taken back": {k: v for k, v in RUNS["RAL anchored"].items() if k not in keys.split(" and ")}
    for keys in (
        "kl", "critic_updates", "kl and critic_updates", "warmup", "penalty", "normalise", "reward", "lr_prior",
    )
}  # fmt: skip


# What notebooks 00 to 09 train, by levels of codes (None: the oracle experiment), so that `reproduce` can train it side
# by side before they run. What takes longest comes first.
COURSE: dict[int | None, tuple[str, ...]] = {
    2: (*METHODS, "RAL partial", "RAL top", "RAL bottom"),
    1: (*METHODS, *(f"RAL {reward} {n}x{n}" for reward in ("single", "intermediate") for n in (8, 4, 2))),
    None: (*METHODS, "RAL anchored"),
}


def recipe(run: str, ral: RalConfig, size: int) -> RalConfig:
    """The RalConfig of a run, from the preset's `ral`, for images of `size` pixels; RalkitError for an unknown run."""
    if run not in RUNS:
        raise RalkitError(f"unknown method {run!r}; there are: {', '.join((*MLE, *RUNS))}")
    changes = {key: value(ral) if callable(value) else value for key, value in RUNS[run].items()}
    if "map" in changes:  # the score map's side is the image's over 2^stages
        changes["critic_stages"] = int(log2(size / changes.pop("map")))
    return replace(ral, **changes)


def canonical(method: str, ral: RalConfig, size: int) -> str:
    """The first run with the same recipe as `method`: "RAL single 4x4" is "RAL single" where maps are 4x4 anyway."""
    if method in MLE:
        return method
    own = recipe(method, ral, size)
    return next(run for run in RUNS if recipe(run, ral, size) == own)


def in_updates(method: str, history: History) -> History:
    """A run's history with its steps counted in RAL's updates; the control makes several for each."""
    each = STEPS_AN_UPDATE if method == "MLE continued" else 1
    return history | {"step": [step / each for step in history["step"]]}


def control(mle: PriorConfig | SnailConfig, ral: RalConfig) -> PriorConfig | SnailConfig:
    """The recipe of "MLE continued": on by MLE for as long as RAL takes, with its batch and learning rate.

    That is STEPS_AN_UPDATE steps for each update of RAL. As in RAL there is no dropout.
    """
    steps = STEPS_AN_UPDATE * ral.updates
    return replace(mle, batch=ral.rollouts, steps=steps, lr=ral.lr_prior, dropout=0.0)
