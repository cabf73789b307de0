"""Exact sampling of a prior with a cache: each code costs one step of the network, not a whole forward pass.

The vertical stream of a row depends on rows that are finished, so it is computed once a row; the horizontal
stream is computed a code at a time (Ramachandran et al. 2017, the paper's reference 36); attention keeps its keys
and values. Rows that are given need no steps. A GPU would wait for Python between steps: there the second row that is
drawn is recorded as a CUDA graph, and those after it are replays.

All runs in the type of the prior's weights: autocast, which would cast them at every step, is off. To sample in
bfloat16, make the prior `bfloat16()`; codes are drawn in float32.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import RalkitError
from .graphs import RECORDERS
from .prior import Attention, GatedLayer, Prior, SnailBlock, TwoStreams


class Above:
    """A vertical convolution, a row at a time: matrix products with the last rows of its input.

    Rows lie place by place, (W, n, channels), so that what a column of the kernel looks at, within the map, is a matrix
    as it lies.
    """

    def __init__(self, conv: nn.Conv2d, n: int, W: int):
        C, (height, k) = conv.in_channels, conv.kernel_size
        rows = conv.weight.new_zeros(W, n, height * C)
        self.ages = rows.split(C, 2)  # each row of the window, the newest last
        self.bias, self.y = conv.bias, rows.new_empty(W, n, conv.out_channels)
        self.products = []
        for d, matrix in enumerate(conv.weight.permute(3, 2, 1, 0).flatten(1, 2), -(k // 2)):
            if abs(d) < W:  # place x looks at place x + d
                to, of = slice(max(-d, 0), W - max(d, 0)), slice(max(d, 0), W - max(-d, 0))
                self.products.append((self.y[to].flatten(0, 1), rows[of].flatten(0, 1), matrix))

    def __call__(self, x: Tensor) -> Tensor:
        """Output (W, n, C') at the row whose input is x (W, n, C)."""
        for older, row in pairwise((*self.ages, x)):
            older.copy_(row)
        self.y.copy_(self.bias)
        for y, seen, matrix in self.products:
            y.addmm_(seen, matrix)
        return self.y


class Left:
    """A horizontal convolution, a code at a time: a matrix product with the last columns of the row, (n, width C).

    At the row's start there are fewer. It is added to what stands at each place already, computed once a row: a 1x1
    convolution `beside`, and the biases.
    """

    def __init__(self, conv: nn.Conv2d, beside: nn.Conv2d | None, n: int, W: int):
        C, width = conv.in_channels, conv.kernel_size[1]
        self.bias = conv.bias if beside is None else conv.bias + beside.bias
        self.beside = None if beside is None else beside.weight[:, :, 0, 0].T
        matrix = conv.weight[:, :, 0].movedim(0, 2).movedim(0, 1).flatten(0, 1)
        columns = conv.weight.new_zeros(n, W * C)
        y = columns.new_empty(W, n, conv.out_channels)
        # All views are made here: in the loop over the codes they would take as long as the products.
        self.newest, self.whole, self.outputs = columns.split(C, 1), y.flatten(0, 1), y.unbind()
        self.halves = list(zip(*(half.unbind() for half in y.chunk(2, 2)), strict=True))
        widths = [min(j + 1, width) * C for j in range(W)]
        self.windows = [columns[:, (j + 1) * C - seen : (j + 1) * C] for j, seen in enumerate(widths)]
        self.matrices = [matrix[-seen:] for seen in widths]

    def start_row(self, x: Tensor | None) -> None:
        """`x` (W, n, C') goes into `beside`, if there is one."""
        if self.beside is None:
            self.whole.copy_(self.bias)
        else:
            torch.addmm(self.bias, x.flatten(0, 1), self.beside, out=self.whole)

    def __call__(self, x: Tensor, j: int) -> Tensor:
        """Output (n, C'') at column j, whose input is x (n, C)."""
        self.newest[j].copy_(x)
        return self.outputs[j].addmm_(self.windows[j], self.matrices[j])


class LayerCache:
    """The running state of one layer of both streams: the rows above, the columns to the left.

    `horizontal` are the convolutions of the horizontal stream, each with the 1x1 convolution that is added to it.
    """

    def __init__(self, layer: TwoStreams, horizontal: Iterable[tuple[nn.Conv2d, nn.Conv2d | None]], n: int, W: int):
        self.layer = layer
        self.above = [Above(conv, n, W) for conv in layer.vertical_convs()]
        self.left = [Left(conv, beside, n, W) for conv, beside in horizontal]

    def start_row(self, v: Tensor, condition: Tensor | None) -> Tensor:
        """The vertical stream over the next row, (W, n, C) -> (W, n, C)."""
        v, seen = self.layer.down(v, *self.above, dim=-1)
        self.aside = seen, condition
        for left, x in zip(self.left, self.aside, strict=False):
            left.start_row(x)
        return v

    def whole_row(self, h: Tensor) -> Tensor:
        """The horizontal stream over a row that is given, (n, C, 1, W) -> (n, C, 1, W)."""
        return self.layer.right(h, *(None if x is None else x.permute(1, 2, 0)[:, :, None] for x in self.aside))


class GatedCache(LayerCache):
    """The running state of PixelCNN's layer. Of each column what goes in lies `at`, and what comes out goes `to`."""

    def __init__(self, layer: GatedLayer, n: int, W: int):
        super().__init__(layer, [(layer.horizontal, layer.link)], n, W)
        (left,) = self.left
        self.at, self.to = left.newest, [None] * W
        self.columns = list(zip(left.windows, left.matrices, left.outputs, left.halves, strict=True))
        self.out = layer.out.bias, layer.out.weight[:, :, 0, 0].T.contiguous()

    def step(self, h: Tensor, j: int) -> Tensor:
        """The horizontal stream at column j, h (n, C) -> (n, C): the layer's `right`."""
        (window, matrix, y, (a, b)), (bias, out) = self.columns[j], self.out
        if h is not self.at[j]:  # the layer before may have put it there
            self.at[j].copy_(h)
        y.addmm_(window, matrix)
        return torch.add(h, bias, out=self.to[j]).addmm_(a.tanh_().mul_(b.sigmoid_()), out)


class SnailCache(LayerCache):
    """The running state of PixelSNAIL's block."""

    def __init__(self, layer: SnailBlock, n: int, W: int):
        super().__init__(layer, zip(layer.horizontal, (layer.link, layer.condition), strict=True), n, W)

    def step(self, h: Tensor, j: int) -> Tensor:
        """The horizontal stream at column j, h (n, C) -> (n, C): the layer's `right`."""
        first, second = self.left
        second(F.elu_(first(F.elu(h), j)), j)
        a, b = second.halves[j]
        return h + a.mul_(b.sigmoid_())


class AttentionCache:
    """Keys and values of the finished rows, the latest first, of the zeros before the first place, of the current row.

    What a place looks at thus ends with the place before it, in any row. It begins with the first row; but with `fixed`
    all room that there is, hidden where no row is yet: then steps do the same with the same memory in every row.
    """

    def __init__(self, layer: Attention, n: int, shape: tuple[int, int], fixed: bool):
        H, self.W = shape
        self.layer, self.zero = layer, (H - 1) * self.W
        room = layer.query.weight.new_zeros(2, n, layer.heads, H * self.W + 1, layer.width // layer.heads)
        self.keys, self.values = room
        self.coordinates = layer.coordinates(range(H), self.W, room).split(self.W)
        self.xy = torch.empty_like(self.coordinates[0])
        self.hidden = None
        if fixed:  # for each column; rows begin at multiples of 8, or attention would copy them to such places
            places = H * self.W + 1
            self.hidden = room.new_full((self.W, -(-places // 8) * 8), -torch.inf).triu(self.zero + 1)[:, :places]
            self.hidden[:, : self.zero] = -torch.inf

    def next_row(self, i: int) -> None:
        """Go on to row i."""
        self.xy.copy_(self.coordinates[i])
        self.first = self.zero - i * self.W
        if i:
            finished = slice(self.first, self.first + self.W)
            for x in (self.keys, self.values):
                x[:, :, finished] = x[:, :, self.zero + 1 :]
            if self.hidden is not None:
                self.hidden[:, finished] = 0

    def places(self, h: Tensor, start: Tensor, j: int, seen: slice, mask: Tensor | None) -> Tensor:
        """h (n, T, C) after attention, of the T places from column j on, to what is kept at the places `seen`."""
        T, at = h.shape[1], self.zero + 1 + j
        q, k, v = self.layer.project(h, start, self.xy[j : j + T])
        self.keys[:, :, at : at + T] = k
        self.values[:, :, at : at + T] = v
        k, v = self.keys[:, :, seen], self.values[:, :, seen]
        return self.layer.take_in(h, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def step(self, h: Tensor, start: Tensor, j: int) -> Tensor:
        """h (n, C) after attention, of column j."""
        if self.hidden is None:
            seen, mask = slice(self.first, self.zero + 1 + j), None
        else:
            seen, mask = slice(None), self.hidden[j : j + 1]
        return self.places(h[:, None], start[:, None], j, seen, mask)[:, 0]

    def whole_row(self, h: Tensor, start: Tensor) -> Tensor:
        """h (n, C, 1, W) after attention, of a row that is given."""
        before, seen = self.zero - self.first, slice(self.first, self.zero + self.W)
        mask = torch.ones(self.W, before + self.W, dtype=torch.bool, device=h.device).tril(before)
        return self.places(h[:, :, 0].mT, start[:, :, 0].mT, 0, seen, mask).mT[:, :, None]


class Cache:
    """The running state of `prior` over `n` maps of `shape`, given the codes of the level above, (n, h, w), or none.

    With `fixed`, `start_row` and `logits` do the same with the same memory in every row. A code K stands for none.
    """

    def __init__(
        self, prior: Prior, n: int, shape: tuple[int, int], above: Tensor | None = None, *, fixed: bool = False
    ):
        self.embedding, W = F.pad(prior.embedding.weight, (0, 0, 0, 1)), shape[1]
        condition = prior.condition(above)
        self.conditions = None if condition is None else condition.permute(2, 3, 0, 1).contiguous()
        self.condition = None if condition is None else torch.empty_like(self.conditions[0])
        streams = {GatedLayer: GatedCache, SnailBlock: SnailCache}
        self.layers = [
            AttentionCache(layer, n, shape, fixed)
            if isinstance(layer, Attention)
            else streams[type(layer)](layer, n, W)
            for layer in prior.layers
        ]
        self.to: Sequence[Tensor | None] = [None] * W  # where the code to the left goes, embedded
        for layer, following in pairwise((self, *self.layers)):
            if isinstance(following, GatedCache):
                layer.to = following.at
        *self.head, _, last = prior.head
        self.last = last.weight, last.bias  # a call of a module costs as much as what some of them do
        self.attentions = [layer for layer in self.layers if isinstance(layer, AttentionCache)]

    def next_row(self, i: int) -> None:
        """Go on to row i."""
        if self.conditions is not None:
            self.condition.copy_(self.conditions[i])
        for attention in self.attentions:
            attention.next_row(i)

    def start_row(self, above: Tensor) -> None:
        """Run the vertical stream over the row, from the codes in the row `above` it, (W, n)."""
        v = F.embedding(above, self.embedding)
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                v = layer.start_row(v, self.condition)

    def logits(self, j: int, left: Tensor) -> Tensor:
        """Logits (n, K) of column j of the current row, from the codes `left` of it, (n,)."""
        h = start = torch.index_select(self.embedding, 0, left, out=self.to[j])
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                h = layer.step(h, j)
            else:
                h = start = layer.step(h, start, j)
        for layer in self.head:
            h = layer(h)
        return F.linear(h.relu_(), *self.last)

    def skip_row(self, codes: Tensor) -> None:
        """Take in the current row, whose codes (W, n) are given: only attention has to know them."""
        if not self.attentions:
            return
        h = start = F.pad(F.embedding(codes, self.embedding).permute(1, 2, 0)[:, :, None], (1, -1))
        for layer in self.layers:
            if isinstance(layer, LayerCache):
                h = layer.whole_row(h)
            else:
                h = start = layer.whole_row(h, start)


def choose(logits: Tensor, u: Tensor, out: Tensor | None = None) -> Tensor:
    """Codes (n, 1) drawn from softmax(logits (n, K)) by inverting its distribution function at u (n, 1) in [0, 1)."""
    cdf = logits.softmax(-1, dtype=torch.float32).cumsum_(-1)
    # Scaling by the last entry, which is 1 but for rounding, keeps a u close to 1 inside. Clamped are codes of
    # logits that are not numbers, so that the loss can tell of them.
    return torch.searchsorted(cdf, u * cdf[:, -1:], right=True, out=out).clamp_(max=logits.shape[-1] - 1)


def _start(prior, n, shape, temperature, given, given_rows, keep, generator) -> tuple[Tensor, Tensor]:
    """The empty (or partly given) codes and the uniform numbers that decide the others, both (n, H, W)."""
    if not temperature > 0:
        raise RalkitError(f"the sampling temperature is {temperature}; it must be above 0")
    H, W = shape
    device = prior.embedding.weight.device
    codes = torch.zeros(n, H, W, dtype=torch.long, device=device)
    if given_rows or keep is not None:
        if given is None or given.shape != codes.shape or not 0 <= given_rows <= H:
            got = None if given is None else tuple(given.shape)
            raise RalkitError(f"{given_rows} given rows of maps {(n, H, W)} need codes of that shape, not {got}")
        if keep is not None and (keep.shape != (H, W) or keep.dtype != torch.bool):
            raise RalkitError(f"the places to keep are a bool map of {shape}, not {keep.dtype} of {tuple(keep.shape)}")
        codes[:, :given_rows] = given[:, :given_rows]
    return codes, torch.rand(n, H, W, dtype=torch.float32, device=device, generator=generator)


@contextmanager
def _evaluating(prior: nn.Module) -> Iterator[None]:
    """Dropout off, and no autocast: the cache's buffers have the type of the weights."""
    training = prior.training
    prior.eval()
    try:
        with torch.autocast(prior.embedding.weight.device.type, enabled=False):
            yield
    finally:
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
    with torch.inference_mode(), _evaluating(prior):  # the codes are made outside: a loss may be taken on them
        for first in range(0, n, chunk):
            rows = slice(first, first + chunk)
            known = (None if x is None else x[rows] for x in (above, given))
            _fill(prior, codes[rows], u[rows], *known, temperature, given_rows, keep)
    return codes


def _fill(prior, codes, u, above, given, temperature, given_rows, keep) -> None:
    """Write into codes (n, H, W) what `sample` draws, a row at a time; where there is a recorder, by what it makes."""
    n, H, W = codes.shape
    recorder = RECORDERS.get(codes.device.type)
    cache = Cache(prior, n, (H, W), above, fixed=recorder is not None)
    # A place of `row` is that of the row above until it is drawn.
    row, dice = codes.new_full((W, n), prior.K), u.new_zeros(W, n)
    lefts = (torch.full_like(row[0], prior.K), *row[:-1])
    given, keep = (None if x is None else x.to(row.device) for x in (given, keep))
    if keep is not None:
        known, kept = torch.zeros_like(row), codes.new_zeros(W, dtype=torch.bool)

    def draw_row() -> None:
        cache.start_row(row)
        for j, (left, place, number) in enumerate(zip(lefts, row[..., None], dice[..., None], strict=True)):
            logits = cache.logits(j, left)
            choose(logits if temperature == 1 else logits / temperature, number, out=place)
            if keep is not None:
                torch.where(kept[j], known[j], row[j], out=row[j])

    draw = draw_row
    for i in range(H):
        cache.next_row(i)
        if i < given_rows:
            cache.start_row(row)
            cache.skip_row(row.copy_(given[:, i].T))
            continue
        dice.copy_(u[:, i].T)
        if keep is not None:
            known.copy_(given[:, i].T)
            kept.copy_(keep[i])
        # The first row warms up; for one row a record would not pay.
        if i == given_rows + 1 < H - 1 and recorder is not None:
            draw = recorder(draw_row, codes.device)
        draw()
        codes[:, i] = row.T


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
                    codes[:, i, j, None] = choose(prior(codes, above)[:, i, j] / temperature, u[:, i, j, None])
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
    is drawn from them with the weights of sampling-importance resampling, the product of G, at the temperature, over
    the kept codes: completions then answer to what is kept after them as well, the better the more tries there are.
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
        weight = weight + torch.cat([prior.log_prob(*part, temperature=temperature)[:, mask].sum(1) for part in parts])
    chosen = torch.multinomial(weight.view(n, tries).softmax(1), 1)[:, 0]
    chosen = chosen + tries * torch.arange(n, device=chosen.device)
    return tuple(c[chosen] for c in codes)
