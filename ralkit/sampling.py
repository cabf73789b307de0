"""Exact sampling of a prior with a cache: each code costs one step of the network, not a whole forward pass.

The vertical stream of a row depends on rows that are finished, so it is computed once a row; the horizontal
stream is computed a code at a time (Ramachandran et al. 2017, the paper's reference 36); attention keeps its keys
and values. Rows that are given need no steps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RalkitError
from .prior import Attention, GatedLayer, Prior, SnailBlock


class Rows:
    """What a vertical convolution looks at for the row to come: the last rows of its input, padded."""

    def __init__(self, conv: nn.Conv2d, n: int, W: int):
        height, k = conv.kernel_size
        self.p = k // 2
        self.rows = conv.weight.new_zeros(n, conv.in_channels, height, W + 2 * self.p)

    def __call__(self, x: Tensor) -> Tensor:
        """Take in the input's next row, (n, C, 1, W) or (n, C, W)."""
        rows = self.rows
        rows[:, :, :-1] = rows[:, :, 1:].clone()
        rows[:, :, -1, self.p : rows.shape[-1] - self.p] = x.flatten(2)
        return rows


class Left:
    """A horizontal convolution, a code at a time: a matrix product with the last columns of the row, (n, width C).

    At each place it adds a 1x1 convolution `beside` of what stands there already, computed once a row.
    """

    def __init__(self, conv: nn.Conv2d, beside: nn.Conv2d | None, n: int, W: int):
        C, width = conv.in_channels, conv.kernel_size[1]
        self.beside, self.bias, self.W = beside, conv.bias, W
        self.matrix = conv.weight[:, :, 0].movedim(0, 2).movedim(0, 1).flatten(0, 1)
        columns = conv.weight.new_zeros(n, (width - 1 + W) * C)
        # All views of it are made here: in the loop over the codes they would take as long as the products.
        self.newest = columns[:, (width - 1) * C :].split(C, 1)
        self.windows = [columns[:, j * C : (j + width) * C] for j in range(W)]

    def start_row(self, x: Tensor | None) -> None:
        """`x` (n, C', 1, W) goes into `beside`, if there is one."""
        if self.beside is None:
            self.aside = [self.bias] * self.W
        else:
            weight, bias = self.beside.weight[:, :, 0, 0], self.beside.bias + self.bias
            self.aside = F.linear(x[:, :, 0].permute(2, 0, 1), weight, bias).unbind()

    def __call__(self, x: Tensor, j: int) -> Tensor:
        """Output (n, C'') at column j, whose input is x (n, C)."""
        self.newest[j].copy_(x)
        return torch.addmm(self.aside[j], self.windows[j], self.matrix)


class LayerCache:
    """The running state of one layer of both streams: the rows above, the columns to the left."""

    def __init__(self, layer: GatedLayer | SnailBlock, n: int, W: int):
        self.layer = layer
        if isinstance(layer, SnailBlock):
            vertical, horizontal = layer.vertical, zip(layer.horizontal, (layer.link, layer.condition), strict=True)
        else:
            vertical, horizontal = [layer.vertical], [(layer.horizontal, layer.link)]
            self.out = (layer.out.bias, layer.out.weight[:, :, 0, 0].T.contiguous())
        self.rows = [Rows(conv, n, W) for conv in vertical]
        self.left = [Left(conv, beside, n, W) for conv, beside in horizontal]

    def start_row(self, v: Tensor, condition: Tensor | None) -> Tensor:
        """The vertical stream over the next row, (n, C, 1, W) -> (n, C, 1, W)."""
        v, seen = self.layer.down(v, *self.rows)
        self.aside = seen, condition
        for left, x in zip(self.left, self.aside, strict=False):
            left.start_row(x)
        return v

    def step(self, h: Tensor, j: int) -> Tensor:
        """The horizontal stream at column j, (n, C) -> (n, C): the layer's `right`."""
        if isinstance(self.layer, GatedLayer):
            x = self.left[0](h, j)
            x.narrow(1, 0, h.shape[1]).tanh_()
            bias, matrix = self.out
            return h + torch.addmm(bias, F.glu(x, 1), matrix)  # glu: the gate's other half, and their product
        first, second = self.left
        return h + F.glu(second(F.elu(first(F.elu(h), j)), j), 1)

    def whole_row(self, h: Tensor) -> Tensor:
        """The horizontal stream over a row that is given, (n, C, 1, W) -> (n, C, 1, W)."""
        return self.layer.right(h, *self.aside)


class AttentionCache:
    """The keys and values of the places that are finished, after the zeros that stand before the first."""

    def __init__(self, layer: Attention, n: int, shape: tuple[int, int]):
        H, W = shape
        self.layer, self.W = layer, W
        room = layer.query.weight.new_zeros(2, n, layer.heads, H * W + 1, layer.width // layer.heads)
        self.keys, self.values = room
        self.xy = layer.coordinates(range(H), W, room)

    def places(self, h: Tensor, start: Tensor, t: int) -> Tensor:
        """h (n, T, C) after attention, of the T places from t on."""
        T = h.shape[1]
        q, k, v = self.layer.project(h, start, self.xy[t : t + T])
        self.keys[:, :, t + 1 : t + 1 + T] = k
        self.values[:, :, t + 1 : t + 1 + T] = v
        seen = None if T == 1 else torch.ones(T, t + T, dtype=torch.bool, device=h.device).tril(t)
        k, v = self.keys[:, :, : t + T], self.values[:, :, : t + T]
        return self.layer.take_in(h, F.scaled_dot_product_attention(q, k, v, attn_mask=seen))

    def step(self, h: Tensor, start: Tensor, t: int) -> Tensor:
        """h (n, C) after attention, of place t."""
        return self.places(h[:, None], start[:, None], t)[:, 0]

    def whole_row(self, h: Tensor, start: Tensor, t: int) -> Tensor:
        """h (n, C, 1, W) after attention, of the row that begins at place t."""
        return self.places(h[:, :, 0].mT, start[:, :, 0].mT, t).mT[:, :, None]


class Cache:
    """The running state of `prior` over `n` maps of `shape`, given the codes of the level above, (n, h, w), or none."""

    def __init__(self, prior: Prior, n: int, shape: tuple[int, int], above: Tensor | None = None):
        self.prior, self.n, self.W = prior, n, shape[1]
        self.condition = prior.condition(above)
        self.layers = [
            AttentionCache(layer, n, shape) if isinstance(layer, Attention) else LayerCache(layer, n, shape[1])
            for layer in prior.layers
        ]
        self.attends = any(isinstance(layer, Attention) for layer in prior.layers)

    def _zeros(self, *width: int) -> Tensor:
        return self.prior.embedding.weight.new_zeros(self.n, self.prior.embedding.embedding_dim, *width)

    def start_row(self, i: int, above: Tensor | None) -> None:
        """Run the vertical stream over row i, from the codes in the row `above` it, (n, W); None for the first."""
        v = self._zeros(1, self.W) if above is None else self.prior.embedding(above).mT[:, :, None]
        condition = None if self.condition is None else self.condition[:, :, i : i + 1]
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                v = layer.start_row(v, condition)
        self.i = i

    def logits(self, j: int, left: Tensor | None) -> Tensor:
        """Logits (n, K) of column j of the current row, from the codes `left` of it, (n,); None at column 0."""
        h = start = self._zeros() if left is None else self.prior.embedding(left)
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                h = layer.step(h, j)
            else:
                h = start = layer.step(h, start, self.i * self.W + j)
        return self.prior.head(h)

    def skip_row(self, codes: Tensor) -> None:
        """Take in the current row, whose codes (n, W) are given: only attention has to know them."""
        if not self.attends:
            return
        h = start = F.pad(self.prior.embedding(codes).mT[:, :, None], (1, -1))
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                h = layer.whole_row(h)
            else:
                h = start = layer.whole_row(h, start, self.i * self.W)


def choose(logits: Tensor, u: Tensor) -> Tensor:
    """Codes (n,) drawn from softmax(logits (n, K)) by inverting its distribution function at u (n,) in [0, 1)."""
    cdf = logits.float().softmax(-1).cumsum(-1)
    # Scaling by the last entry keeps a u close to 1 inside when the sum rounds to less than 1.
    return torch.searchsorted(cdf, u[:, None] * cdf[:, -1:], right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)


def _start(prior, n, shape, temperature, given, given_rows, keep, generator) -> tuple[Tensor, Tensor]:
    """The empty (or partly given) codes and the uniform numbers that decide the others, both (n, H, W)."""
    if temperature <= 0:
        raise RalkitError(f"the sampling temperature is {temperature}; it must be above 0")
    H, W = shape
    device = prior.embedding.weight.device
    codes = torch.zeros(n, H, W, dtype=torch.long, device=device)
    if given_rows or keep is not None:
        if given is None or given.shape != codes.shape or not 0 <= given_rows <= H:
            got = None if given is None else tuple(given.shape)
            raise RalkitError(f"{given_rows} given rows of maps {(n, H, W)} need codes of that shape, not {got}")
        if keep is not None and (keep.shape != shape or keep.dtype != torch.bool):
            raise RalkitError(f"the places to keep are a bool map of {shape}, not {keep.dtype} of {tuple(keep.shape)}")
        codes[:, :given_rows] = given[:, :given_rows]
    return codes, torch.rand(n, H, W, device=device, generator=generator)


@contextmanager
def _evaluating(prior: nn.Module) -> Iterator[None]:
    training = prior.training
    prior.eval()
    yield
    prior.train(training)


def sample(
    prior: Prior,
    n: int,
    shape: tuple[int, int],
    above: Tensor | None = None,
    *,
    temperature: float = 1.0,
    given: Tensor | None = None,
    given_rows: int = 0,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 1024,
) -> Tensor:
    """Draw n code maps (n, H, W) from the prior, exactly, `chunk` at a time; `above` (n, h, w) are what it depends on.

    The first `given_rows` rows and the places marked in `keep` (H, W) are kept from `given` (n, H, W); a code sees of
    them what comes before it. Dropout is off. Raises RalkitError for a temperature that is not positive, and for
    given codes or a `keep` of another shape.
    """
    codes, u = _start(prior, n, shape, temperature, given, given_rows, keep, generator)
    H, W = shape
    kept = [[False] * W] * H if keep is None else keep.tolist()
    with torch.inference_mode(), _evaluating(prior):  # the codes are made outside: a loss may be taken on them
        for part in torch.arange(n).split(chunk):
            rows = slice(part[0], part[-1] + 1)
            c, x = codes[rows], u[rows]
            cache = Cache(prior, len(c), shape, None if above is None else above[rows])
            for i in range(H):
                cache.start_row(i, c[:, i - 1] if i else None)
                if i < given_rows:
                    cache.skip_row(c[:, i])
                    continue
                left = None
                for j in range(W):
                    logits = cache.logits(j, left)
                    left = given[rows, i, j].to(codes) if kept[i][j] else choose(logits / temperature, x[:, i, j])
                    c[:, i, j] = left
    return codes


@torch.no_grad()
def sample_naive(
    prior, n, shape, above=None, *, temperature=1.0, given=None, given_rows=0, keep=None, generator=None
) -> Tensor:
    """What `sample` does, by one full forward pass a code: the reference for its results and its speed."""
    codes, u = _start(prior, n, shape, temperature, given, given_rows, keep, generator)
    with _evaluating(prior):
        for i in range(given_rows, shape[0]):
            for j in range(shape[1]):
                if keep is not None and keep[i, j]:
                    codes[:, i, j] = given[:, i, j]
                else:
                    codes[:, i, j] = choose(prior(codes, above)[:, i, j] / temperature, u[:, i, j])
    return codes


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
) -> tuple[Tensor, ...]:
    """Draw n code maps of every level, the top one first, each given the one above: ((n, H, W), (n, 2H, 2W)).

    Temperatures, given codes, numbers of given rows and places to keep are one for each level; errors as `sample`'s.
    """
    options = {"temperature": temperatures, "given": given, "given_rows": given_rows, "keep": keep}
    codes: list[Tensor] = []
    for level, (prior, shape) in enumerate(zip(priors, shapes, strict=True)):
        own = {key: values[level] for key, values in options.items() if values is not None}
        codes.append(sample(prior, n, shape, *codes[-1:], **own, generator=generator))
    return tuple(codes)


@torch.no_grad()
def complete(
    priors: Sequence[Prior], real: Sequence[Tensor], keep: Tensor, *, tries: int = 1, temperature: float = 1.0
) -> tuple[Tensor, ...]:
    """Codes of every level: `real` ones (n, H, W), ... where `keep` (H, W) of the top level says so, else sampled.

    A code sees what is kept before it, not after it. With several `tries` each map gets that many completions, and one
    is drawn from them with the weights of sampling-importance resampling, the product of G over the kept codes:
    completions then answer to what is kept after them as well, the better the more tries there are.
    """
    n, shapes = len(real[0]), [tuple(c.shape[1:]) for c in real]
    scales = [H // keep.shape[0] for H, _ in shapes]
    masks = [keep.repeat_interleave(k, 0).repeat_interleave(k, 1) for k in scales]
    rows = next((i for i, row in enumerate(keep) if not row.all()), len(keep))
    codes = sample_levels(
        priors, n * tries, shapes, given=[c.repeat_interleave(tries, 0) for c in real], keep=masks,
        given_rows=[rows * k for k in scales], temperatures=[temperature] * len(priors),
    )  # fmt: skip
    if tries == 1:
        return codes
    weight = 0.0
    for level, (prior, mask) in enumerate(zip(priors, masks, strict=True)):
        parts = zip(*(c.split(512) for c in codes[max(level - 1, 0) : level + 1][::-1]), strict=True)
        weight = weight + torch.cat([prior.log_prob(*part)[:, mask].sum(1) for part in parts])
    chosen = torch.multinomial(weight.view(n, tries).softmax(1), 1)[:, 0]
    chosen = chosen + tries * torch.arange(n, device=chosen.device)
    return tuple(c[chosen] for c in codes)


@torch.no_grad()
def cached_logits(prior: Prior, codes: Tensor, above: Tensor | None = None, given_rows: int = 0) -> Tensor:
    """Logits (B, H - given_rows, W, K) of given codes (B, H, W), computed a code at a time as `sample` does."""
    B, H, W = codes.shape
    cache = Cache(prior, B, (H, W), above)
    rows = []
    for i in range(H):
        cache.start_row(i, codes[:, i - 1] if i else None)
        if i < given_rows:
            cache.skip_row(codes[:, i])
        else:
            rows.append(torch.stack([cache.logits(j, codes[:, i, j - 1] if j else None) for j in range(W)], 1))
    return torch.stack(rows, 1)
