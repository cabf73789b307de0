"""The embedded data set: procedural cartoon faces, drawn from a seed, each with its ground-truth factors.

A face is a stack of signed-distance shapes: a distance is negative inside its shape, and one pixel of it
around zero is the antialiased edge. The unit is half an image: x grows to the right, y down, both -1 to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import distributed, training
from ..errors import RalkitError
from ..ral import Adam, descend

# ---- Drawing ----

DRAWING_RECIPE = 1  # raise it when the same seed is to draw other faces: images are known by it (a test has the pixels)

# Distances: only + - * / and sqrt, and no fused kernel. IEEE rounds these alike in every batch, so a face has
# the same bytes whatever it is drawn beside.


def ellipse(x: Tensor, y: Tensor, a: float, b: float) -> Tensor:
    """Distance to the ellipse of half axes a and b around the origin, exact for a circle."""
    return (((x / a) ** 2 + (y / b) ** 2).sqrt() - 1) * min(a, b)


def bar(x: Tensor, y: Tensor, half_length: float, radius: float) -> Tensor:
    """Distance to a horizontal bar with round ends; bend or tilt it by adding a function of x to y."""
    return ((x.abs() - half_length).clamp(min=0) ** 2 + y**2).sqrt() - radius


def box(x: Tensor, y: Tensor, a: float, b: float, radius: float) -> Tensor:
    """Distance to the rectangle of half sides a and b, its corners rounded to the radius."""
    x, y = x.abs() - (a - radius), y.abs() - (b - radius)
    outside = (x.clamp(min=0) ** 2 + y.clamp(min=0) ** 2).sqrt()
    return outside + torch.maximum(x, y).clamp(max=0) - radius


def union(*distances: Tensor) -> Tensor:
    """Distance to what is inside any of the shapes."""
    return torch.stack(distances).amin(0)


def common(*distances: Tensor) -> Tensor:
    """Distance to what is inside all of the shapes; a minus sign before one of them cuts it out."""
    return torch.stack(distances).amax(0)


# Shapes that a face chooses from, as layers from back to front; u is |x|, which draws left and right alike.
Layers = tuple[Tensor | None, ...]


def nothing(*planes: Tensor) -> Layers:
    return ()


def bald(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    return (ellipse(x.abs() - 0.53, y + 0.06, 0.13, 0.2),)


def short(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    return None, common(head - 0.07, y + 0.02, -ellipse(x - 0.12, y - 0.2, 0.56, 0.54))


def spiky(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    spikes = ((x / 0.32) % 1 - 0.5).abs()
    hairline = ellipse(x, y - 0.24, 0.52, 0.58) + 0.1 * spikes
    return None, common(head - 0.02 - 0.36 * spikes, y + 0.12, -hairline)


def curly(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    u = x.abs()
    curls = ((0.15, 0.62), (0.42, 0.48), (0.58, 0.2), (0.58, -0.1))
    fringe = ((0, 0.5), (0.24, 0.47), (0.44, 0.33))
    back = (ellipse(u - a, y + b, 0.21, 0.21) for a, b in curls)
    front = (ellipse(u - a, y + b, 0.15, 0.15) for a, b in fringe)
    return union(*back, head), union(*front)


def bob(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    back = union(box(x, y + 0.02, 0.65, 0.46, 0.3), head - 0.09)
    return common(back, y - 0.44), common(head - 0.09, y + 0.35 - 0.5 * x * x)


def long(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    back = union(box(x, y - 0.3, 0.64, 0.66, 0.25), head - 0.08)
    return back, common(head - 0.08, y + 0.48 - 1.4 * x * x)


def bun(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    return ellipse(x, y + 0.72, 0.2, 0.18), common(head - 0.05, y + 0.38 - 1.1 * x * x, y + 0.02)


def pigtails(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    tails = ellipse(x.abs() - 0.69, y - 0.12, 0.17, 0.32)
    return tails, common(head - 0.06, y + 0.06, -ellipse(x + 0.2, y - 0.3, 0.66, 0.65))


def smile(x: Tensor, y: Tensor) -> Layers:
    return (bar(x, y - 0.04 + 2.2 * x * x, 0.18, 0.036),)


def grin(x: Tensor, y: Tensor) -> Layers:
    mouth = common(ellipse(x, y + 0.06, 0.24, 0.2), -y - 0.06)
    return mouth - 0.03, mouth, common(mouth, y)


def flat(x: Tensor, y: Tensor) -> Layers:
    return (bar(x, y, 0.13, 0.036),)


def frown(x: Tensor, y: Tensor) -> Layers:
    return (bar(x, y + 0.05 - 2.4 * x * x, 0.17, 0.036),)


def gasp(x: Tensor, y: Tensor) -> Layers:
    return ellipse(x, y - 0.01, 0.11, 0.13), ellipse(x, y - 0.01, 0.07, 0.09)


def moustache(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    return (bar(x, y + 0.14 - 1.3 * x * x, 0.17, 0.065),)


def full(x: Tensor, y: Tensor, head: Tensor) -> Layers:
    jaw = common(head - 0.06, -y - 0.34, -ellipse(x, y + 0.31, 0.5, 0.22))
    return (common(jaw, -ellipse(x, y, 0.2, 0.07)),)


def round_glasses(u: Tensor, y: Tensor) -> Layers:
    return (union(ellipse(u - 0.22, y, 0.205, 0.205).abs() - 0.024, bar(u, y + 0.05, 0.03, 0.024)),)


def square_glasses(u: Tensor, y: Tensor) -> Layers:
    return None, union(box(u - 0.23, y, 0.215, 0.175, 0.05).abs() - 0.03, bar(u, y + 0.05, 0.03, 0.03))


# fmt: off
PALETTES = {
    "skin": {"ivory": 0xFBDCC4, "peach": 0xF0BA90, "tan": 0xD29466, "brown": 0x9C6446, "deep": 0x633F35},
    "hair_colour": {"black": 0x2A2530, "chestnut": 0x84491F, "ginger": 0xD0602A, "blond": 0xF0CB68,
                    "silver": 0xBFC3CE, "rose": 0xDE6C98},
    "eye_colour": {"hazel": 0x7A4420, "blue": 0x2F86D6, "green": 0x35A35A, "violet": 0x8A52C8},
    "shirt": {"tomato": 0xE2533F, "mustard": 0xE8A92E, "leaf": 0x4E9E5F, "ocean": 0x2E78B5, "plum": 0x7B4A93,
              "cream": 0xF5ECD9, "ink": 0x2E3552},
    "background": {"sky": 0x93CCEA, "mint": 0xA5DDBE, "butter": 0xF7DC8B, "coral": 0xF3A28E,
                   "lilac": 0xC0AFE8, "teal": 0x3F8F95, "night": 0x3B4878},
}
SHAPES: dict[str, dict[str, Callable[..., Layers]]] = {
    "hair": {"bald": bald, "short": short, "spiky": spiky, "curly": curly, "bob": bob, "long": long,
             "bun": bun, "pigtails": pigtails},
    "mouth": {"smile": smile, "grin": grin, "flat": flat, "frown": frown, "gasp": gasp},
    "beard": {"none": nothing, "moustache": moustache, "full": full},
    "glasses": {"none": nothing, "round": round_glasses, "square": square_glasses},
}
# fmt: on
SLOPES = {"brows": {"worried": -0.5, "level": 0.0, "stern": 0.5}}  # upwards to the outside

FACTORS: dict[str, tuple[str, ...]] = {name: tuple(values) for name, values in (PALETTES | SHAPES | SLOPES).items()}
WEIGHTS = {"glasses": (2, 1, 1), "beard": (4, 1, 1)}  # the other factors are uniform; all are independent
NUISANCES = ("shift_x", "shift_y", "tilt", "turn", "width", "gaze", "bend", "light")


def rgb(*codes: int) -> Tensor:
    """Colours 0xRRGGBB -> (len(codes), 3, 1, 1) floats in [0, 1]."""
    return torch.tensor([[code >> 16, code >> 8 & 255, code & 255] for code in codes])[..., None, None] / 255


LASH, WHITE, LIP, THROAT = rgb(0x35262B, 0xFDFBF7, 0xCB4A48, 0x6A1C2B)
BLACK_FRAME, RED_FRAME = rgb(0x2B2B3A, 0xC8283C)


def choose(name: str, index: Tensor, *planes: Tensor, layers: int = 1) -> Tensor:
    """Distances (layers, B, 1, S, S) to the shape that each face chose; absent layers are far away."""
    distances = planes[0].new_full((layers, *planes[0].shape), 9.0)
    for value, shape in enumerate(SHAPES[name].values()):
        rows = (index == value).nonzero().flatten()
        if len(rows):
            for layer, distance in enumerate(shape(*(plane[rows] for plane in planes))):
                if distance is not None:
                    distances[layer, rows] = distance
    return distances


def render(factors: Tensor, nuisances: Tensor, size: int) -> Tensor:
    """Draw factors (B, len(FACTORS)) with nuisances (B, len(NUISANCES)) in [-1, 1] -> uint8 (B, 3, S, S)."""
    return (canvas_of(factors, nuisances, size) * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def canvas_of(factors: Tensor, nuisances: Tensor, size: int) -> Tensor:
    """What `render` draws before it is rounded: floats in [0, 1], differentiable in the nuisances."""
    chosen = dict(zip(FACTORS, factors.T, strict=True))
    skin, hair, iris, shirt, background = (rgb(*PALETTES[name].values())[chosen[name]] for name in PALETTES)
    slope = torch.tensor(list(SLOPES["brows"].values()))[chosen["brows"], None, None, None]
    shift_x, shift_y, tilt, turning, width, gaze, bend, light = nuisances.T[..., None, None, None]

    # The body stands upright; the head is shifted and tilted on it, and its features turn a little further.
    pixel = 2 / size
    line = (torch.arange(size) + 0.5) * pixel - 1
    across, down = line.view(1, 1, 1, size), line.view(1, 1, size, 1)
    body = across - 0.06 * shift_x
    x, y = body - 0.03 * shift_x, down - 0.02 - 0.04 * shift_y
    x, y = (x + 0.1 * tilt * y) * (1 - 0.06 * width), y - 0.1 * tilt * x
    turn = x - 0.05 * turning
    u, eye_y, mouth_y = turn.abs(), y - 0.03, y - 0.38
    head = ellipse(x * (1 + 0.14 * y), y, 0.55, 0.6)
    shade = 0.1 * x.clamp(-0.6, 0.6)  # the light comes from the left

    canvas = background * (1 - 0.08 * down + 0.05 * light * (across + down))

    def paint(colour: Tensor, distance: Tensor, edge: float = pixel, opacity: float = 1.0) -> None:
        canvas.add_((colour - canvas) * ((0.5 - distance / edge).clamp(0, 1) * opacity))

    hair_behind, hair_before = choose("hair", chosen["hair"], x, y, head, layers=2)
    paint(hair * 0.8, hair_behind)
    shoulders = ellipse(body, down - 1.12, 0.8, 0.46)
    neck = bar(down - 0.6, body, 0.16, 0.19)
    paint(shirt * (1 - shade), shoulders)
    paint(shirt * 0.82, common(shoulders, neck - 0.07))
    paint(skin * 0.82, neck)
    paint(skin * 0.9, ellipse(x.abs() - 0.54, y - 0.06, 0.1, 0.13))
    paint(skin * (1 - shade - 0.4 * (head + 0.25).clamp(0, 0.25)), head)
    paint(LIP, ellipse(u - 0.33, y - 0.24, 0.12, 0.1), edge=0.16, opacity=0.3)  # a blush
    paint(skin * 0.78, ellipse(turn - 0.02 * turning, y - 0.18, 0.06, 0.045))

    (beard,) = choose("beard", chosen["beard"], turn, mouth_y, head)
    paint(hair * (0.9 - shade), beard)
    bent = mouth_y + 0.5 * bend * (turn**2 - 0.01)
    lips, throat, teeth = choose("mouth", chosen["mouth"], turn, bent, layers=3)
    paint(LIP, lips)
    paint(THROAT, throat)
    paint(WHITE, teeth)

    # Drawn in u, both eyes are one shape: only the gaze and the glint tell left from right.
    look = turn - 0.22 * turn.sign() - 0.035 * gaze
    paint(LASH, ellipse(u - 0.22, eye_y + 0.02, 0.155, 0.165))
    paint(WHITE, ellipse(u - 0.22, eye_y - 0.01, 0.15, 0.155))
    paint(iris, ellipse(look, eye_y - 0.01, 0.11, 0.11))
    paint(LASH, ellipse(look, eye_y - 0.01, 0.055, 0.055))
    paint(WHITE, ellipse(look + 0.045, eye_y + 0.035, 0.032, 0.032))

    paint(hair * (1.15 - shade - 0.25 * (y + 0.45).abs()).clamp(max=1), hair_before)
    paint(hair * 0.3, bar(u - 0.23, eye_y + 0.235 + slope * (u - 0.23), 0.12, 0.036))
    round_frame, square_frame = choose("glasses", chosen["glasses"], u, eye_y, layers=2)
    paint(BLACK_FRAME, round_frame)
    paint(RED_FRAME, square_frame)
    return canvas


BLOCK = 1024  # faces per random generator, so that face i never depends on where a call starts or ends


def draw(block: int, seed: int) -> tuple[Tensor, Tensor]:
    """Factors (BLOCK, len(FACTORS)) and nuisances (BLOCK, len(NUISANCES)) of one block of faces."""
    # A torch generator keeps 32 bits of its seed: the golden ratio spreads seeds, blocks lie between them.
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + block) % 2**32)
    uniform = torch.rand(BLOCK, len(FACTORS) + len(NUISANCES), generator=generator)
    factors = torch.empty(BLOCK, len(FACTORS), dtype=torch.int64)
    for column, (name, values) in enumerate(FACTORS.items()):
        weights = torch.tensor(WEIGHTS.get(name, (1,) * len(values)))
        thresholds = weights.cumsum(0)[:-1] / weights.sum()
        factors[:, column] = (uniform[:, column, None] > thresholds).sum(1)
    return factors, 2 * uniform[:, len(FACTORS) :] - 1


def faces(n: int, size: int, seed: int = 0, start: int = 0) -> tuple[Tensor, Tensor]:
    """Faces start to start + n of a seed -> images uint8 (n, 3, size, size), factors int64 (n, len(FACTORS)).

    A face has the same bytes whatever n and start, and the same factors and pose at every size. Raises
    RalkitError unless n >= 1, size >= 16 and start >= 0.
    """
    if n < 1 or size < 16 or start < 0:
        raise RalkitError(f"faces need n >= 1, size >= 16, start >= 0, not n={n}, size={size}, start={start}.")
    first, last = start // BLOCK, (start + n - 1) // BLOCK
    blocks = [draw(block, seed) for block in range(first, last + 1)]
    rows = slice(start - first * BLOCK, start - first * BLOCK + n)
    factors, nuisances = (torch.cat(parts)[rows] for parts in zip(*blocks, strict=True))
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    chunk = max(1, 2**17 // size**2)  # faces whose planes fit the cache
    for part in zip(images.split(chunk), factors.split(chunk), nuisances.split(chunk), strict=True):
        part[0].copy_(render(part[1], part[2], size))
    return images, factors


# ---- The factor network ----


@dataclass(frozen=True)
class FactorConfig:
    """How the factor network is built and trained: its width, the batch, the steps and the learning rate."""

    channels: int = 48
    batch: int = 64
    steps: int = 1500
    lr: float = 2e-3


class FactorNet(nn.Module):
    """A small convolutional classifier of the factors, whose pooled features feed a Fréchet distance."""

    feature_dim = 128

    def __init__(self, channels: int = 48):
        super().__init__()
        widths = (3, channels, 2 * channels, self.feature_dim, self.feature_dim)
        layers = []
        for (before, after), stride in zip(pairwise(widths), (2, 2, 2, 1), strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(self.feature_dim, len(values)) for values in FACTORS.values())

    def features(self, x: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1], S >= 32 -> features averaged over the image (B, feature_dim)."""
        return self.trunk(x).mean((2, 3))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, S, S) in [-1, 1] -> logits (B, values) of each factor, in the order of FACTORS."""
        features = self.features(x)
        return [head(features) for head in self.heads]

    def predict(self, x: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] -> the likeliest values, int64 (B, len(FACTORS))."""
        return torch.stack([logits.argmax(1) for logits in self(x)], 1)


FACTORS_RECIPE = 1  # raise it when `train_factors` is to give other weights


def train_factors(
    net: FactorNet, images: Tensor, factors: Tensor, cfg: FactorConfig, *, name: str = "factor network", **options
) -> training.History:
    """Train the classifier on uint8 faces (N, 3, S, S) with their factors (N, F); `options` are those of `fit`."""
    device = training.device_of(net)
    optimiser = Adam(net.parameters(), cfg.lr)
    images, factors = (training.resident(x, device) for x in (images, factors))

    def step(t: int) -> dict[str, Tensor]:
        training.anneal(optimiser, cfg.lr, t, cfg.steps)
        x, truth = training.draw(distributed.local_batch(cfg.batch), images, factors, device=device)
        logits = net(x)
        loss = sum(F.cross_entropy(z, truth[:, i]) for i, z in enumerate(logits))
        descend(loss, optimiser)
        right = torch.stack([z.argmax(1) == truth[:, i] for i, z in enumerate(logits)])
        return {"loss": loss.detach(), "accuracy": right.float().mean()}

    return training.fit(name, {"net": net.train(), "optimiser": optimiser}, step, cfg.steps, **options)
