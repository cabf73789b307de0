"""Exact sampling of a prior with a cache: each code costs one step of the network, not a whole forward pass.

The vertical stream of a row depends on rows that are finished, so it is computed once a row; the horizontal
stream is computed a code at a time (Ramachandran et al. 2017, the paper's reference 36); attention keeps its keys
and values. Rows that are given need no steps. All runs in the type of the prior's weights: autocast, which would cast
them at every step, is off. To sample in bfloat16, make the prior `bfloat16()`; codes are drawn in float32.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RalkitError
from .prior import Attention, GatedLayer, Prior, SnailBlock


class Above:
    """A vertical convolution, a row at a time: matrix products with the last rows of its input.

    Rows lie place by place, (W, n, channels), so that what each column of the kernel looks at is a matrix as it lies.
    """

    def __init__(self, conv: nn.Conv2d, n: int, W: int):
        C, (height, k) = conv.in_channels, conv.kernel_size
        self.bias, self.matrices = conv.bias, conv.weight.permute(3, 2, 1, 0).flatten(1, 2)
        self.rows = conv.weight.new_zeros(W + k - 1, n, height * C)
        self.newest = self.rows[k // 2 : k // 2 + W, :, -C:]
        self.windows = [self.rows[d : d + W].flatten(0, 1) for d in range(k)]

    def __call__(self, x: Tensor) -> Tensor:
        """Output (W, n, C') at the row whose input is x (W, n, C)."""
        older = self.rows[:, :, x.shape[2] :]
        self.rows[:, :, : older.shape[2]] = older.clone()
        self.newest.copy_(x)
        y = torch.addmm(self.bias, self.windows[0], self.matrices[0])
        for window, matrix in zip(self.windows[1:], self.matrices[1:], strict=True):
            y.addmm_(window, matrix)
        return y.unflatten(0, x.shape[:2])


class Left:
    """A horizontal convolution, a code at a time: a matrix product with the last columns of the row, (n, width C).

    At each place it adds a 1x1 convolution `beside` of what stands there already, computed once a row.
    """

    def __init__(self, conv: nn.Conv2d, beside: nn.Conv2d | None, n: int, W: int):
        C, width = conv.in_channels, conv.kernel_size[1]
        self.bias, self.W = conv.bias, W
        self.beside = None if beside is None else (beside.weight[:, :, 0, 0], beside.bias + conv.bias)
        self.matrix = conv.weight[:, :, 0].movedim(0, 2).movedim(0, 1).flatten(0, 1)
        columns = conv.weight.new_zeros(n, (width - 1 + W) * C)
        # All views of it are made here: in the loop over the codes they would take as long as the products.
        self.newest = columns[:, (width - 1) * C :].split(C, 1)
        self.windows = [columns[:, j * C : (j + width) * C] for j in range(W)]
        self.y = columns.new_empty(n, conv.out_channels)

    def start_row(self, x: Tensor | None) -> None:
        """`x` (W, n, C') goes into `beside`, if there is one."""
        if self.beside is None:
            self.aside = [self.bias] * self.W
        else:
            self.aside = F.linear(x, *self.beside).unbind()

    def __call__(self, x: Tensor, j: int) -> Tensor:
        """Output (n, C'') at column j, whose input is x (n, C)."""
        if x is not self.newest[j]:  # the layer before may have put it there already
            self.newest[j].copy_(x)
        return torch.addmm(self.aside[j], self.windows[j], self.matrix, out=self.y)


class LayerCache:
    """The running state of one layer of both streams: the rows above, the columns to the left."""

    def __init__(self, layer: GatedLayer | SnailBlock, n: int, W: int):
        self.layer = layer
        if isinstance(layer, SnailBlock):
            horizontal = zip(layer.horizontal, (layer.link, layer.condition), strict=True)
        else:
            horizontal = [(layer.horizontal, layer.link)]
            self.out = (layer.out.bias, layer.out.weight[:, :, 0, 0].T.contiguous())
        self.above = [Above(conv, n, W) for conv in layer.vertical_convs()]
        self.left = [Left(conv, beside, n, W) for conv, beside in horizontal]
        self.to: Sequence[Tensor | None] = [None] * W  # where a gated layer puts its output at each column

    def start_row(self, v: Tensor, condition: Tensor | None) -> Tensor:
        """The vertical stream over the next row, (W, n, C) -> (W, n, C)."""
        v, seen = self.layer.down(v, *self.above, dim=-1)
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
            return torch.addmm(h + bias, F.glu(x, 1), matrix, out=self.to[j])  # glu: the gate's other half, the product
        first, second = self.left
        return h + F.glu(second(F.elu(first(F.elu(h), j)), j), 1)

    def whole_row(self, h: Tensor) -> Tensor:
        """The horizontal stream over a row that is given, (n, C, 1, W) -> (n, C, 1, W)."""
        return self.layer.right(h, *(None if x is None else x.permute(1, 2, 0)[:, :, None] for x in self.aside))


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
        condition = prior.condition(above)
        self.condition = [None] * shape[0] if condition is None else condition.permute(2, 3, 0, 1).contiguous()
        self.layers = [
            AttentionCache(layer, n, shape) if isinstance(layer, Attention) else LayerCache(layer, n, shape[1])
            for layer in prior.layers
        ]
        for layer, following in pairwise(self.layers):
            if isinstance(following, LayerCache) and isinstance(following.layer, GatedLayer):
                layer.to = following.left[0].newest
        self.attends = any(isinstance(layer, Attention) for layer in prior.layers)

    def _zeros(self, *places: int) -> Tensor:
        return self.prior.embedding.weight.new_zeros(*places, self.n, self.prior.embedding.embedding_dim)

    def start_row(self, i: int, above: Tensor | None) -> None:
        """Run the vertical stream over row i, from the codes in the row `above` it, (n, W); None for the first."""
        v = self._zeros(self.W) if above is None else self.prior.embedding(above.T)
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                v = layer.start_row(v, self.condition[i])
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
    """Dropout off, and no autocast: the cache's buffers have the type of the weights."""
    training = prior.training
    prior.eval()
    with torch.autocast(prior.embedding.weight.device.type, enabled=False):
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
    rows = []
    with _evaluating(prior):
        cache = Cache(prior, B, (H, W), above)
        for i in range(H):
            cache.start_row(i, codes[:, i - 1] if i else None)
            if i < given_rows:
                cache.skip_row(codes[:, i])
            else:
                rows.append(torch.stack([cache.logits(j, codes[:, i, j - 1] if j else None) for j in range(W)], 1))
    return torch.stack(rows, 1)
