"""Three diagrams of what the course computes: the layers of a PixelCNN, one RAL iteration, the cached sampler."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from torch import Tensor

from .plots import COLOURS, new_figure, picture, tile

BLUE, GREEN, RED = COLOURS["RAL intermediate"], COLOURS["RAL anchored"], COLOURS["RAL single"]
PINK = COLOURS["RAL, true reward"]
V, H = BLUE, COLOURS["MLE at temperature 0.8"]  # the vertical stream is blue, the horizontal one orange
PALE_V, PALE_H, GREY, DARK = "#9CCBE8", "#F7DDA0", "#E4E4E4", "#777777"


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one empty axes, whose coordinates are inches from the lower left corner."""
    figure, ((ax,),) = new_figure(size=(width, height))
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.set_axis_off()
    return figure, ax


def _words(ax: Axes, x: float, y: float, words: str, size: float = 9, **options) -> None:
    ax.text(x, y, words, fontsize=size, **{"ha": "center", "va": "center", "linespacing": 1.25} | options)


def _box(
    ax: Axes, x: float, y: float, words: str, colour: str = "black", size: tuple[float, float] = (0.7, 0.5)
) -> None:
    """Words in a round box with its centre at (x, y)."""
    corner = (x - size[0] / 2, y - size[1] / 2)
    ax.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.08", ec=colour, fc=(colour, 0.1), lw=1.5))
    _words(ax, x, y, words)


def _arrow(ax: Axes, *points: tuple[float, float], dashed: bool = False, colour: str = "black") -> None:
    """An arrow along the points; a dashed one is a gradient."""
    ax.plot(*zip(*points, strict=True), color=colour, linewidth=1.2 + 0.6 * dashed, dashes=(4, 1.5) if dashed else ())
    last = Path(points[-2:])  # of which only the head is drawn here
    ax.add_patch(FancyArrowPatch(path=last, arrowstyle="-|>", mutation_scale=15, color=colour, linewidth=0))


def _plus(ax: Axes, x: float, y: float) -> None:
    ax.plot(x, y, "o", color="white", markeredgecolor="black", markersize=15, zorder=3)
    ax.plot(x, y, "+", color="black", markersize=9, zorder=4)


def _show(ax: Axes, x: float, y: float, pixels: np.ndarray | Tensor, size: float, title: str = "", **options) -> Axes:
    """A picture of `size` inches with its centre at (x, y)."""
    inset = ax.inset_axes((x - size / 2, y - size / 2, size, size), transform=ax.transData, label=title)
    return picture(inset, pixels, title, **options)


def _board(ax: Axes, x: float, y: float, fills: np.ndarray, words: np.ndarray, title: str, size: float = 1.3) -> Axes:
    """A square map of cells in colours `fills` (n, n) with `words` (n, n) in them, its centre at (x, y)."""
    n = len(fills)
    inset = _show(ax, x, y, to_rgba_array(fills.flatten()).reshape(n, n, 4), size, title)
    lines = np.arange(1, n) - 0.5
    inset.vlines(lines, -0.5, n - 0.5, color="white", linewidth=1)
    inset.hlines(lines, -0.5, n - 0.5, color="white", linewidth=1)
    for (i, j), word in np.ndenumerate(words):
        if word:
            dark = fills[i, j] in (V, RED, DARK)
            _words(inset, j, i, word, 9 if n < 6 else 8, color="white" if dark else "black")
    return inset


def _mark(inset: Axes, i: int, j: int) -> None:
    """A black frame around the cell in row i and column j."""
    inset.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2.5, zorder=3))


def _legend(ax: Axes, x: float, y: float, meanings: dict[str, str], step: tuple[float, float] = (0.0, -0.22)) -> None:
    """A square of each colour with its meaning beside it, from (x, y) on."""
    for k, (colour, words) in enumerate(meanings.items()):
        at = x + k * step[0], y + k * step[1]
        ax.add_patch(Rectangle((at[0], at[1] - 0.07), 0.14, 0.14, color=colour))
        _words(ax, at[0] + 0.22, at[1], words, ha="left")


def _seen(columns: int, layers: int, masked: bool = False) -> np.ndarray:
    """The colours of what the centre of a map sees after layers 3 wide: those of v and h, or those of masked layers."""
    i = j = columns // 2
    fills = np.full((columns, columns), GREY)
    for up in range(1, i + 1):
        if up <= layers + (not masked):
            fills[i - up, max(0, j - layers) : j + (up if masked else layers) + 1] = DARK if masked else V
    fills[i, max(0, j - layers - (not masked)) : j] = DARK if masked else H
    fills[i, j] = RED
    return fills


def _gated_layer(ax: Axes, top: float, low: float) -> None:
    """The parts of `prior.GatedLayer`: the vertical stream at height `top`, the horizontal one at height `low`."""
    middle, floor = (top + low) / 2, low - 0.65
    corner, size = (3.7, floor - 0.2), (4.2, top - floor + 1.0)
    ax.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.1", ec="#777777", fc="none", ls=":"))
    _words(ax, 7.8, top + 0.6, "one layer", ha="right")
    for y, colour, kernel in ((top, V, "2 x 3"), (low, H, "1 x 2")):
        _box(ax, 4.4, y, f"conv\n{kernel}", colour)
        _box(ax, 6.1, y, "gate", colour)
        _arrow(ax, (3.45, y), (4.03, y))
    _box(ax, 5.25, middle, "link\n1 x 1", V)
    _box(ax, 7.0, low, "out\n1 x 1", H)
    _plus(ax, 5.25, low)
    _plus(ax, 7.65, low)
    _arrow(ax, (4.77, top), (5.73, top))
    _arrow(ax, (6.47, top), (8.06, top))
    _arrow(ax, (5.25, top), (5.25, middle + 0.27))
    _arrow(ax, (5.25, middle - 0.27), (5.25, low + 0.12))
    for start, end in ((4.77, 5.12), (5.38, 5.73), (6.47, 6.63), (7.37, 7.52), (7.78, 8.06)):
        _arrow(ax, (start, low), (end, low))
    _arrow(ax, (3.8, low), (3.8, floor), (7.65, floor), (7.65, low - 0.12))
    _words(ax, 5.7, floor + 0.12, "skip")


def two_streams(columns: int = 5) -> Figure:
    """The two streams of a gated PixelCNN with windows 3 wide, and what they see of a map of 5 columns or more."""
    figure, ax = _canvas(9.0, 5.9)
    n, t = columns, columns // 2 * (columns + 1)  # the code at the centre is to be predicted
    i = j = columns // 2
    numbers = np.arange(n * n).reshape(n, n).astype(str).astype(object)
    shifted_down, shifted_right = np.full((2, n, n), "", dtype=object)
    shifted_down[1:], shifted_right[:, 1:] = numbers[:-1], numbers[:, :-1]
    window_v, window_h = np.full((2, n, n), GREY)
    window_v[i - 1 : i + 1, j - 1 : j + 2], window_h[i, j - 1 : j + 1] = V, H

    top, low = 4.95, 3.05
    middle = (top + low) / 2
    _mark(_board(ax, 0.75, middle, np.full((n, n), GREY), numbers, "codes, embedded"), i, j)
    _mark(_board(ax, 2.75, top, window_v, shifted_down, "v: one row down"), i, j)
    _mark(_board(ax, 2.75, low, window_h, shifted_right, "h: one column right"), i, j)
    for y, start, colour in ((top, middle + 0.25, V), (low, middle - 0.25, H)):
        _arrow(ax, (1.43, start), (1.75, start), (1.75, y), (2.05, y), colour=colour)
    _words(ax, 1.83, middle, "shift once")
    _gated_layer(ax, top, low)
    _words(ax, 8.53, top, "v to the\nnext layer")
    _words(ax, 8.53, low, "h to the\nnext layer,\nat the end to")
    _arrow(ax, (8.53, low - 0.3), (8.53, low - 0.53))
    _box(ax, 8.53, low - 0.75, "head", size=(0.7, 0.4))

    _words(ax, 0.1, 5.4, f"framed: the place of\ncode {t}, which is\nto be predicted", ha="left")
    meanings = {RED: f"code {t} itself", V: "rows above, through v", H: "codes to the left, through h"}
    meanings |= {DARK: "seen by masked layers", PINK: "blind spot: never seen", GREY: "not seen"}
    _words(ax, 0.1, 1.5, f"What does the output at {t} see?", ha="left", weight="bold")
    _legend(ax, 0.1, 1.24, meanings)
    layers = f"{j} layer{'s' * (j > 1)}"
    _board(ax, 3.45, 0.8, _seen(n, 1), numbers, "after 1 layer")
    _board(ax, 5.45, 0.8, _seen(n, j), numbers, f"after {layers}: all before {t}")
    masked = _seen(n, j, masked=True)
    masked.reshape(-1)[:t][masked.reshape(-1)[:t] == GREY] = PINK
    _board(ax, 7.75, 0.8, masked, numbers, f"{layers} with masks: a blind spot")
    return figure


def one_iteration(real: Tensor, fake: Tensor, score_map: Tensor) -> Figure:
    """One RAL iteration (the paper's Fig. 2) with images (3, S, S) in [-1, 1] and the fake one's score map (h, w)."""
    figure, ax = _canvas(9.0, 5.35)
    top, middle, low, tall = 4.15, 2.5, 0.7, (0.95, 2.95)
    between, reach = (top + middle) / 2, score_map.abs().max().item() + 1e-9
    _box(ax, 0.75, top, "codes of\nreal images", "#777777", (1.1, 0.7))
    _box(ax, 0.75, middle, "$\\bf{prior\\ G}$\n① samples\nfake codes", BLUE, (1.1, 0.75))
    _box(ax, 2.25, between, "$\\bf{decoder\\ U}$\n② decodes\n\n(frozen)", "#777777", tall)
    _box(ax, 5.35, between, "$\\bf{critic\\ D}$\nscores both\nimages", GREEN, tall)
    _show(ax, 3.8, top, tile(real[None], 1), 1.2, "real image")
    _show(ax, 3.8, middle, tile(fake[None], 1), 1.2, "fake image")
    colours = {"cmap": "RdBu", "vmin": -reach, "vmax": reach, "aspect": "auto"}
    _show(ax, 7.5, middle, score_map.detach().cpu().numpy(), 1.2, "④ score map of the fake", **colours)
    goal = "③ $\\bf{loss\\ of\\ D}$\nhigh scores for real images,\nlow scores for fake ones"
    _box(ax, 7.5, top, goal, GREEN, (2.3, 0.7))
    steps = {
        7.5: "$\\bf{rewards\\ r}$\nthe scores, dealt\nout to the codes",
        5.4: "$\\bf{returns\\ Q}$\nall rewards that\ncome after a code",
        3.3: "$\\bf{advantages\\ A}$\nQ less the mean Q\nof other samples",
    }
    for x, words in steps.items():
        _box(ax, x, low, words, BLUE, (1.6, 0.8))

    for y in (top, middle):
        for start, end in ((1.32, 1.75), (2.75, 3.17), (4.43, 4.85)):
            _arrow(ax, (start, y), (end, y))
    _arrow(ax, (5.85, top), (6.33, top))
    _arrow(ax, (5.85, middle), (6.87, middle))
    _arrow(ax, (7.5, middle - 0.62), (7.5, low + 0.42))
    _arrow(ax, (6.68, low), (6.22, low))
    _arrow(ax, (4.58, low), (4.12, low))
    _arrow(ax, (7.5, top + 0.37), (7.5, 5.05), (5.35, 5.05), (5.35, between + 1.5), dashed=True, colour=GREEN)
    _words(ax, 6.45, 4.88, "gradient for D", color=GREEN)
    _arrow(ax, (2.48, low), (0.75, low), (0.75, middle - 0.4), dashed=True, colour=BLUE)
    _words(ax, 0.9, low + 0.35, "⑤ policy gradient:\nA ∇ log G(code)", color=BLUE, ha="left")
    _words(ax, 3.8, 1.5, "no gradient goes back through D or U to G")
    _arrow(ax, (0.2, 5.15), (0.65, 5.15))
    _words(ax, 0.75, 5.15, "values", ha="left")
    _arrow(ax, (1.5, 5.15), (1.95, 5.15), dashed=True)
    _words(ax, 2.05, 5.15, "a gradient that changes weights", ha="left")
    return figure


def cache(columns: int = 5, reach: int = 1) -> Figure:
    """What one new code costs the plain and the cached sampler, if a window looks `reach` places up and left."""
    figure, ax = _canvas(9.0, 3.6)
    n, T, y = columns, columns**2, 2.2
    i = j = columns - 2
    whole_v, whole_h, row, code = (np.full((n, n), c, dtype=object) for c in (V, H, GREY, GREY))
    row[max(0, i - reach) : i], row[i] = PALE_V, V
    code[i, max(0, j - reach) : j], code[i, j] = PALE_H, H
    words = np.full((n, n), "")
    words[i, j] = "?"
    panels = {
        1.2: (whole_v, "vertical stream", f"{T} positions a code", T * T),
        3.2: (whole_h, "horizontal stream", f"{T} positions a code", T * T),
        5.7: (row, "vertical stream", f"{n} positions a row", T),
        7.8: (code, "horizontal stream", "1 position a code", T),
    }
    for x, (fills, title, each, whole) in panels.items():
        _mark(_board(ax, x, y, fills, words, title, 1.6), i, j)
        _words(ax, x, y - 1.1, f"{each},\n{whole} a map")
    level = y + 0.8 - 1.6 * (i + 0.5) / n
    _arrow(ax, (6.53, level), (6.97, level))
    _words(ax, 6.75, level + 0.14, "link")
    _words(ax, 2.2, 3.42, "plain: each code runs the whole network", 10, weight="bold")
    _words(ax, 6.75, 3.42, "cached: v once a row, h for one code", 10, weight="bold")
    ax.plot((4.45, 4.45), (0.6, 3.5), color="#AAAAAA", linewidth=1)
    meanings = {V: "v, computed", H: "h, computed", PALE_V: "v, kept and read", PALE_H: "h, kept and read"}
    _legend(ax, 0.4, 0.3, meanings | {GREY: "not needed"}, (1.55, 0.0))
    _words(ax, 7.85, 0.3, "?  the new code", ha="left")
    return figure
