"""Sampling of any prior: one map of codes, the maps of all levels, and the completion of maps that are known in part.

A prior draws its own maps by `prior.sample`. One that only has logits gets that method, and `log_prob`, from
`AutoregressiveMixin`, at the price of a forward pass a code; `cache` has the fast sampler of `prior.TwoStreamPrior`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RalkitError
from .modes import evaluating
from .protocols import Codes, Prior, own_and_above

LEAST_TEMPERATURE = 1e-6  # logits / temperature is then finite in float32 for logits of up to 1e32

# ---- Checks: each raises RalkitError, with a sentence of what is wrong ----


def _described(x: Any) -> str:
    return f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"


def check_number(what: str, value: int, least: int, most: float = math.inf) -> None:
    """Raise RalkitError unless `value` is a whole number from `least` to `most`."""
    if not isinstance(value, Integral) or not least <= value <= most:
        limits = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
        raise RalkitError(f"{what} is {value}; it must be a whole number {limits}")


def check_temperature(temperature: float) -> None:
    """Raise RalkitError unless logits can be divided by `temperature`."""
    if not isinstance(temperature, Real) or not LEAST_TEMPERATURE <= temperature < math.inf:
        raise RalkitError(
            f"the temperature is {temperature}; it must be a finite number of at least {LEAST_TEMPERATURE:g}"
        )


def check_codes(what: str, codes: Tensor, *shape: int | str) -> None:
    """Raise RalkitError unless `codes` are integers of `shape`, in which a letter stands for any size."""
    fits = isinstance(codes, Tensor) and not (codes.is_floating_point() or codes.is_complex())
    fits = fits and codes.dtype != torch.bool and codes.ndim == len(shape)
    if not fits or any(not isinstance(m, str) and m != n for m, n in zip(shape, codes.shape, strict=True)):
        wanted = ", ".join(map(str, shape))
        raise RalkitError(f"{what} must be integers of shape ({wanted}), not {_described(codes)}")


def check_keep(keep: Tensor, *shape: int) -> None:
    """Raise RalkitError unless `keep` is a bool map of `shape`."""
    if not isinstance(keep, Tensor) or keep.shape != shape or keep.dtype != torch.bool:
        raise RalkitError(f"the places to keep must be torch.bool of shape {shape}, not {_described(keep)}")


def _check_given(given: Tensor | None, K: int, n: int, H: int, W: int, given_rows: int, keep: Tensor | None) -> None:
    """Raise RalkitError unless the codes that are kept of `given` exist; this waits for the device once."""
    check_number("the number of given rows", given_rows, 0, H)
    if keep is not None:
        check_keep(keep, H, W)
    if given is not None:
        check_codes("the given codes", given, n, H, W)
    if not given_rows and keep is None:
        return
    if given is None:
        raise RalkitError(f"codes of shape {(n, H, W)} must be given where rows or places of them are kept")
    kept = torch.zeros(H, W, dtype=torch.bool) if keep is None else keep.cpu().clone()
    kept[:given_rows] = True
    low, high = torch.stack(given.long().masked_fill(~kept.to(given.device), 0).aminmax()).tolist()
    if low < 0 or high >= K:
        wrong = low if low < 0 else high
        raise RalkitError(f"a given code is {wrong}; this prior's codes are from 0 to {K - 1}")


# ---- One map ----


@contextmanager
def undisturbed(prior: nn.Module) -> Iterator[None]:
    """Switch dropout and autocast off: samples come from the very network whose probabilities are computed."""
    with evaluating(prior), torch.autocast(next(prior.parameters()).device.type, enabled=False):
        yield


def begin(
    prior: Prior, n: int, shape: tuple[int, int], condition: Tensor | None, temperature: float, given: Tensor | None,
    given_rows: int, keep: Tensor | None, generator: torch.Generator | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Check what `sample` is asked for, and prepare it.

    Returns codes (n, H, W), whose given rows are filled in; uniform numbers (n, H, W), which decide the other codes;
    `condition` and `given` as int64 on the prior's device. Raises RalkitError for what cannot be sampled.
    """
    check_number("the number of maps", n, 1)
    check_temperature(temperature)
    if len(shape) != 2:
        raise RalkitError(f"the shape of a map is {tuple(shape)}; it must be (H, W)")
    for side in shape:
        check_number("a side of the map", side, 1)
    H, W = shape
    if condition is not None:
        check_codes("the condition", condition, n, "h", "w")
    _check_given(given, prior.K, n, H, W, given_rows, keep)
    codes = torch.zeros(n, H, W, dtype=torch.long, device=next(prior.parameters()).device)
    condition, given = (None if x is None else x.to(codes) for x in (condition, given))
    if given_rows:
        codes[:, :given_rows] = given[:, :given_rows]
    u = torch.rand(n, H, W, dtype=torch.float32, device=codes.device, generator=generator)
    return codes, u, condition, given


def choose(logits: Tensor, u: Tensor, temperature: float = 1.0, out: Tensor | None = None) -> Tensor:
    """Draw codes (n, 1) from softmax(logits / temperature), of logits (n, K), by u (n, 1) in [0, 1).

    The code is where the distribution function reaches u. Where logits are not numbers it is K - 1, which exists, so
    that the loss can tell of them.
    """
    if temperature != 1:
        logits = logits.float() / temperature
    cdf = logits.softmax(-1, dtype=torch.float32).cumsum_(-1)
    # The last entry is 1 but for rounding. Scaling by it keeps a u close to 1 inside.
    return torch.searchsorted(cdf, u * cdf[:, -1:], right=True, out=out).clamp_(max=logits.shape[-1] - 1)


@torch.no_grad()
def sample_naive(
    prior: Prior,
    n: int,
    shape: tuple[int, int],
    condition: Tensor | None = None,
    *,
    temperature: float = 1.0,
    given: Tensor | None = None,
    given_rows: int = 0,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw n code maps (n, H, W) by one full forward pass a code; `condition` (n, h, w) is the level above.

    The first `given_rows` rows, and the places marked in `keep` (H, W), are those of `given` (n, H, W). A code depends
    on what comes before it, given or drawn. Every submodule is in eval mode. Raises RalkitError for bad input.
    """
    codes, u, condition, given = begin(prior, n, shape, condition, temperature, given, given_rows, keep, generator)
    kept = None if keep is None else keep.tolist()
    with undisturbed(prior):
        for i in range(given_rows, shape[0]):
            for j in range(shape[1]):
                if kept is not None and kept[i][j]:
                    codes[:, i, j] = given[:, i, j]
                else:
                    codes[:, i, j, None] = choose(prior(codes, condition)[:, i, j], u[:, i, j, None], temperature)
    return codes


class AutoregressiveMixin:
    """The `log_prob` and the naive `sample` of a module with `K` and `forward(codes, condition)`, its logits.

    Logits are (B, H, W, K) for codes (B, H, W); those of a code may depend on the codes before it, in raster order, and
    on the condition (B, h, w).
    """

    K: int
    sample = sample_naive

    def log_prob(self, codes: Tensor, condition: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Return log G(c_t | c_0 .. c_{t-1}, condition) in nats, (B, H, W), of the softmax at `temperature`."""
        check_temperature(temperature)
        logits = self(codes, condition)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bfloat16 is too coarse for a loss
        logits = logits if temperature == 1 else logits / temperature
        # One row a code, because a softmax is fastest over the last axis.
        return -F.cross_entropy(logits.flatten(0, -2), codes.flatten(), reduction="none").view(codes.shape)


# ---- All levels ----


def sample_levels(
    priors: Sequence[Prior],
    n: int,
    shapes: Sequence[tuple[int, int]],
    *,
    temperatures: Sequence[float] | None = None,
    given: Sequence[Tensor] | None = None,
    given_rows: Sequence[int] | None = None,
    keep: Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> Codes:
    """Draw n code maps of every level, the top one first, each given the one above: ((n, H, W), (n, 2H, 2W)).

    Temperatures, given codes, numbers of given rows and places to keep are one for each level. Raises RalkitError where
    they are not, and as `sample_naive` does.
    """
    options = {"temperature": temperatures, "given": given, "given_rows": given_rows, "keep": keep}
    options = {key: values for key, values in options.items() if values is not None}
    for key, values in ({"shape": shapes} | options).items():
        if len(values) != len(priors):
            raise RalkitError(f"`{key}` has {len(values)} values for {len(priors)} levels; there must be one for each")
    codes: Codes = ()
    for level, (prior, shape) in enumerate(zip(priors, shapes, strict=True)):
        own = {key: values[level] for key, values in options.items()}
        codes += (prior.sample(n, shape, *codes[-1:], **own, generator=generator),)
    return codes


def _scales(priors: Sequence[Prior], real: Sequence[Tensor], keep: Tensor) -> list[int]:
    """Return how many places of each level, to either side, one place of `keep` stands for."""
    if len(real) != len(priors) or not priors:
        raise RalkitError(f"there are codes of {len(real)} levels and priors of {len(priors)}; give one each")
    for codes in real:
        check_codes("the codes to complete", codes, len(real[0]), "H", "W")
    check_keep(keep, *real[0].shape[1:])
    scales = [codes.shape[1] // max(1, len(keep)) for codes in real]
    for codes, scale in zip(real, scales, strict=True):
        if codes.shape[1:] != (scale * keep.shape[0], scale * keep.shape[1]):
            raise RalkitError(
                f"codes of shape {tuple(codes.shape)} cannot lie below a top level of shape {tuple(keep.shape)}; "
                "a lower level must be a whole number of times as high, and as many times as wide"
            )
    return scales


@torch.no_grad()
def complete(
    priors: Sequence[Prior], real: Sequence[Tensor], keep: Tensor, *, tries: int = 1, temperature: float = 1.0
) -> Codes:
    """Complete maps of every level: codes are `real` (n, H, W), ... where `keep` (H, W) of the top level says so.

    The others are sampled. A code depends on what is kept before it, not after it. With several `tries`, each map gets
    that many completions, and one of them is drawn with the weights of sampling-importance resampling: the product of
    G, at `temperature`, over the kept codes. So completions fit what is kept after them as well, and fit it the better
    the more tries there are. Raises RalkitError for fewer tries than 1, for shapes that do not fit, and as
    `sample_naive` does.
    """
    check_number("the number of tries", tries, 1)
    scales, n = _scales(priors, real, keep), len(real[0])
    masks = [keep.repeat_interleave(k, 0).repeat_interleave(k, 1) for k in scales]
    rows = next((i for i, row in enumerate(keep.tolist()) if not all(row)), len(keep))
    codes = sample_levels(
        priors, n * tries, [tuple(c.shape[1:]) for c in real], given=[c.repeat_interleave(tries, 0) for c in real],
        keep=masks, given_rows=[rows * k for k in scales], temperatures=[temperature] * len(priors),
    )  # fmt: skip
    if tries == 1:
        return codes
    weight = 0.0
    with evaluating(*(prior for prior in priors if isinstance(prior, nn.Module))):
        for level, (prior, mask) in enumerate(zip(priors, masks, strict=True)):
            parts = zip(*(c.split(512) for c in own_and_above(codes, level)), strict=True)
            log_probs = [prior.log_prob(*part, temperature=temperature)[:, mask].sum(1) for part in parts]
            weight = weight + torch.cat(log_probs)
    chosen = torch.multinomial(weight.view(n, tries).softmax(1), 1)[:, 0]
    chosen = chosen + tries * torch.arange(n, device=chosen.device)
    return tuple(c[chosen] for c in codes)
