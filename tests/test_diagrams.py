"""The course's diagrams: legible, and true to the layers and samplers that they explain."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from ralkit import cache as cached
from ralkit.course import diagrams
from ralkit.course.diagrams import BLUE, DARK, GREY, PALE_H, PALE_V, PINK, RED, H, V
from ralkit.course.plots import to_pixels
from ralkit.prior import GatedLayer, PixelCNN, gate
from ralkit.sampling import sample_naive

REAL, FAKE = torch.linspace(-1, 1, 3 * 8 * 8).view(3, 8, 8), torch.linspace(1, -1, 3 * 8 * 8).view(3, 8, 8)
SCORES = torch.tensor([[0.3, -0.8, 0.2], [0.1, 0.6, -0.4]])
FIGURES = {
    "two streams": diagrams.two_streams,
    "two streams, 6": lambda: diagrams.two_streams(6),
    "one iteration": lambda: diagrams.one_iteration(REAL, FAKE, SCORES),
    "cache": diagrams.cache,
    "two streams, 8": lambda: diagrams.two_streams(8),
    "cache, 8": lambda: diagrams.cache(8, reach=2),
}


def drawn(figure):
    """The figure, laid out; and its texts, each with the box around it in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [
        t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and t.axes.axison | (t in t.axes.texts)
    ]
    return figure, [(t, t.get_window_extent(renderer)) for t in texts]


def boards(figure):
    """The pictures of the figure by their titles, from left to right where titles are equal."""
    found = {}
    for inset in figure.axes[0].child_axes:
        found.setdefault(inset.get_label(), []).append(inset)
    return found


def cells(board, *colours):
    """The cells of the board that have one of the colours, as a set of (i, j)."""
    shown = board.images[0].get_array()
    names = {colour.lower() for colour in colours}
    return {(i, j) for i, row in enumerate(shown) for j, cell in enumerate(row) if to_hex(cell) in names}


def where(gradient):
    """The places (i, j) of a gradient (1, C, H, W) that is not exactly zero."""
    return {tuple(at) for at in gradient[0].abs().sum(0).nonzero().tolist()}


@pytest.mark.parametrize("name", FIGURES)
def test_every_word_can_be_read_at_900_pixels(name):
    figure, texts = drawn(FIGURES[name]())
    assert figure.get_size_inches()[0] * figure.dpi <= 900
    assert len(texts) > 10
    for text, box in texts:
        assert text.get_fontsize() >= 8, text
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for (a, box_a), (b, box_b) in itertools.combinations(texts, 2):
        assert not box_a.overlaps(box_b), (a, b)


@pytest.mark.parametrize("name", FIGURES)
def test_words_stay_in_their_boxes_and_no_arrow_or_picture_lies_on_them(name):
    figure, texts = drawn(FIGURES[name]())
    ax = figure.axes[0]
    boxes = [p.get_window_extent() for p in ax.patches if isinstance(p, FancyBboxPatch)]
    paths = [line.get_transform().transform_path(line.get_path()) for line in ax.lines if len(line.get_xdata()) > 1]
    pictures = [inset.get_window_extent() for inset in ax.child_axes]
    assert paths
    for text, extent in texts:
        middle = extent.x0 + extent.width / 2, extent.y0 + extent.height / 2
        for box in boxes:
            assert not extent.overlaps(box) or (box.contains(*middle) and box.containsx(extent.x0)), text
            assert not extent.overlaps(box) or (box.containsx(extent.x1) and box.containsy(extent.y0)), text
        assert not any(path.intersects_bbox(extent, filled=False) for path in paths), text
        assert text.axes is not ax or not any(extent.overlaps(picture) for picture in pictures), text


def edges(ax):
    """The arrows between boxes and pictures: (from, to, whether dashed), each named by the first words in it."""
    places = {inset.get_label(): inset.bbox.transformed(ax.transData.inverted()) for inset in ax.child_axes}
    for patch in ax.patches:
        if isinstance(patch, FancyBboxPatch):
            box = patch.get_path().get_extents()
            (words,) = (t.get_text() for t in ax.texts if box.contains(*t.get_position()))
            places[words.replace("\\ ", " ").replace("$", "")] = box

    def nearest(x, y):
        return [name for name, b in places.items() if b.padded(0.1).contains(x, y)]

    return {
        (*start, *end, line.is_dashed())
        for line in ax.lines
        if (start := nearest(*line.get_xydata()[0])) and (end := nearest(*line.get_xydata()[-1]))
    }


def test_one_iteration_draws_the_images_and_the_scores_that_it_is_given():
    figure, _ = drawn(diagrams.one_iteration(REAL, FAKE, SCORES))
    shown = {title: inset.images[0] for title, (inset,) in boards(figure).items()}
    for title, image in {"real image": REAL, "fake image": FAKE}.items():
        assert (shown[title].get_array() == to_pixels(image[None])[0]).all()
    scores = shown["④ score map of the fake"]
    assert torch.equal(torch.as_tensor(scores.get_array().data), SCORES)
    assert scores.get_clim() == pytest.approx((-0.8, 0.8))  # white is 0


def test_gradients_of_one_iteration_end_at_the_prior_and_at_the_critic():
    figure, _ = drawn(diagrams.one_iteration(REAL, FAKE, SCORES))
    short = {"codes of": "codes", "prior": "G", "decoder": "U", "critic": "D", "loss": "loss", "④": "S"}
    short |= {"rewards": "r", "returns": "Q", "advantages": "A", "real image": "real", "fake image": "fake"}

    def name(words):
        return next(s for key, s in short.items() if key in words.split("\n")[0])

    found = {(name(a), name(b), dashed) for a, b, dashed in edges(figure.axes[0])}
    values = ["codes U", "G U", "U real", "U fake", "real D", "fake D", "D loss", "D S", "S r", "r Q", "Q A"]
    assert found == {(*pair.split(), False) for pair in values} | {("A", "G", True), ("loss", "D", True)}


def fields(columns, layers):
    """Which codes the output at the centre sees through v and which through h alone, by gradient."""
    prior = PixelCNN(7, 8, layers, k=3).eval()
    e = prior.embedding(torch.randint(7, (1, columns, columns))).movedim(-1, 1).detach()
    v, h = e.clone().requires_grad_(), e.clone().requires_grad_()
    x, y = F.pad(v, (0, 0, 1, -1)), F.pad(h, (1, -1))
    for layer in prior.layers:
        x, y = layer(x, y)
    y[0, :, columns // 2, columns // 2].sum().backward()
    return where(v.grad), where(h.grad)


@pytest.mark.parametrize("columns", [5, 6, 7])
def test_two_streams_shades_what_real_layers_see(columns):
    figure, _ = drawn(diagrams.two_streams(columns))
    shown, centre = boards(figure), (columns // 2, columns // 2)
    t = centre[0] * columns + centre[1]
    before = {divmod(s, columns) for s in range(t)}
    after = [board for title, (board,) in shown.items() if title.startswith("after")]
    for board, layers in zip(after, (1, columns // 2), strict=True):
        through_v, through_h = fields(columns, layers)
        assert (cells(board, V), cells(board, H)) == (through_v, through_h)
        assert cells(board, RED) == {centre}
    assert through_v | through_h == before
    # The windows of the first layer, laid on the shifted maps: the codes that they hold are those that it sees.
    for title, colour, seen in zip(("v: one row down", "h: one column right"), (V, H), fields(columns, 1), strict=True):
        (board,) = shown[title]
        words = {(round(t.get_position()[1]), round(t.get_position()[0])): int(t.get_text()) for t in board.texts}
        assert {divmod(words[at], columns) for at in cells(board, colour) & words.keys()} == seen


@pytest.mark.parametrize("columns", [5, 6, 7])
def test_two_streams_shows_the_blind_spot_of_masks(columns):
    figure, _ = drawn(diagrams.two_streams(columns))
    (board,) = next(found for title, found in boards(figure).items() if "masks" in title)
    i = j = columns // 2
    fields = []
    for layers in (columns // 2, 3 * columns):
        x = start = torch.ones(1, 1, columns, columns, requires_grad=True)
        for k in range(layers):
            kernel = torch.rand(1, 1, 3, 3) + 0.1
            kernel[..., 1, 1 + (k > 0) :] = kernel[..., 2, :] = 0
            x = F.conv2d(x, kernel, padding=1)
        x[0, 0, i, j].backward()
        fields.append(where(start.grad))
    before = {divmod(s, columns) for s in range(i * columns + j)}
    assert cells(board, DARK) == fields[0]
    assert cells(board, PINK) == before - fields[0] == before - fields[1]
    assert cells(board, PINK)
    assert cells(board, GREY) == {(a, b) for a in range(columns) for b in range(columns)} - before - {(i, j)}


def test_two_streams_names_the_kernels_of_a_layer_and_links_before_the_gate():
    layer = GatedLayer(8, k=3, dropout=0.0)
    figure, _ = drawn(diagrams.two_streams())
    ax = figure.axes[0]
    words = [(t.get_position(), t.get_text()) for t in ax.texts]
    for conv in ("vertical", "horizontal"):
        assert sum(text == "conv\n{} x {}".format(*getattr(layer, conv).kernel_size) for _, text in words) == 1
    (top,) = (at for at, text in words if text == "conv\n2 x 3")
    gates = sorted((at for at, text in words if text == "gate"), key=lambda at: -at[1])
    (link,) = (at for at, text in words if text == "link\n1 x 1")
    start = next(
        line.get_xydata()[0] for line in ax.lines if abs(line.get_xydata()[-1] - [link[0], link[1] + 0.27]).max() < 0.1
    )
    assert start[1] == top[1] and top[0] < start[0] < gates[0][0]
    v, seen = layer.down(torch.randn(1, 8, 4, 4), lambda x: layer.vertical(F.pad(x, (1, 1, 1, 0))))
    assert torch.equal(v, gate(seen))


@pytest.mark.parametrize(("columns", "reach"), [(5, 1), (5, 2), (6, 1)])
def test_cache_counts_the_positions_that_the_samplers_compute(columns, reach, monkeypatch):
    prior, counts = PixelCNN(7, 8, 1, k=2 * reach + 1).eval(), {}

    def add(key, positions):
        counts[key] = counts.get(key, 0) + positions

    for stream in ("vertical", "horizontal"):
        hook = lambda _, __, y, stream=stream: add(f"plain {stream}", y[0, 0].numel())  # noqa: E731
        getattr(prior.layers[0], stream).register_forward_hook(hook)
    row, step = cached.VerticalCache.__call__, cached.GatedCache.step
    monkeypatch.setattr(cached.VerticalCache, "__call__", lambda s, x: add("cached vertical", len(x)) or row(s, x))
    monkeypatch.setattr(cached.GatedCache, "step", lambda s, h, j: add("cached horizontal", len(h)) or step(s, h, j))
    sample_naive(prior, 1, (columns, columns))
    prior.sample(1, (columns, columns))

    figure, texts = drawn(diagrams.cache(columns, reach))
    found = [
        (t.get_position()[0], re.findall(r"\d+", t.get_text())) for t, _ in texts if t.get_text().endswith("a map")
    ]
    each, whole = zip(*((int(a), int(b)) for _, (a, b) in sorted(found)), strict=True)
    assert whole == tuple(counts[f"{how} {s}"] for how in ("plain", "cached") for s in ("vertical", "horizontal"))
    assert [n * times for n, times in zip(each, (columns**2, columns**2, columns, columns**2), strict=True)] == [*whole]
    shaded = [len(cells(b, V, H)) for stream in ("vertical", "horizontal") for b in boards(figure)[f"{stream} stream"]]
    assert shaded == [each[0], each[2], each[1], each[3]]


@pytest.mark.parametrize(("columns", "reach"), [(5, 1), (5, 2), (4, 3)])
def test_cache_shades_what_a_layer_reads(columns, reach):
    figure, _ = drawn(diagrams.cache(columns, reach))
    layer = GatedLayer(8, 2 * reach + 1, dropout=0.0)
    v, h = (torch.randn(1, 8, columns, columns, requires_grad=True) for _ in range(2))
    i = j = columns - 2
    layer(v, v.detach())[0][0, :, i].sum().backward()
    layer(v.detach(), h)[1][0, :, i, j].sum().backward()
    (_, row), (_, code) = (boards(figure)[f"{stream} stream"] for stream in ("vertical", "horizontal"))
    assert cells(row, V) == {(i, x) for x in range(columns)} and cells(row, V, PALE_V) == where(v.grad)
    assert cells(code, H) == {(i, j)} and cells(code, H, PALE_H) == where(h.grad)


def test_the_streams_have_the_same_colours_in_both_diagrams():
    assert len({c.lower() for c in (V, H, PALE_V, PALE_H, GREY, DARK, PINK, RED)}) == 8 and V == BLUE
