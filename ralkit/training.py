"""The training loop that every stage uses, and the stages: VQ-VAE, prior (MLE), the critic's warm-up, RAL.

`fit` can be killed at any moment: its checkpoint holds the models, the optimisers, the step, the history and the
random number generators' states, and a run continued from it ends, on a CPU, with the same bits. Under torchrun each
rank takes its share of every batch (`distributed`); rank 0 reports and saves.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import distributed, store
from .errors import RalkitError
from .modes import evaluating
from .prior import PriorConfig, SnailConfig
from .protocols import Codes, Critic, Decoder, Prior
from .ral import Adam, RalConfig, critic_update, descend, draw_real, learning_levels, ral_iteration, roll_out, warm_up
from .vqvae import VQVAE, VQVAE2, VQVAEConfig, as_levels, perplexities, to_float, vqvae_loss

History = dict[str, list[float]]
Evaluation = Callable[[], dict[str, float]]
Parts = Mapping[str, nn.Module | torch.optim.Optimizer]
BETAS = (0.5, 0.999)  # Adam's in RAL, section 4.4
SAVING = 0.05  # the share of the time that saving checkpoints may take


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers inside start from `seed`; those outside go on as if nothing had been drawn."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def _enough_memory(what: str, device: torch.device) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has a class of its own for GPUs only
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in str(error):
            raise
        raise RalkitError(
            f"{what} does not fit the memory of {device_name(device)}; make room there, or run `train` with --at-once "
            "or --recompute; what was saved stays, and the same command goes on from it"
        ) from error


def _check_finite(name: str, when: str, row: Mapping[str, float], modules: Mapping[str, nn.Module]) -> None:
    """Raise RalkitError, naming the stage and the quantity, if a number of `row` or a weight is not finite."""
    finite = {key: math.isfinite(value) for key, value in row.items()}
    weights = {f"{part}.{key}": x for part, module in modules.items() for key, x in module.state_dict().items()}
    if weights:
        flags = torch.stack([x.isfinite().all() for x in weights.values()])  # looked at together: a GPU is waited for
        finite |= dict(zip(weights, flags.tolist(), strict=True))
    for what in (key for key, fine in finite.items() if not fine):
        raise RalkitError(f"{name}: {what} is not finite at {when}; lower the learning rate")


def _resume(checkpoint: Path, parts: Parts, seed: int, steps: int, device: torch.device) -> tuple[int, float, History]:
    """Bring `parts` and the random numbers back to where `checkpoint` was made: its step, seconds and history."""
    try:
        with _enough_memory(str(checkpoint), device):
            saved = store.read(checkpoint)
            for key, part in parts.items():
                part.load_state_dict(saved["parts"][key])
        start, seconds, history, random = (saved[key] for key in ("step", "seconds", "history", "random"))
        if not 0 <= start < steps:
            raise ValueError(f"step {start} of {steps}")
        if len(random) == distributed.world_size():
            _set_random_state(random[distributed.rank()])
        else:  # processes joined or left: random numbers that none of them has drawn before
            torch.manual_seed(distributed.local_seed(seed) + 7919 * start)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RalkitError(f"{checkpoint} is not a checkpoint of this run; move it away and run again") from error
    return start, seconds, history


def print_point(name: str, steps: int, history: History) -> None:
    """Print the latest point of a stage of `steps` steps: one line with its name, step, seconds and numbers."""
    row = {key: values[-1] for key, values in history.items()}
    t, seconds = row.pop("step"), row.pop("seconds")
    shown = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
    print(f"{name}  {t:>6}/{steps}  {seconds:6.1f} s  {shown}", flush=True)


def fit(
    name: str,
    parts: Parts,
    step: Callable[[int], dict[str, Tensor]],
    steps: int,
    *,
    seed: int,
    checkpoint: Path | None = None,
    evaluate: Evaluation | None = None,
    points: int = 20,
    save_minutes: float = 1 / 3,
    bf16: bool = False,
    on_point: Callable[[str, int, History], None] = print_point,
    on_step: Callable[[str, int, int], None] | None = None,
) -> History:
    """Call step(0) .. step(steps - 1), evaluating before the first and `points` times from then to the end, evenly.

    `parts` are all objects that change, by name; `step` returns scalars to log. With a `checkpoint` path the run saves
    itself there every `save_minutes`, but more rarely where saving would take more than 5 % of the time, and continues
    from what lies there. Returns the history: "step" and "seconds" lists beside one list for each logged and evaluated
    number. With `bf16` steps, not evaluations, run under autocast. Rank 0 calls on_point(name, steps, history) at each
    point, and on_step(name, t, steps) whenever t steps are done. Raises RalkitError if a weight or a number is not
    finite at a point or before saving, if a step does not fit the memory, and if the checkpoint is not of this run.
    """
    evaluated = {round(i * steps / points) for i in range(points + 1)}
    history: History = {}
    leads = distributed.rank() == 0
    modules = {key: part for key, part in parts.items() if isinstance(part, nn.Module)}
    device = device_of(next(iter(modules.values())))
    with seeded(distributed.local_seed(seed)):
        start, spent = 0, 0.0
        distributed.broadcast_modules(*modules.values())
        if checkpoint is not None and checkpoint.exists():
            start, spent, history = _resume(checkpoint, parts, seed, steps, device)
            if leads:
                print(f"{name}: continues at step {start} of {steps}")
        began = saved_at = time.monotonic()
        interval = 60 * save_minutes
        logs: dict[str, Tensor] = {}
        for t in range(start, steps + 1):
            when, looking = f"step {t} of {steps}", f"{name}: looking at step {t}"
            if leads and on_step is not None:
                on_step(name, t, steps)
            if t in evaluated and history.get("step", [-1])[-1] < t:
                row = {key: value.item() for key, value in logs.items()}
                _check_finite(name, when, row, modules)
                if evaluate is not None:
                    with seeded(seed + 1), evaluating(*modules.values()), _enough_memory(looking, device):
                        row |= evaluate()
                    _check_finite(name, when, row, {})
                seconds = spent + time.monotonic() - began
                for key, value in ({"step": t, "seconds": seconds} | row).items():
                    history.setdefault(key, []).append(value)
                if leads:
                    on_point(name, steps, history)
            if t == steps:
                break
            if checkpoint is not None and distributed.broadcast(time.monotonic() - saved_at >= interval):
                saving = time.monotonic()
                _check_finite(name, when, {key: value.item() for key, value in logs.items()}, modules)
                random = distributed.gather_objects(_random_state())
                if leads:
                    states = {key: part.state_dict() for key, part in parts.items()}
                    elapsed = spent + saving - began
                    content = {"parts": states, "step": t, "seconds": elapsed, "history": history, "random": random}
                    store.write(checkpoint, content)
                saved_at = time.monotonic()
                interval = max(60 * save_minutes, (saved_at - saving) / SAVING)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16), _enough_memory(f"{name}: step {t}", device):
                logs = step(t)
    return history


def resident(x: Tensor, device: torch.device) -> Tensor:
    """x on the device, where it takes no more than a quarter of the memory free there; else x as it is."""
    if device.type == "cuda" and x.nbytes <= torch.cuda.mem_get_info(device)[0] / 4:
        return x.to(device)
    return x


def draw(n: int, *arrays: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """The same n rows of each array, drawn with replacement, on `device`; uint8 images become floats in [-1, 1]."""
    rows = torch.randint(len(arrays[0]), (n,), device=arrays[0].device)
    batches = (x[rows].to(device) for x in arrays)
    return tuple(to_float(x) if x.dtype == torch.uint8 else x.long() for x in batches)


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter."""
    return next(model.parameters()).device


def device_name(device: torch.device) -> str:
    """What a number measured on the device is said to come from."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"a CPU, {threads} thread{'s' * (threads > 1)}"


def anneal(optimiser: torch.optim.Optimizer, lr: float, t: int, steps: int) -> None:
    """Learning rate `lr` for the first half of the steps, then linearly to 0."""
    for group in optimiser.param_groups:
        group["lr"] = lr * min(1.0, 2 * (1 - t / steps))


# Raise it when the mathematics of the function below changes: weights made by other mathematics are then trained anew.
VQVAE_RECIPE = 1


def train_vqvae(
    model: VQVAE | VQVAE2, images: Tensor, test: Tensor, cfg: VQVAEConfig, *, name: str = "VQ-VAE", **options
) -> History:
    """Train a VQ-VAE on uint8 images (N, 3, S, S), and evaluate its error and perplexity on those of `test`.

    `options` are those of `fit`, as they are of every function below that trains.
    """
    device = device_of(model)
    optimiser, images = Adam(model.parameters(), cfg.lr), resident(images, device)

    def step(t: int) -> dict[str, Tensor]:
        anneal(optimiser, cfg.lr, t, cfg.steps)
        (x,) = draw(distributed.local_batch(cfg.batch), images, device=device)
        loss, logs = vqvae_loss(model, x, cfg.beta)
        descend(loss, optimiser)
        return logs

    def evaluate() -> dict[str, float]:
        codes, squares = [], 0.0
        for part in test.split(cfg.batch):
            x = to_float(part.to(device))
            codes.append(as_levels(model.encode(x)))
            squares += F.mse_loss(model.decode(*codes[-1]), x, reduction="sum").item()
        levels = tuple(torch.cat(level) for level in zip(*codes, strict=True))
        named = {f"test_{name}": p.item() for name, p in perplexities(levels, model.K).items()}
        return {"test_mse": squares / test.numel()} | named

    parts = {"model": model.train(), "optimiser": optimiser}
    return fit(name, parts, step, cfg.steps, evaluate=evaluate, **options)


# Raise it when the mathematics of the function below changes: weights made by other mathematics are then trained anew.
MLE_RECIPE = 1


def train_mle(
    prior: Prior, codes: Tensor, cfg: PriorConfig | SnailConfig, *, condition: Tensor | None = None,
    decay: bool = True, at_once: int | None = None, **options,
) -> History:  # fmt: skip
    """Train a prior by maximum likelihood on codes (N, H, W), given condition (N, h, w); logs nats per image.

    With `decay` the learning rate falls to 0 over the second half of the steps. A step differentiates `at_once` images
    together (default: the batch), which bounds the memory and changes nothing.
    """
    optimiser = Adam(prior.parameters(), cfg.lr)
    data = (codes,) if condition is None else (codes, condition)

    def step(t: int) -> dict[str, Tensor]:
        if decay:
            anneal(optimiser, cfg.lr, t, cfg.steps)
        n = distributed.local_batch(cfg.batch)
        parts = zip(*(x.split(at_once or n) for x in draw(n, *data, device=codes.device)), strict=True)
        losses = (-prior.log_prob(*part).sum((1, 2)).mean() * (len(part[0]) / n) for part in parts)
        return {"NLL_train": descend(losses, optimiser)}

    parts = {"prior": prior.train(), "optimiser": optimiser}
    return fit(parts=parts, step=step, steps=cfg.steps, **options)


def critic_adam(critic: Critic, cfg: RalConfig) -> torch.optim.Optimizer:
    """The critic's optimiser, as section 4.4 has it."""
    return Adam(critic.parameters(), cfg.lr_critic, BETAS)


def warm_config(cfg: RalConfig) -> RalConfig:
    """`cfg` with every field that does not affect the warm-up reset to its default: equal for runs that share one."""
    names = (
        "critic_batch", "warmup", "lr_critic", "critic_loss", "penalty", "critic_norm", "critic_channels",
        "critic_stages", "partial",
    )  # fmt: skip
    return RalConfig(**{name: getattr(cfg, name) for name in names})


# Raise it when the mathematics of the function below changes: weights made by other mathematics are then trained anew.
WARM_UP_RECIPE = 1


def warm_critic(
    critic: Critic, optimiser: torch.optim.Optimizer, priors: Sequence[Prior], decode: Decoder, codes: Codes,
    cfg: RalConfig, *, seed: int,
) -> None:  # fmt: skip
    """Warm a fresh critic up against the priors as they are (section 4.4); every rank ends with the same critic."""
    for prior in priors:
        prior.eval()
    cfg = replace(cfg, critic_batch=distributed.local_batch(cfg.critic_batch))
    distributed.broadcast_modules(*priors, critic)
    with seeded(distributed.local_seed(seed)), _enough_memory("the critic's warm-up", device_of(critic)):
        warm_up(priors, decode, critic, optimiser, codes, cfg)


# Raise it when the mathematics of the function below changes: weights made by other mathematics are then trained anew.
RAL_RECIPE = 1


def train_ral(
    priors: Sequence[Prior], critic: Critic, critic_optimiser: torch.optim.Optimizer, decode: Decoder,
    codes: Codes, cfg: RalConfig, *, at_once: int | None = None, reference: Sequence[Prior] | None = None, **options,
) -> History:  # fmt: skip
    """Fine-tune the priors by RAL against real codes (N, H, W), ...; a step is one update of the priors.

    Each level has one prior and one tensor of codes, the top one first. The critic has been warmed up (`warm_critic`).
    `at_once` is that of `train_mle`, `reference` that of `ral_iteration`.
    """
    share = distributed.local_batch
    cfg = replace(cfg, rollouts=share(cfg.rollouts), critic_batch=share(cfg.critic_batch))
    learning = [p for level in learning_levels(len(priors), cfg) for p in priors[level].parameters()]
    prior_optimiser = Adam(learning, cfg.lr_prior, BETAS)
    for prior in priors:  # no dropout: the network that is differentiated must be the one that was sampled from
        prior.eval()

    def step(t: int) -> dict[str, Tensor]:
        if cfg.anneal:
            anneal(prior_optimiser, cfg.lr_prior, t, cfg.updates)
        return ral_iteration(priors, decode, critic, prior_optimiser, critic_optimiser, codes, cfg, at_once, reference)

    parts = {"priors": nn.ModuleList(priors), "critic": critic}
    parts |= {"prior_optimiser": prior_optimiser, "critic_optimiser": critic_optimiser}
    return fit(parts=parts, step=step, steps=cfg.updates, **options)


# Raise it when the mathematics of the function below changes: weights made by other mathematics are then trained anew.
CRITIC_RECIPE = 1


def train_critic(
    critic: Critic, priors: Sequence[Prior], decode: Decoder, codes: Codes, cfg: RalConfig, updates: int, **options
) -> History:
    """Train a critic alone against priors that stand still, for `updates` steps; never under autocast, as in RAL."""
    optimiser = critic_adam(critic, cfg)
    last, n = codes[0].shape[1], distributed.local_batch(cfg.critic_batch)

    def step(t: int) -> dict[str, Tensor]:
        real = decode(*draw_real(codes, n, last))
        fake = decode(*roll_out(priors, codes, n, 0, last))
        return {"critic_loss": critic_update(critic, optimiser, real, fake, cfg)}

    return fit(parts={"critic": critic, "optimiser": optimiser}, step=step, steps=updates, **options | {"bf16": False})
