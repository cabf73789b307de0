"""Figures, each a function that returns a matplotlib Figure."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor

from ..training import History
from ..vqvae import to_uint8

# One colour for each method, in every figure (Okabe and Ito's palette, told apart by colour-blind readers too).
COLOURS = {
    "MLE": "#000000",
    "MLE continued": "#999999",
    "RAL single": "#D55E00",
    "RAL intermediate": "#0072B2",
    "RAL partial": "#56B4E9",
    "RAL anchored": "#009E73",
    "RAL, true reward": "#CC79A7",
    "MLE at temperature 0.8": "#E69F00",
    "MLE at temperature 0.9": "#8C6D00",
}


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.0, 3.0)) -> tuple[Figure, np.ndarray]:
    """A figure of rows x columns axes, `size` inches each; no global state, so nothing to close."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def png_of(picture: Figure | Image.Image) -> bytes:
    """A figure, or a picture, as a PNG of 256 colours, which look like all of them and take a third of the bytes."""
    buffer = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(buffer, dpi=150, bbox_inches="tight", metadata={"Software": None})
        picture, buffer = Image.open(buffer), io.BytesIO()
    _few_colours(picture.convert("RGB")).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _few_colours(picture: Image.Image) -> Image.Image:
    """A picture in the 256 colours that come nearest to its own, chosen on an eighth of its pixels.

    A median cut would mix a small mark with what is around it, so red would turn purple. The pixels are drawn at
    random, because every third column would miss a thin line.
    """
    pixels = np.asarray(picture).reshape(-1, 3)
    some = np.random.default_rng(0).choice(pixels, -(-len(pixels) // 8))
    chosen = Image.fromarray(some[None]).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    reduced = picture.quantize(palette=chosen, dither=Image.Dither.NONE)
    palette, ground = reduced.getpalette(), reduced.getpixel((0, 0))
    palette[3 * ground : 3 * ground + 3] = picture.getpixel((0, 0))  # the background is kept exactly
    reduced.putpalette(palette)
    return reduced


def to_pixels(images: Tensor) -> np.ndarray:
    """Images (N, 3, S, S), uint8 or float in [-1, 1] -> (N, S, S, 3) uint8 on the CPU."""
    images = images.detach().cpu()
    return (images if images.dtype == torch.uint8 else to_uint8(images)).movedim(1, -1).numpy()


def tile(images: Tensor, columns: int) -> np.ndarray:
    """Images (N, 3, S, S) side by side with a white pixel between, `columns` a row: (rows S, columns S, 3) uint8."""
    pixels = to_pixels(images)
    n, S = len(pixels), pixels.shape[1]
    rows = -(-n // columns)
    sheet = np.full((rows * (S + 1) - 1, columns * (S + 1) - 1, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        y, x = i // columns * (S + 1), i % columns * (S + 1)
        sheet[y : y + S, x : x + S] = image
    return sheet


def picture(ax: Axes, pixels: np.ndarray | Tensor, title: str = "", **options) -> Axes:
    """Show pixels (H, W, 3) or a map (H, W) on axes without ticks."""
    ax.imshow(pixels, interpolation="nearest", **options)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)
    return ax


def image_grid(images: Tensor, columns: int = 8, title: str = "", inch: float = 0.8) -> Figure:
    """A sheet of images (N, 3, S, S), `inch` wide each."""
    rows = -(-len(images) // columns)
    figure, ((ax,),) = new_figure(size=(inch * columns, inch * rows + 0.3 * bool(title)))
    picture(ax, tile(images, columns), title)
    return figure


def labelled_rows(rows: dict[str, Tensor], inch: float = 0.8, title: str = "") -> Figure:
    """One row of images (N, 3, S, S) under another, each with its label at the left."""
    n = max(len(images) for images in rows.values())
    figure, axes = new_figure(len(rows), size=(inch * n + 1.5, inch))
    for ax, (label, images) in zip(axes[:, 0], rows.items(), strict=True):
        picture(ax, tile(images, n))
        ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def code_maps(codes: Tensor, K: int, images: Tensor | None = None, inch: float = 1.3) -> Figure:
    """Code maps (N, H, W) in colours, numbers written in; the images (N, 3, S, S) that they stand for above."""
    figure, axes = new_figure(1 if images is None else 2, len(codes), (inch, inch))
    # Neighbouring numbers mean nothing, so the colours are shuffled.
    colour = np.random.default_rng(0).permutation(K)
    size = (32 if K <= 100 else 27) * inch / codes.shape[2]  # three digits fit in a cell, too
    style = {"ha": "center", "va": "center", "fontsize": size, "color": "white"}
    style["path_effects"] = [withStroke(linewidth=1.0, foreground="0.25")]  # legible on light colours, too
    for i, map_ in enumerate(codes.cpu().numpy()):
        if images is not None:
            picture(axes[0, i], to_pixels(images[i : i + 1])[0])
        picture(axes[-1, i], colour[map_], cmap="turbo", vmin=0, vmax=K - 1)
        for (y, x), code in np.ndenumerate(map_):
            axes[-1, i].text(x, y, code, **style)
    return figure


def receptive_field(gradient: Tensor, at: tuple[int, int], ax: Axes, title: str = "") -> Axes:
    """Where a logit at `at` looks: |gradient| (H, W) in logarithmic colours, grey where it is exactly zero."""
    size = gradient.detach().cpu().numpy()
    shown = np.log10(np.where(size > 0, size, np.nan) / max(size.max(), 1e-30))
    ax.set_facecolor("#dddddd")
    picture(ax, shown, title, cmap="viridis", vmin=-4, vmax=0)
    ax.plot(at[1], at[0], "s", color="red", markersize=5)
    return ax


def series(history: History, key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one number of a history (what a step logs is not there before the first step)."""
    values = history[key]
    return history["step"][-len(values) :], values


def curves(
    runs: dict[str, Sequence[History]],
    keys: Sequence[str],
    xlabel: str = "updates",
    truth: dict[str, float] | None = None,
) -> Figure:
    """One panel for each key that a run has; for each label its runs as thin lines, their mean as a thick one.

    `truth` has the values of keys that the oracle itself would have; they are dotted lines.
    """
    keys = [key for key in keys if any(key in h for histories in runs.values() for h in histories)]
    columns = 2 if len(keys) == 4 else min(len(keys), 3)
    figure, axes = new_figure(-(-len(keys) // columns), columns, (3.9, 2.9))
    for ax, key in zip(axes.flat, keys, strict=False):
        for i, (label, histories) in enumerate(runs.items()):
            lines = [series(h, key) for h in histories if key in h]
            if not lines:
                continue
            colour = COLOURS.get(label, f"C{i}")
            for steps, values in lines if len(lines) > 1 else ():
                ax.plot(steps, values, color=colour, linewidth=0.7, alpha=0.5)
            mean = np.mean([values for _, values in lines], axis=0)
            ax.plot(lines[0][0], mean, color=colour, linewidth=2, label=label)
        if key in (truth or {}):
            ax.axhline(truth[key], color="black", linewidth=1, linestyle=":", label="the oracle itself")
        ax.set(xlabel=xlabel, title=key, ylabel="nats per image" if key.startswith(("NLL", "KL", "entropy")) else "")
        ax.grid(alpha=0.3)
    for ax in axes.flat[len(keys) :]:
        ax.remove()
    if len(runs) > 4:  # too many to lie on the lines
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    else:
        axes.flat[0].legend(fontsize=8)
    return figure


def score_overlay(image: Tensor, score_map: Tensor, ax: Axes, title: str = "", limit: float | None = None) -> Axes:
    """A score map (h, w) over its image (3, S, S) in grey: red looks fake to the critic, blue real, up to `limit`."""
    grey = to_pixels(image[None])[0].mean(-1)  # colours are those of the scores alone
    scores = score_map.detach().cpu().numpy()
    reach = limit or np.abs(scores).max() + 1e-9
    S = grey.shape[0]
    picture(ax, grey, title, cmap="gray", vmin=0, vmax=255, extent=(0, S, S, 0))
    ax.imshow(scores, cmap="RdBu", vmin=-reach, vmax=reach, alpha=0.5, extent=(0, S, S, 0), interpolation="nearest")
    return ax


def trade_off(points: dict[str, list[list[dict[str, float]]]], x: str, y: str) -> Figure:
    """Each label's series in the plane of two numbers, lower left being better; the points of a series are joined.

    The temperatures stand beside the points of the first series that has several.
    """
    figure, ((ax,),) = new_figure(size=(5.5, 4.2))
    for i, (label, several) in enumerate(points.items()):
        for j, rows in enumerate(several):
            style = {"color": COLOURS.get(label, f"C{i}"), "label": None if j else label}
            ax.plot([r[x] for r in rows], [r[y] for r in rows], "o-", **style)
            for r in rows if i == j == 0 and len(rows) > 1 else ():
                ax.annotate(f"{r['temperature']:g}", (r[x], r[y]), (-6, -3), textcoords="offset points", ha="right")
    ax.set(xlabel=f"{x} (nats per image)", ylabel=f"{y} (nats per image)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def write_beside(ax: Axes, points: dict[str, tuple[float, float]], offset: tuple[float, float] = (6, 3)) -> None:
    """Write words beside points (x, y), `offset` of 1/72 inch away; to their left where that is below 0."""
    style = {"fontsize": 8, "color": "0.25", "ha": "right" if offset[0] < 0 else "left"}
    style["path_effects"] = [withStroke(linewidth=2, foreground="white")]  # legible on lines, too
    for words, at in points.items():
        ax.annotate(words, at, offset, textcoords="offset points", **style)


def zoom(ax: Axes, x: Sequence[float], y: Sequence[float], margin: float = 0.05) -> None:
    """Limit axes to the rectangle that holds points (x, y), and a little more."""
    for limit, values in ((ax.set_xlim, x), (ax.set_ylim, y)):
        low, high = min(values), max(values)
        limit(low - margin * (high - low), high + margin * (high - low))


def grouped_bars(
    panels: dict[str, dict[str, Sequence[float]]], groups: dict[str, tuple[str, Sequence[str]]], xlabel: str
) -> Figure:
    """A panel of bars for each world or the like: the mean of each label's values, and a dot for each value.

    `groups` have a colour and labels each, from the top down. What a panel lacks has no bar there.
    """
    names = [name for _, labels in groups.values() for name in labels if any(name in of for of in panels.values())]
    figure = Figure(figsize=(3.1 * len(panels) + 1.9, 0.27 * len(names) + 1.4), layout="constrained")
    (axes,) = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)
    for ax, (title, of) in zip(axes, panels.items(), strict=True):
        for colour, labels in groups.values():
            for name in (name for name in labels if name in of):
                ax.barh(names.index(name), np.mean(of[name]), color=colour)
                ax.plot(of[name], [names.index(name)] * len(of[name]), "k.", markersize=4)
        ax.set(title=title, xlabel=xlabel, yticks=range(len(names)), yticklabels=names)
    axes[0].invert_yaxis()
    shown = {group: colour for group, (colour, labels) in groups.items() if set(labels) & set(names)}
    patches = [Patch(color=colour, label=group) for group, colour in shown.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    return figure


def value_map(values: Tensor, ax: Axes, title: str = "", limit: float | None = None) -> Axes:
    """A map (H, W) of numbers with its colour bar, red below 0, blue above; `limit` ends the colours."""
    shown = values.detach().cpu().numpy()
    reach = limit or np.abs(shown).max() + 1e-9
    picture(ax, shown, title, cmap="RdBu", vmin=-reach, vmax=reach)
    bar = ax.figure.colorbar(ax.images[0], ax=ax, shrink=0.75)
    bar.ax.tick_params(labelsize=6)
    return ax


def value_maps(maps: dict[str, Tensor], columns: int = 4, limit: float | None = None, inch: float = 1.9) -> Figure:
    """Maps (H, W) of numbers beside each other under their titles; without `limit` each has its own colours."""
    figure, axes = new_figure(-(-len(maps) // columns), columns, (1.25 * inch, inch))
    for ax, (title, values) in zip(axes.flat, maps.items(), strict=False):
        value_map(values, ax, title, limit)
    for ax in axes.flat[len(maps) :]:
        ax.remove()
    return figure


def code_map(codes: Tensor, K: int, ax: Axes, title: str = "", known: int | None = None) -> Axes:
    """A code map (H, W) in the colours of `code_maps`; grey from place `known` on, in raster order."""
    colour = np.random.default_rng(0).permutation(K)
    shown = colour[codes.cpu().numpy()].astype(float)
    if known is not None:
        shown.reshape(-1)[known:] = np.nan
    ax.set_facecolor("#dddddd")
    return picture(ax, shown, title, cmap="turbo", vmin=0, vmax=K - 1)


def chain(
    rows: Sequence[tuple[str, Sequence[tuple[str, Callable[[Axes], object]]]]], back: str = "", inch: float = 1.5
) -> Figure:
    """Stages as pictures with arrows between: rows of (label, stages), a stage being (what leads to it, draw(ax)).

    `back` labels an arrow from the last stage of the last row to its first.
    """
    columns, gap, pitch, foot = max(len(stages) for _, stages in rows), 0.62, 1.55, 0.4 if back else 0.1
    width, height = columns * (1 + gap) + 0.1, len(rows) * pitch + foot  # in stages
    figure = Figure(figsize=(width * inch, height * inch))

    def arrow(start: tuple[float, float], tip: tuple[float, float], **style) -> None:
        (x0, y0), (x1, y1) = start, tip
        ends = {"posA": (x0 / width, y0 / height), "posB": (x1 / width, y1 / height)}
        style |= {"arrowstyle": "-|>", "mutation_scale": 12, "color": "black"}
        figure.add_artist(FancyArrowPatch(**ends, transform=figure.transFigure, **style))

    for i, (label, stages) in enumerate(rows):
        y = foot + (len(rows) - 1 - i) * pitch
        figure.text(0.1 / width, (y + 1.3) / height, label, fontsize=10, weight="bold")
        for j, (link, draw) in enumerate(stages):
            x = j * (1 + gap) + gap
            draw(figure.add_axes((x / width, y / height, 1 / width, 1 / height)))
            if link:
                arrow((x - gap + 0.06, y + 0.5), (x - 0.06, y + 0.5))
                figure.text((x - gap / 2) / width, (y + 0.56) / height, link, ha="center", fontsize=7.5)
    if back:
        first, low = gap + 0.5, foot - 0.03
        arrow((x + 0.5, low), (first, low), connectionstyle="arc,angleA=-90,angleB=-90,armA=14,armB=14,rad=4")
        figure.text((x + 0.5 + first) / 2 / width, (low - 0.2) / height, back, ha="center", va="top", fontsize=9)
    return figure


def points_on_curves(
    points: dict[str, dict[float, Sequence[float]]],
    lines: dict[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    level: float | None = None,
) -> Figure:
    """For each label its measured values at each x as markers, and a curve (x, y); `level` is a dotted line."""
    figure, ((ax,),) = new_figure(size=(6.0, 3.6))
    for i, (label, at) in enumerate(points.items()):
        x = [x for x, values in at.items() for _ in values]
        y = [value for values in at.values() for value in values]
        style = {"marker": "os^Dv"[i % 5], "facecolor": "none", "edgecolor": f"C{i}"}  # hollow: all of them are seen
        ax.scatter(x, y, s=30, label=label, zorder=3, **style)
        ax.plot(*lines[label], color=f"C{i}", linewidth=1)
    if level is not None:
        ax.axhline(level, color="black", linewidth=0.8, linestyle=":")
    ticks = {x for at in points.values() for x in at} | {x[0] for x, _ in lines.values()}
    ax.set(xticks=sorted(ticks), xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def points_in_columns(
    points: dict[str, dict[str, Sequence[float]]], ylabel: str, lines: dict[str, float] | None = None
) -> Figure:
    """A column for each key, in it for each label a marker for each value, side by side in their order.

    `lines` are named dotted lines at some heights.
    """
    columns = list(next(iter(points.values())))
    figure, ((ax,),) = new_figure(size=(7.0, 4.0))
    for name, height in (lines or {}).items():
        ax.axhline(height, color="black", linewidth=0.8, linestyle=":")
        at = {"xy": (0, height), "xycoords": ("axes fraction", "data"), "xytext": (4, 3), "textcoords": "offset points"}
        ax.annotate(name, fontsize=8, **at)
    for i, (label, of) in enumerate(points.items()):
        x, y = [], []
        for j, column in enumerate(columns):
            centre = j + 0.22 * (i - (len(points) - 1) / 2)
            x += [centre + 0.05 * (k - (len(of[column]) - 1) / 2) for k in range(len(of[column]))]
            y += of[column]
        ax.scatter(x, y, s=24, alpha=0.7, marker="os^Dv"[i % 5], label=label)
    ax.margins(y=0.1)  # room for a name above the highest line
    ax.set(xticks=range(len(columns)), xticklabels=columns, ylabel=ylabel)
    ax.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure
