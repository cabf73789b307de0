"""Priors over code maps: the gated PixelCNN and PixelSNAIL, both without blind spot, for maps of any H x W.

    p(c) = prod_t G(c_t | c_0 .. c_{t-1}),   t in raster order

Two streams run over the map. The vertical one sees the rows above, the horizontal one the row's codes to the
left and, at every layer, what the vertical one found. Both inputs are shifted once, by one row or one column;
after that a layer may look at its own position. So no tap is ever masked: each kernel holds kept taps only.
`prior.sample` draws maps with a cache, which each layer makes for itself: see `cache`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .cache import AttentionCache, GatedCache, LayerCache, SnailCache, sample_cached
from .errors import RalkitError
from .sampling import AutoregressiveMixin
from .vqvae import Residual

Conv = Callable[[Tensor], Tensor]  # a vertical convolution: of a whole map, padded; or, in the cache, of its next row


@dataclass(frozen=True)
class PriorConfig:
    channels: int = 128
    layers: int = 5
    k: int = 5  # width of the convolution window
    output_layers: int = 5
    dropout: float = 0.1
    batch: int = 1024
    steps: int = 19_531
    lr: float = 1e-3


@dataclass(frozen=True)
class SnailConfig:
    """A PixelSNAIL prior; the defaults are the top prior of S-Table 8 (128x128 images)."""

    channels: int = 512
    layers: int = 20  # gated residual blocks
    k: int = 5
    output_layers: int = 20
    dropout: float = 0.1
    attention_layers: int = 4  # one after each group of blocks (the table's "Attention layers 8" are heads)
    heads: int = 8
    condition_layers: int = 0  # residual blocks of the network that reads the level above
    batch: int = 480
    steps: int = 166_664
    lr: float = 1e-3


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """Return the gated activation tanh(a) * sigmoid(b) of the two halves a, b of x along `dim`."""
    a, b = x.chunk(2, dim)
    return a.tanh() * b.sigmoid()


class TwoStreams(nn.Module):
    """A layer of both streams: `down` runs the vertical one, `right` the horizontal one.

    `down` returns its stream and what it has `seen`, which enters `right` by `link`, a 1x1 convolution. It is handed
    its convolutions and the axis of the channels, because the cached sampler runs it a row at a time. `reach` is how
    far a convolution looks up, left, and (in the rows above) right. A subclass has `cache`: it makes the layer's
    running state for the cached sampler.
    """

    reach: int

    def vertical_convs(self) -> list[nn.Conv2d]:
        """Return the convolutions of the vertical stream, in the order in which `down` takes them."""
        return [conv for conv in self.vertical.modules() if isinstance(conv, nn.Conv2d)]

    def forward(self, v: Tensor, h: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run both streams (B, C, H, W); `features` (B, C, H, W) are those of the level above."""
        p = self.reach
        convs = [lambda x, conv=conv: conv(F.pad(x, (p, p, p, 0))) for conv in self.vertical_convs()]
        v, seen = self.down(v, *convs)
        return v, self.right(h, seen, features)


def half(k: int) -> int:
    """Return how far a window of width k looks to either side of its centre; raise RalkitError where k is even."""
    if k % 2 == 0:
        raise RalkitError(f"a convolution window is {k} wide; it must be odd, to have a centre")
    return k // 2


def check_unchanged(layer: nn.Module, known: type[nn.Module], *methods: str) -> None:
    """Raise RalkitError where a subclass replaces a method of the class `known` that its cache repeats step by step."""
    for name in methods:
        if getattr(type(layer), name) is not getattr(known, name):
            raise RalkitError(
                f"{type(layer).__name__} has its own `{name}`, which the cache of {known.__name__} does not know; "
                "give it its own `cache` as well, or sample with `sample_naive`"
            )


class GatedLayer(TwoStreams):
    """PixelCNN's layer (van den Oord et al. 2016); `k` is the width of the window."""

    def __init__(self, channels: int, k: int, dropout: float):
        super().__init__()
        self.reach = half(k)
        self.vertical = nn.Conv2d(channels, 2 * channels, (self.reach + 1, k))
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.horizontal = nn.Conv2d(channels, 2 * channels, (1, self.reach + 1))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(channels, channels, 1)

    def down(self, v: Tensor, conv: Conv, dim: int = 1) -> tuple[Tensor, Tensor]:
        v = conv(v)
        return gate(v, dim), v

    def right(self, h: Tensor, seen: Tensor, features: None) -> Tensor:
        update = gate(self.horizontal(F.pad(h, (self.reach, 0))) + self.link(seen))
        return h + self.out(self.dropout(update))

    def cache(self, n: int, shape: tuple[int, int], fixed: bool) -> LayerCache:
        check_unchanged(self, GatedLayer, "forward", "right")
        return GatedCache(self, n, shape[1])


class SnailBlock(TwoStreams):
    """PixelSNAIL's gated residual block (Chen et al. 2018), in each stream: elu, conv, elu, dropout, conv, GLU, skip.

    The features of the level above enter before the gate, by `condition_link`, a 1x1 convolution.
    """

    def __init__(self, channels: int, k: int, dropout: float, conditional: bool):
        super().__init__()
        C, self.reach = channels, half(k)
        self.vertical = nn.ModuleList(nn.Conv2d(C, n * C, (self.reach + 1, k)) for n in (1, 2))
        self.link = nn.Conv2d(C, C, 1)
        self.horizontal = nn.ModuleList(nn.Conv2d(C, n * C, (1, self.reach + 1)) for n in (1, 2))
        self.condition_link = nn.Conv2d(C, 2 * C, 1) if conditional else None
        self.dropout = nn.Dropout(dropout)

    def down(self, v: Tensor, conv1: Conv, conv2: Conv, dim: int = 1) -> tuple[Tensor, Tensor]:
        v = v + F.glu(conv2(self.dropout(F.elu(conv1(F.elu(v))))), dim)
        return v, F.elu(v)

    def right(self, h: Tensor, seen: Tensor, features: Tensor | None) -> Tensor:
        x = self.horizontal[0](F.pad(F.elu(h), (self.reach, 0))) + self.link(seen)
        x = self.horizontal[1](F.pad(self.dropout(F.elu(x)), (self.reach, 0)))
        return h + F.glu(x if features is None else x + self.condition_link(features), 1)

    def cache(self, n: int, shape: tuple[int, int], fixed: bool) -> LayerCache:
        check_unchanged(self, SnailBlock, "forward", "right")
        return SnailCache(self, n, shape[1])


class OutputLayer(nn.Module):
    """A gated 1x1 residual block of the output stack, applied to the last axis of (..., channels)."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.inner, self.outer = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.dropout(gate(self.inner(F.elu(x)), -1)))


class Attention(nn.Module):
    """Causal multi-head attention of each place to those before it, and a gated 1x1 block that takes in what it found.

    Queries are made of the features h that come out of the group of blocks before it, and of the place's coordinates;
    keys and values also of `start`, the features that went into that group. A key of zeros with a value of zeros stands
    before the first place, which has nothing else to look at.
    """

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__()
        C, self.heads, self.width = channels, heads, channels // 2
        if self.width % heads:
            raise RalkitError(f"{heads} attention heads do not divide half of {channels} channels")
        self.query, self.key_value = nn.Linear(C + 2, self.width), nn.Linear(2 * C + 2, 2 * self.width)
        self.take, self.found = nn.Linear(C, C), nn.Linear(self.width, C)
        self.gate = nn.Linear(C, 2 * C)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def coordinates(rows: range, W: int, like: Tensor) -> Tensor:
        """Return row and column of the places of `rows`, in widths of the map: (len(rows) W, 2)."""
        i, j = torch.arange(rows.start, rows.stop, device=like.device), torch.arange(W, device=like.device)
        return torch.cartesian_prod(i, j).to(like) / W - 0.5

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def project(self, h: Tensor, start: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (B, heads, T, d) of features (B, T, C) at coordinates (T, 2)."""
        xy = xy.expand(len(h), -1, -1)
        k, v = self.key_value(torch.cat([start, h, xy], -1)).chunk(2, -1)
        return self._heads(self.query(torch.cat([h, xy], -1))), self._heads(k), self._heads(v)

    def take_in(self, h: Tensor, found: Tensor) -> Tensor:
        """Return h (B, T, C) after the gated block; `found` (B, heads, T, d) is what attention found."""
        found = found.transpose(1, 2).flatten(2)
        x = self.take(F.elu(h)) + self.found(F.elu(found))
        return h + F.glu(self.gate(self.dropout(F.elu(x))), -1)

    def forward(self, h: Tensor, start: Tensor) -> Tensor:
        """Return h (B, C, H, W) after attention; `start` is h as it went into the group of blocks."""
        shape, (h, start) = h.shape, (x.flatten(2).mT for x in (h, start))
        q, k, v = self.project(h, start, self.coordinates(range(shape[2]), shape[3], h))
        k, v = (F.pad(x, (0, 0, 1, -1)) for x in (k, v))  # place t now holds what is before t
        h = self.take_in(h, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return h.mT.unflatten(2, shape[2:])

    def cache(self, n: int, shape: tuple[int, int], fixed: bool) -> AttentionCache:
        check_unchanged(self, Attention, "forward")
        return AttentionCache(self, n, shape, fixed)


class TwoStreamPrior(AutoregressiveMixin, nn.Module):
    """A prior of two streams over maps of K symbols: embedding, shift, layers, head.

    `sample` is the cached sampler. With `recompute`, only what goes from layer to layer is kept for the backward pass,
    which computes the rest again.
    """

    recompute = False
    sample = sample_cached

    def __init__(self, K: int, channels: int, layers: Iterable[nn.Module], output_layers: int, dropout: float):
        super().__init__()
        self.K = K
        self.embedding = nn.Embedding(K, channels)
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(
            *(OutputLayer(channels, dropout) for _ in range(output_layers)), nn.ReLU(), nn.Linear(channels, K)
        )

    def condition_features(self, condition: Tensor | None) -> Tensor | None:
        """Return the features (B, C, H, W) that every layer gets of the level above, codes (B, h, w)."""
        if condition is not None:
            raise RalkitError("this prior has no conditioning network, and was given codes of a level above")

    def checked_features(self, condition: Tensor | None, n: int, shape: tuple[int, int]) -> Tensor | None:
        """Return `condition_features(condition)`; raise RalkitError where they are not those of n maps of `shape`."""
        features = self.condition_features(condition)
        if features is not None and (len(features), *features.shape[2:]) != (n, *shape):
            (h, w), (H, W) = features.shape[2:], shape
            raise RalkitError(
                f"a condition of shape {tuple(condition.shape)} belongs to {len(features)} maps of {h} x {w} codes, "
                f"but there are {n} maps of {H} x {W}"
            )
        return features

    def forward(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the logits (B, H, W, K) of every code of codes (B, H, W), each given those before it.

        `condition` (B, h, w) are the codes of the level above; raises RalkitError where they do not fit.
        """
        features = self.checked_features(condition, len(codes), codes.shape[1:])
        e = self.embedding(codes).movedim(-1, 1)
        v = F.pad(e, (0, 0, 1, -1))  # the row above
        h = start = F.pad(e, (1, -1))  # the code to the left
        run = partial(checkpoint, use_reentrant=False) if self.recompute else lambda layer, *x: layer(*x)
        for layer in self.layers:
            if isinstance(layer, Attention):
                h = start = run(layer, h, start)
            else:
                v, h = run(layer, v, h, features)
        return self.head(h.movedim(1, -1))


class PixelCNN(TwoStreamPrior):
    """Gated PixelCNN over maps of K symbols; S-Table 4: channels, layers, k (filter size), output layers, dropout."""

    def __init__(self, K: int, channels: int, layers: int, k: int = 5, output_layers: int = 0, dropout: float = 0.0):
        super().__init__(K, channels, (GatedLayer(channels, k, dropout) for _ in range(layers)), output_layers, dropout)


class PixelSNAIL(TwoStreamPrior):
    """PixelSNAIL over maps of K symbols; S-Tables 5-10: `layers` blocks, an attention after each group of them.

    With `K_condition`, the codebook size of the level above, it is a bottom prior: a conditioning network of
    `condition_layers` residual blocks reads the codes above, and every block gets its features. Each code above has
    2 x 2 children; a transposed convolution gives them features of their own, so that the prior can tell which one it
    draws. Raises RalkitError if the attentions do not divide the blocks into equal groups, or the heads half of the
    channels.
    """

    def __init__(
        self,
        K: int,
        channels: int,
        layers: int,
        k: int = 5,
        output_layers: int = 0,
        dropout: float = 0.0,
        attention_layers: int = 0,
        heads: int = 8,
        K_condition: int | None = None,
        condition_layers: int = 0,
    ):
        if attention_layers and layers % attention_layers:
            raise RalkitError(f"{attention_layers} attention layers do not divide {layers} blocks into equal groups")
        group = layers // attention_layers if attention_layers else layers

        def stack() -> Iterator[nn.Module]:
            for i in range(layers):
                yield SnailBlock(channels, k, dropout, K_condition is not None)
                if attention_layers and (i + 1) % group == 0:
                    yield Attention(channels, heads, dropout)

        super().__init__(K, channels, stack(), output_layers, dropout)
        self.condition_net = None
        if K_condition is not None:
            blocks = (Residual(channels, channels) for _ in range(condition_layers))
            self.condition_net = nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), *blocks, nn.ConvTranspose2d(channels, channels, 2, 2)
            )
            self.condition_embedding = nn.Embedding(K_condition, channels)

    def condition_features(self, condition: Tensor | None) -> Tensor | None:
        """Return the features (B, C, 2h, 2w) of the level above, (B, h, w): each of its codes covers 2 x 2 of ours."""
        if self.condition_net is None:
            return super().condition_features(condition)
        if condition is None:
            raise RalkitError("this prior is conditional: it needs the codes of the level above")
        return self.condition_net(self.condition_embedding(condition).movedim(-1, 1))


def make_prior(cfg: PriorConfig | SnailConfig, K: int, K_condition: int | None = None) -> TwoStreamPrior:
    """Make a prior over maps of K symbols from its configuration, given a level of K_condition symbols or none."""
    if isinstance(cfg, PriorConfig):
        return PixelCNN(K, cfg.channels, cfg.layers, cfg.k, cfg.output_layers, cfg.dropout)
    return PixelSNAIL(
        K, cfg.channels, cfg.layers, cfg.k, cfg.output_layers, cfg.dropout, cfg.attention_layers, cfg.heads,
        K_condition, cfg.condition_layers,
    )  # fmt: skip
