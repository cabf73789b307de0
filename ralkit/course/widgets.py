"""Explorers for notebooks: controls above a picture, drawn again when one moves; curves while a stage trains."""

import inspect
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets
import torch
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor

from ..training import History
from . import plots
from .trainer import Trainer


def png(figure: Figure, dpi: int = 100) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


class Mask(ipywidgets.GridBox, ipywidgets.ValueWidget):
    """A control of H x W buttons, one for each place of a map; `value` is where they are up, a bool map (H, W)."""

    def __init__(self, start: Tensor):
        (H, W), side = start.shape, "24px"
        layout = ipywidgets.Layout(width=side, height=side, margin="0")
        buttons = [ipywidgets.ToggleButton(not up, layout=layout) for up in start.flatten().tolist()]
        grid = ipywidgets.Layout(grid_template_columns=f"repeat({W}, {side})")
        super().__init__(buttons, layout=grid, value=start)

        def pressed(_) -> None:
            self.value = torch.tensor([not b.value for b in buttons]).view(H, W)

        for button in buttons:
            button.observe(pressed, "value")


@contextmanager
def live(trainer: Trainer, xlabel: str = "steps") -> Iterator[None]:
    """Inside, each stage that `trainer` trains in this process draws its curves again at every one of its points."""
    pictures: dict[str, ipywidgets.Image] = {}
    told = trainer.on_point

    def draw(name: str, steps: int, history: History) -> None:
        told(name, steps, history)
        keys = [key for key in history if key not in ("step", "seconds")][:6]
        if name not in pictures:
            pictures[name] = ipywidgets.Image(format="png")
            display(pictures[name])
        pictures[name].value = png(plots.curves({name: [history]}, keys, xlabel), dpi=70)

    trainer.on_point = draw
    try:
        yield
    finally:
        trainer.on_point = told


def explore(draw: Callable[..., Figure], **controls) -> ipywidgets.VBox:
    """Controls above the picture that draw(**values) returns.

    A control is a widget, or what `ipywidgets.interact` takes for one: (low, high[, step]), a list of choices, a bool;
    it starts at the default of `draw`'s parameter. The first picture is drawn at once, so an error in `draw` is the
    cell's; a later one is shown below the controls.
    """
    # Not `interact`: it shows its picture through an Output widget, to which nbclient answers on the channel that it is
    # waiting on, and a headless run then hangs now and then for ever (nbclient issue 312).
    start = inspect.signature(draw).parameters
    knobs = {}
    for name, control in controls.items():
        knobs[name] = knob = ipywidgets.interactive.widget_from_abbrev(control, start[name].default)
        if hasattr(knob, "description"):
            knob.description = knob.description or name
            knob.style.description_width = "initial"
        if hasattr(knob, "continuous_update"):
            knob.continuous_update = False  # drawing takes longer than a slider's next step
    picture, trouble = ipywidgets.Image(format="png"), ipywidgets.HTML()

    def show() -> None:
        picture.value = png(draw(**{name: knob.value for name, knob in knobs.items()}))

    def moved(_) -> None:
        try:
            show()
            trouble.value = ""
        except Exception as error:  # a callback's exception would be lost
            trouble.value = f"<pre>{type(error).__name__}: {error}</pre>"

    show()
    for knob in knobs.values():
        knob.observe(moved, "value")
    return ipywidgets.VBox([*knobs.values(), trouble, picture])
