"""The prior over code maps: a gated PixelCNN without blind spot (van den Oord et al. 2016), any H x W.

    p(c) = prod_t G(c_t | c_0 .. c_{t-1}),   t in raster order

Two streams run over the map. The vertical one sees the rows above, the horizontal one the row's codes to the
left and, at every layer, what the vertical one found. Both inputs are shifted once, by one row or one column;
after that a layer may look at its own position. So no tap is ever masked: each kernel holds kept taps only.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def gate(x: Tensor, dim: int = 1) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves a, b of x along `dim`: the gated activation."""
    a, b = x.chunk(2, dim)
    return a.tanh() * b.sigmoid()


class GatedLayer(nn.Module):
    """One layer of both streams; `k` is the width of the window, whose rows below and right end are left out."""

    def __init__(self, channels: int, k: int, dropout: float):
        super().__init__()
        self.reach = k // 2  # how far it looks up, left, and (in the rows above) right
        self.vertical = nn.Conv2d(channels, 2 * channels, (self.reach + 1, k))
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.horizontal = nn.Conv2d(channels, 2 * channels, (1, self.reach + 1))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        p = self.reach
        v = self.vertical(F.pad(v, (p, p, p, 0)))
        update = gate(self.horizontal(F.pad(h, (p, 0, 0, 0))) + self.link(v))
        return gate(v), h + self.out(self.dropout(update))


class OutputLayer(nn.Module):
    """A gated 1x1 residual block of the output stack, applied to the last axis of (..., channels)."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.inner, self.outer = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.dropout(gate(self.inner(F.elu(x)), -1)))


class PixelCNN(nn.Module):
    """Gated PixelCNN over maps of K symbols; S-Table 4: channels, layers, k (filter size), output layers, dropout."""

    def __init__(self, K: int, channels: int, layers: int, k: int = 5, output_layers: int = 0, dropout: float = 0.0):
        super().__init__()
        self.K = K
        self.embedding = nn.Embedding(K, channels)
        self.layers = nn.ModuleList(GatedLayer(channels, k, dropout) for _ in range(layers))
        self.head = nn.Sequential(
            *(OutputLayer(channels, dropout) for _ in range(output_layers)), nn.ReLU(), nn.Linear(channels, K)
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Logits (B, H, W, K) of every code of codes (B, H, W), each given the codes before it only."""
        e = self.embedding(codes).movedim(-1, 1)
        v = F.pad(e, (0, 0, 1, -1))  # the row above
        h = F.pad(e, (1, -1))  # the code to the left
        for layer in self.layers:
            v, h = layer(v, h)
        return self.head(h.movedim(1, -1))

    def log_prob(self, codes: Tensor, temperature: float = 1.0) -> Tensor:
        """log G(c_t | c_0 .. c_{t-1}) in nats, (B, H, W), of codes (B, H, W), of the softmax at `temperature`."""
        return -F.cross_entropy(self(codes).movedim(-1, 1) / temperature, codes, reduction="none")
