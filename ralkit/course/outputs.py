"""The committed notebooks' outputs: those of a run, at a screen's resolution, without what is only of its machine."""

import base64
import io
import json
from itertools import pairwise
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from ..errors import RalkitError
from .execute import save
from .plots import png_of
from .webpage import EXPLORER

WIDTH = 1200  # pixels of a figure, at most
INJECTED = "injected-parameters"  # papermill's tag of the cell that it adds


def keep_outputs(executed: Path, source: Path, root: Path) -> None:
    """Write the outputs of the notebook `executed` into the notebook `source` that it was made from; change no cell.

    Paths in `root` become relative to it. Raises RalkitError if a cell is not that of `source`, has not been run in its
    turn, or failed.
    """
    ran, notebook = (nbformat.read(path, 4) for path in (executed, source))
    there = [cell for cell in ran.cells if INJECTED not in cell.metadata.get("tags", [])]
    if [(c.id, c.source) for c in there] != [(c.id, c.source) for c in notebook.cells]:
        raise RalkitError(f"{source} has been changed since {executed} was made from it; run it again")
    code = [(cell, run) for cell, run in zip(notebook.cells, there, strict=True) if cell.cell_type == "code"]
    counts = [run.execution_count for _, run in code]
    if None in counts or any(a >= b for a, b in pairwise(counts)):
        raise RalkitError(f"{executed} was not run from its first cell to its last; run it again")
    for number, (cell, run) in enumerate(code, 1):
        if any(output.output_type == "error" for output in run.outputs):
            raise RalkitError(f"{executed}, cell {number} failed; run it again")
        cell.execution_count = number
        cell.outputs = [_kept(output, number, root) for output in run.outputs if _is_kept(output)]
    save(notebook, source)


def _is_kept(output: NotebookNode) -> bool:
    """Whether a reader elsewhere has something of it: not of explorers, nor of what went to stderr."""
    return EXPLORER not in output.get("data", {}) and output.get("name") != "stderr"


def _kept(output: NotebookNode, number: int, root: Path) -> NotebookNode:
    text = json.dumps(output)
    for path, relative in ((f"{root.absolute()}/", ""), (str(root.absolute()), ".")):
        text = text.replace(json.dumps(path)[1:-1], relative)
    output = nbformat.from_dict(json.loads(text))
    if "execution_count" in output:
        output.execution_count = number
    if "image/png" in output.get("data", {}):
        output.data["image/png"] = smaller(output.data["image/png"])
        output.metadata = {}
    return output


def smaller(png: str) -> str:
    """A PNG in base64 with 256 colours and at most `WIDTH` pixels a row."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image.thumbnail((WIDTH, image.height))
    return base64.b64encode(png_of(image)).decode()
