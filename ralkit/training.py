"""The training loop that every stage uses, and the stages: VQ-VAE, factor network, prior (MLE), RAL.

`fit` can be killed at any moment: its checkpoint holds the models, the optimisers, the step, the history and the
random number generators' states, and a run continued from it ends, on a CPU, with the same bits. Under torchrun each
rank takes its share of every batch (`ranks`); the first one reports and saves.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from . import distributed, store
from .course.faces import FactorConfig, FactorNet
from .critic import PatchCritic
from .errors import RalkitError
from .prior import Prior, PriorConfig, SnailConfig
from .protocols import Codes
from .ral import Adam, RalConfig, critic_update, descend, draw_real, learning_levels, ral_iteration, roll_out, warm_up
from .vqvae import VQVAE, VQVAE2, VQVAEConfig, as_levels, perplexities, to_float, vqvae_loss

History = dict[str, list[float]]
Evaluation = Callable[[], dict[str, float]]
Decoder = Callable[..., Tensor]  # codes of every level -> images
BETAS = (0.5, 0.999)  # Adam's in RAL, section 4.4
WATCHERS: list[Callable[[str, History], None]] = []  # are told a stage's name and history at each of its points


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
def evaluating(parts: dict[str, nn.Module | torch.optim.Optimizer]) -> Iterator[None]:
    """Modules among `parts` are in eval mode inside."""
    training = [part for part in parts.values() if isinstance(part, nn.Module) and part.training]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module in training:
            module.train()


@contextmanager
def _enough_memory(what: str, device: torch.device) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has a class of its own for GPUs only
        full = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
        if not full:
            raise
        raise RalkitError(
            f"{what} does not fit the memory of {device_name(device)}; make room there, or run `train` with --at-once "
            "or --recompute; what was saved stays, and the same command goes on from it"
        ) from error


def fit(
    name: str,
    parts: dict[str, nn.Module | torch.optim.Optimizer],
    step: Callable[[int], dict[str, Tensor]],
    steps: int,
    *,
    seed: int,
    checkpoint: Path | None = None,
    evaluate: Evaluation | None = None,
    points: int = 20,
    save_seconds: float = 20.0,
    bf16: bool = False,
) -> History:
    """Call step(0) .. step(steps - 1), evaluating before the first and `points` times from then to the end, evenly.

    `parts` are all objects that change, by name; `step` returns scalars to log. With a `checkpoint` path the run
    saves itself there every `save_seconds` and continues from what lies there. Returns the history: "step" and
    "seconds" lists beside one list for each logged mean and evaluated number. With `bf16` steps, not evaluations,
    run under autocast. Raises RalkitError if a loss is not finite, and if a step does not fit the memory.
    """
    evaluated = {round(i * steps / points) for i in range(points + 1)}
    history: History = {}
    leads = distributed.rank() == 0
    device = device_of(next(part for part in parts.values() if isinstance(part, nn.Module)))
    with seeded(distributed.local_seed(seed)):
        start, spent = 0, 0.0
        distributed.broadcast_modules(*(part for part in parts.values() if isinstance(part, nn.Module)))
        if checkpoint is not None and checkpoint.exists():
            saved = store.read(checkpoint)
            for key, part in parts.items():
                part.load_state_dict(saved["parts"][key])
            start, spent, history = saved["step"], saved["seconds"], saved["history"]
            if len(saved["random"]) == distributed.world_size():
                _set_random_state(saved["random"][distributed.rank()])
            else:  # processes joined or left: random numbers that none of them has drawn before
                torch.manual_seed(distributed.local_seed(seed) + 7919 * start)
            if leads:
                print(f"{name}: continues at step {start} of {steps}")
        began = saved_at = time.monotonic()
        logs: dict[str, Tensor] = {}
        counter = range(start, steps + 1)
        for t in tqdm(counter, desc=name, initial=start, total=steps, leave=False, mininterval=2, disable=not leads):
            if t in evaluated and history.get("step", [-1])[-1] < t:
                row = {key: value.item() for key, value in logs.items()}
                if not all(abs(value) < float("inf") for value in row.values()):
                    raise RalkitError(
                        f"{name}: a logged value is not finite at step {t} ({row}); lower the learning rate"
                    )
                if evaluate is not None:
                    with seeded(seed + 1), evaluating(parts), _enough_memory(f"{name}: looking at step {t}", device):
                        row |= evaluate()
                seconds = spent + time.monotonic() - began
                for key, value in ({"step": t, "seconds": seconds} | row).items():
                    history.setdefault(key, []).append(value)
                for watcher in WATCHERS:
                    watcher(name, history)
                shown = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
                if leads:
                    print(f"{name}  {t:>6}/{steps}  {seconds:6.1f} s  {shown}", flush=True)
            if t == steps:
                break
            if checkpoint is not None and distributed.broadcast(time.monotonic() - saved_at > save_seconds):
                random = distributed.gather_objects(_random_state())
                if leads:
                    states = {key: part.state_dict() for key, part in parts.items()}
                    elapsed = spent + time.monotonic() - began
                    content = {"parts": states, "step": t, "seconds": elapsed, "history": history, "random": random}
                    store.write(checkpoint, content)
                saved_at = time.monotonic()
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
    return next(model.parameters()).device


def device_name(device: torch.device) -> str:
    """What a number measured on the device is said to come from."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"a CPU, {torch.get_num_threads()} threads"


def anneal(optimiser: torch.optim.Optimizer, lr: float, t: int, steps: int) -> None:
    """Learning rate `lr` for the first half of the steps, then linearly to 0."""
    for group in optimiser.param_groups:
        group["lr"] = lr * min(1.0, 2 * (1 - t / steps))


def train_vqvae(model: VQVAE | VQVAE2, images: Tensor, test: Tensor, cfg: VQVAEConfig, **options) -> History:
    """Train the VQ-VAE on uint8 images (N, 3, S, S); evaluates the error and the perplexity on `test`."""
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
    return fit("VQ-VAE", parts, step, cfg.steps, evaluate=evaluate, **options)


def train_factors(net: FactorNet, images: Tensor, factors: Tensor, cfg: FactorConfig, **options) -> History:
    """Train the classifier of the factors (N, F) of uint8 faces (N, 3, S, S)."""
    device = device_of(net)
    optimiser, (images, factors) = Adam(net.parameters(), cfg.lr), (resident(x, device) for x in (images, factors))

    def step(t: int) -> dict[str, Tensor]:
        anneal(optimiser, cfg.lr, t, cfg.steps)
        x, truth = draw(distributed.local_batch(cfg.batch), images, factors, device=device)
        logits = net(x)
        loss = sum(F.cross_entropy(z, truth[:, i]) for i, z in enumerate(logits))
        descend(loss, optimiser)
        right = torch.stack([z.argmax(1) == truth[:, i] for i, z in enumerate(logits)])
        return {"loss": loss.detach(), "accuracy": right.float().mean()}

    return fit("factor network", {"net": net.train(), "optimiser": optimiser}, step, cfg.steps, **options)


def train_mle(
    prior: Prior,
    codes: Tensor,
    cfg: PriorConfig | SnailConfig,
    *,
    above: Tensor | None = None,
    evaluate: Evaluation,
    decay: bool = True,
    at_once: int | None = None,
    **options,
) -> History:
    """Train a prior by maximum likelihood on codes (N, H, W), given those `above` (N, h, w); logs nats per image.

    A step differentiates `at_once` images together (default: the batch), which bounds the memory and changes nothing.
    """
    optimiser = Adam(prior.parameters(), cfg.lr)
    data = (codes,) if above is None else (codes, above)

    def step(t: int) -> dict[str, Tensor]:
        if decay:
            anneal(optimiser, cfg.lr, t, cfg.steps)
        n = distributed.local_batch(cfg.batch)
        parts = zip(*(x.split(at_once or n) for x in draw(n, *data, device=codes.device)), strict=True)
        losses = (-prior.log_prob(*part).sum((1, 2)).mean() * (len(part[0]) / n) for part in parts)
        return {"NLL_train": descend(losses, optimiser)}

    parts = {"prior": prior.train(), "optimiser": optimiser}
    return fit(parts=parts, step=step, steps=cfg.steps, evaluate=evaluate, **options)


def critic_adam(critic: PatchCritic, cfg: RalConfig) -> torch.optim.Optimizer:
    return Adam(critic.parameters(), cfg.lr_critic, BETAS)


def warm_config(cfg: RalConfig) -> RalConfig:
    """Of `cfg` what a critic's warm-up depends on, the rest as RalConfig has it: equal for runs that can share one."""
    names = (
        "critic_batch", "warmup", "lr_critic", "critic_loss", "penalty", "critic_norm", "critic_channels",
        "critic_stages", "partial",
    )  # fmt: skip
    return RalConfig(**{name: getattr(cfg, name) for name in names})


def warm_critic(
    critic: PatchCritic, optimiser: torch.optim.Optimizer, priors: Sequence[Prior], decode: Decoder, codes: Codes,
    cfg: RalConfig, *, seed: int,
) -> None:  # fmt: skip
    """Warm a fresh critic up against the priors as they are; every rank ends with the same critic."""
    for prior in priors:
        prior.eval()
    cfg = replace(cfg, critic_batch=distributed.local_batch(cfg.critic_batch))
    distributed.broadcast_modules(*priors, critic)
    with seeded(distributed.local_seed(seed)), _enough_memory("the critic's warm-up", device_of(critic)):
        warm_up(priors, decode, critic, optimiser, codes, cfg)


def train_ral(
    priors: Sequence[Prior], critic: PatchCritic, critic_optimiser: torch.optim.Optimizer, decode: Decoder,
    codes: Codes, cfg: RalConfig, *, at_once: int | None = None, reference: Sequence[Prior] | None = None, **options,
) -> History:  # fmt: skip
    """Fine-tune the priors by RAL against real codes (N, H, W), ...; steps count updates.

    Priors and codes are one for each level, the top one first; the critic has been warmed up (`warm_critic`);
    `at_once` as in `train_mle`, `reference` as in `ral_iteration`.
    """
    cfg = replace(
        cfg, rollouts=distributed.local_batch(cfg.rollouts), critic_batch=distributed.local_batch(cfg.critic_batch)
    )
    learning = [p for level in learning_levels(len(priors), cfg) for p in priors[level].parameters()]
    prior_optimiser = Adam(learning, cfg.lr_prior, BETAS)
    for prior in priors:  # no dropout: the network that is differentiated must be the one that was sampled from
        prior.eval()

    def step(t: int) -> dict[str, Tensor]:
        if cfg.anneal:
            anneal(prior_optimiser, cfg.lr_prior, t, cfg.updates)
        return ral_iteration(priors, decode, critic, prior_optimiser, critic_optimiser, codes, cfg, at_once, reference)

    parts = {
        "priors": nn.ModuleList(priors),
        "critic": critic,
        "prior_optimiser": prior_optimiser,
        "critic_optimiser": critic_optimiser,
    }
    return fit(parts=parts, step=step, steps=cfg.updates, **options)


def train_critic(
    critic: PatchCritic, priors: Sequence[Prior], decode: Decoder, codes: Codes, cfg: RalConfig, updates: int, **options
) -> History:
    """Train a critic alone against priors that stand still, for `updates` steps; never under autocast, as in RAL."""
    optimiser = critic_adam(critic, cfg)
    last, n = codes[0].shape[1], distributed.local_batch(cfg.critic_batch)

    def step(t: int) -> dict[str, Tensor]:
        real = decode(*draw_real(codes, n, last))
        fake = decode(*roll_out(priors, codes, n, 0, last))
        return {"critic_loss": critic_update(critic, optimiser, real, fake, cfg)}

    return fit(parts={"critic": critic, "optimiser": optimiser}, step=step, steps=updates, **options | {"bf16": False})
