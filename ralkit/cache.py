"""The cached sampler of `prior.TwoStreamPrior`: each code costs one step of the network, not a whole forward pass.

The vertical stream of a row depends on finished rows only, so it is computed once a row. The horizontal stream is
computed a code at a time (Ramachandran et al. 2017, the paper's reference 36). Attention keeps its keys and values.
Rows that are given need no steps. A GPU would wait for Python between steps, so there the second row that is drawn is
recorded as a CUDA graph, and the rows after it are replays.

Everything runs in the type of the prior's weights: autocast, which would cast them at every step, is off. To sample in
bfloat16, make the prior `bfloat16()`; codes are drawn in float32.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .graphs import RECORDERS
from .sampling import begin, check_number, choose, undisturbed

if TYPE_CHECKING:  # `prior` imports this module: each of its layers makes its own cache
    from .prior import Attention, GatedLayer, SnailBlock, TwoStreamPrior, TwoStreams


class VerticalCache:
    """A convolution of the vertical stream, computed a row at a time.

    It keeps as many rows of its input as its kernel is high, and multiplies them with one column of the kernel after
    the other. A row is stored place by place, (W, n, channels), so the places that a column of the kernel looks at form
    one matrix without being copied.
    """

    def __init__(self, conv: nn.Conv2d, n: int, W: int):
        C, (height, k) = conv.in_channels, conv.kernel_size
        kept = conv.weight.new_zeros(W, n, height * C)
        self.rows = kept.split(C, 2)  # views of the kept rows, the newest last
        self.bias, self.output = conv.bias, kept.new_empty(W, n, conv.out_channels)
        self.products = []
        for d, matrix in enumerate(conv.weight.permute(3, 2, 1, 0).flatten(1, 2), -(k // 2)):
            if abs(d) < W:  # this column of the kernel leads from place x + d of the input to place x of the output
                target, source = slice(max(-d, 0), W - max(d, 0)), slice(max(d, 0), W - max(-d, 0))
                self.products.append((self.output[target].flatten(0, 1), kept[source].flatten(0, 1), matrix))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output (W, n, C') at the row whose input is x (W, n, C)."""
        for older, newer in pairwise((*self.rows, x)):
            older.copy_(newer)
        self.output.copy_(self.bias)
        for target, source, matrix in self.products:
            target.addmm_(source, matrix)
        return self.output


class HorizontalCache:
    """A convolution of the horizontal stream, computed a code at a time.

    It keeps its inputs of the current row, (n, W C). Its output at column j is a matrix product with a window of them,
    the last columns up to j; near the start of the row the window is narrower. The product is added to what
    `start_row` computes once for the whole row: the bias, and `link`, a 1x1 convolution, where there is one.
    """

    def __init__(self, conv: nn.Conv2d, link: nn.Conv2d | None, n: int, W: int):
        C, width = conv.in_channels, conv.kernel_size[1]
        self.bias = conv.bias if link is None else conv.bias + link.bias
        self.link = None if link is None else link.weight[:, :, 0, 0].T
        matrix = conv.weight[:, :, 0].movedim(0, 2).movedim(0, 1).flatten(0, 1)
        columns = conv.weight.new_zeros(n, W * C)
        outputs = columns.new_empty(W, n, conv.out_channels)
        # All views are made here: in the loop over the codes they would take as long as the products.
        self.inputs, self.row, self.outputs = columns.split(C, 1), outputs.flatten(0, 1), outputs.unbind()
        self.halves = list(zip(*(half.unbind() for half in outputs.chunk(2, 2)), strict=True))
        widths = [min(j + 1, width) * C for j in range(W)]
        self.windows = [columns[:, (j + 1) * C - seen : (j + 1) * C] for j, seen in enumerate(widths)]
        self.matrices = [matrix[-seen:] for seen in widths]

    def start_row(self, x: Tensor | None) -> None:
        """Begin a row; x (W, n, C') is the input of `link`, None where there is no `link`."""
        if self.link is None:
            self.row.copy_(self.bias)
        else:
            torch.addmm(self.bias, x.flatten(0, 1), self.link, out=self.row)

    def __call__(self, x: Tensor, j: int) -> Tensor:
        """Return the output (n, C'') at column j, whose input is x (n, C)."""
        self.inputs[j].copy_(x)
        return self.outputs[j].addmm_(self.windows[j], self.matrices[j])


class LayerCache:
    """The running state of a layer of both streams. A subclass has `step`, the layer's `right` for a single column.

    `horizontal` lists the layer's horizontal convolutions, each with the 1x1 convolution that is added to it, or None.
    """

    def __init__(self, layer: "TwoStreams", horizontal: Iterable[tuple[nn.Conv2d, nn.Conv2d | None]], n: int, W: int):
        self.layer = layer
        self.vertical = [VerticalCache(conv, n, W) for conv in layer.vertical_convs()]
        self.horizontal = [HorizontalCache(conv, link, n, W) for conv, link in horizontal]

    def start_row(self, v: Tensor, features: Tensor | None) -> Tensor:
        """Run the vertical stream over the next row, (W, n, C) -> (W, n, C)."""
        v, seen = self.layer.down(v, *self.vertical, dim=-1)
        self.beside = seen, features
        for conv, x in zip(self.horizontal, self.beside, strict=False):
            conv.start_row(x)
        return v

    def step(self, h: Tensor, j: int) -> Tensor:
        """Run the horizontal stream at column j of the row, h (n, C) -> (n, C)."""
        raise NotImplementedError

    def whole_row(self, h: Tensor) -> Tensor:
        """Run the horizontal stream over a row that is given, (n, C, 1, W) -> (n, C, 1, W)."""
        return self.layer.right(h, *(None if x is None else x.permute(1, 2, 0)[:, :, None] for x in self.beside))


class GatedCache(LayerCache):
    """The running state of PixelCNN's layer.

    The layer reads its input at column j from `inputs[j]`. It writes its output to `targets[j]`, which is `inputs[j]`
    of the next layer, so that nothing has to be copied. Where that is None, it returns a new tensor instead.
    """

    def __init__(self, layer: "GatedLayer", n: int, W: int):
        super().__init__(layer, [(layer.horizontal, layer.link)], n, W)
        (conv,) = self.horizontal
        self.inputs: Sequence[Tensor] = conv.inputs
        self.targets: Sequence[Tensor | None] = [None] * W
        self.columns = list(zip(conv.windows, conv.matrices, conv.outputs, conv.halves, strict=True))
        self.out = layer.out.bias, layer.out.weight[:, :, 0, 0].T.contiguous()

    def step(self, h: Tensor, j: int) -> Tensor:
        (window, matrix, y, (a, b)), (bias, out) = self.columns[j], self.out
        if h is not self.inputs[j]:  # the layer before may have written it there
            self.inputs[j].copy_(h)
        y.addmm_(window, matrix)
        return torch.add(h, bias, out=self.targets[j]).addmm_(a.tanh_().mul_(b.sigmoid_()), out)


class SnailCache(LayerCache):
    """The running state of PixelSNAIL's block."""

    def __init__(self, layer: "SnailBlock", n: int, W: int):
        super().__init__(layer, zip(layer.horizontal, (layer.link, layer.condition_link), strict=True), n, W)

    def step(self, h: Tensor, j: int) -> Tensor:
        first, second = self.horizontal
        second(F.elu_(first(F.elu(h), j)), j)
        a, b = second.halves[j]
        return h + a.mul_(b.sigmoid_())


class AttentionCache:
    """The keys and values of all places so far.

    The storage holds the finished rows, the latest first, then the zeros that stand before the first place, then the
    current row. So the places before any place are one range, which ends just before it. By default a step looks at
    that range. With `fixed` it looks at the whole storage, and `hidden` masks the rest, because then every row does the
    same with the same memory.
    """

    def __init__(self, layer: "Attention", n: int, shape: tuple[int, int], fixed: bool):
        H, self.W = shape
        self.layer, self.zero = layer, (H - 1) * self.W
        room = layer.query.weight.new_zeros(2, n, layer.heads, H * self.W + 1, layer.width // layer.heads)
        self.keys, self.values = room
        self.coordinates = layer.coordinates(range(H), self.W, room).split(self.W)
        self.xy = torch.empty_like(self.coordinates[0])
        self.hidden = None
        # A mask for each column; its rows begin at multiples of 8, or attention would copy them to such places.
        if fixed:
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

    def _attend(self, h: Tensor, start: Tensor, j: int, seen: slice, mask: Tensor | None) -> Tensor:
        """Return h (n, T, C) after attention: the T places from column j on look at the stored places `seen`."""
        T, at = h.shape[1], self.zero + 1 + j
        q, k, v = self.layer.project(h, start, self.xy[j : j + T])
        self.keys[:, :, at : at + T] = k
        self.values[:, :, at : at + T] = v
        k, v = self.keys[:, :, seen], self.values[:, :, seen]
        return self.layer.take_in(h, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def step(self, h: Tensor, start: Tensor, j: int) -> Tensor:
        """Return h (n, C) of column j after attention."""
        if self.hidden is None:
            seen, mask = slice(self.first, self.zero + 1 + j), None
        else:
            seen, mask = slice(None), self.hidden[j : j + 1]
        return self._attend(h[:, None], start[:, None], j, seen, mask)[:, 0]

    def whole_row(self, h: Tensor, start: Tensor) -> Tensor:
        """Return h (n, C, 1, W) of a row that is given after attention."""
        before, seen = self.zero - self.first, slice(self.first, self.zero + self.W)
        mask = torch.ones(self.W, before + self.W, dtype=torch.bool, device=h.device).tril(before)
        return self._attend(h[:, :, 0].mT, start[:, :, 0].mT, 0, seen, mask).mT[:, :, None]


class Cache:
    """The running state of a prior that draws n maps of `shape`; `condition` (n, h, w) is the level above.

    For each row call `next_row`, then `start_row`, then `logits` for each column, or `skip_row` where the row is given.
    A code K stands for a code off the map. With `fixed`, `start_row` and `logits` do the same with the same memory in
    every row.
    """

    def __init__(
        self, prior: "TwoStreamPrior", n: int, shape: tuple[int, int], condition: Tensor | None = None, *,
        fixed: bool = False,
    ):  # fmt: skip
        self.embedding = F.pad(prior.embedding.weight, (0, 0, 0, 1))  # that of the code K is 0
        features = prior.checked_features(condition, n, shape)
        self.features = None if features is None else features.permute(2, 3, 0, 1).contiguous()
        self.row_features = None if features is None else torch.empty_like(self.features[0])
        self.layers = [layer.cache(n, shape, fixed) for layer in prior.layers]
        self.targets: Sequence[Tensor | None] = [None] * shape[
            1
        ]  # where to write the embedding of the code to the left
        for layer, following in pairwise((self, *self.layers)):
            if isinstance(following, GatedCache):
                layer.targets = following.inputs
        *self.head, _, last = prior.head
        self.last = last.weight, last.bias  # a call of a module costs as much as what some of them do
        self.attentions = [layer for layer in self.layers if isinstance(layer, AttentionCache)]

    def next_row(self, i: int) -> None:
        """Go on to row i."""
        if self.features is not None:
            self.row_features.copy_(self.features[i])
        for attention in self.attentions:
            attention.next_row(i)

    def start_row(self, previous_row: Tensor) -> None:
        """Run the vertical stream over the row, from the codes (W, n) of the row before it."""
        v = F.embedding(previous_row, self.embedding)
        for layer in self.layers:
            if not isinstance(layer, AttentionCache):
                v = layer.start_row(v, self.row_features)

    def logits(self, j: int, left: Tensor) -> Tensor:
        """Return the logits (n, K) of column j of the row, from the codes (n,) to the left of it."""
        h = start = torch.index_select(self.embedding, 0, left, out=self.targets[j])
        for layer in self.layers:
            if isinstance(layer, AttentionCache):
                h = start = layer.step(h, start, j)
            else:
                h = layer.step(h, j)
        for layer in self.head:
            h = layer(h)
        return F.linear(h.relu_(), *self.last)

    def skip_row(self, codes: Tensor) -> None:
        """Take in the row, whose codes (W, n) are given; only attention has to know them."""
        if not self.attentions:
            return
        h = start = F.pad(F.embedding(codes, self.embedding).permute(1, 2, 0)[:, :, None], (1, -1))
        for layer in self.layers:
            if isinstance(layer, AttentionCache):
                h = start = layer.whole_row(h, start)
            else:
                h = layer.whole_row(h)


def sample_cached(
    prior: "TwoStreamPrior",
    n: int,
    shape: tuple[int, int],
    condition: Tensor | None = None,
    *,
    temperature: float = 1.0,
    given: Tensor | None = None,
    given_rows: int = 0,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 1024,
) -> Tensor:
    """Draw n code maps (n, H, W) exactly, `chunk` at a time; `condition` (n, h, w) is the level above.

    The first `given_rows` rows, and the places marked in `keep` (H, W), are those of `given` (n, H, W). A code depends
    on what comes before it, given or drawn. Every submodule is in eval mode. Raises RalkitError for bad input.
    """
    check_number("the number of maps in a chunk", chunk, 1)
    codes, u, condition, given = begin(prior, n, shape, condition, temperature, given, given_rows, keep, generator)
    with torch.inference_mode(), undisturbed(prior):  # the codes are made outside: a loss may be taken on them
        for first in range(0, n, chunk):
            rows = slice(first, first + chunk)
            known = (None if x is None else x[rows] for x in (condition, given))
            _fill(prior, codes[rows], u[rows], *known, temperature, given_rows, keep)
    return codes


def _fill(
    prior: "TwoStreamPrior", codes: Tensor, u: Tensor, condition: Tensor | None, given: Tensor | None,
    temperature: float, given_rows: int, keep: Tensor | None,
) -> None:  # fmt: skip
    """Write into codes (n, H, W) what `sample_cached` draws, row by row.

    Where the device has a recorder, the second row that is drawn is recorded, and the rows after it are replayed.
    """
    n, H, W = codes.shape
    recorder = RECORDERS.get(codes.device.type)
    cache = Cache(prior, n, (H, W), condition, fixed=recorder is not None)
    # Each row is drawn into `row`. A place of it holds the code of the previous row until it is drawn.
    row, dice = codes.new_full((W, n), prior.K), u.new_zeros(W, n)
    lefts = (torch.full_like(row[0], prior.K), *row[:-1])
    if keep is not None:
        keep = keep.to(row.device)
        given_row, kept_columns = torch.zeros_like(row), codes.new_zeros(W, dtype=torch.bool)

    def draw_row() -> None:
        cache.start_row(row)
        for j, (left, place, number) in enumerate(zip(lefts, row[..., None], dice[..., None], strict=True)):
            choose(cache.logits(j, left), number, temperature, out=place)
            if keep is not None:
                torch.where(kept_columns[j], given_row[j], row[j], out=row[j])

    draw = draw_row
    for i in range(H):
        cache.next_row(i)
        if i < given_rows:
            cache.start_row(row)
            cache.skip_row(row.copy_(given[:, i].T))
            continue
        dice.copy_(u[:, i].T)
        if keep is not None:
            given_row.copy_(given[:, i].T)
            kept_columns.copy_(keep[i])
        # The first row warms up; for one row a record would not pay.
        if i == given_rows + 1 < H - 1 and recorder is not None:
            draw = recorder(draw_row, codes.device)
        draw()
        codes[:, i] = row.T
