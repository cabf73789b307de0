"""Explorers for notebooks: controls above a picture, which is drawn again when one of them moves."""

import inspect
import io
from collections.abc import Callable

import ipywidgets
from matplotlib.figure import Figure


def png(figure: Figure, dpi: int = 100) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


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
