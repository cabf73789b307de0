"""What a run leaves in the committed notebooks: outputs of all cells, small pictures, nothing of its machine."""

import base64
import io

import nbformat
import pytest
from commands import project_in
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ralkit.course import reproduce
from ralkit.course.outputs import WIDTH, keep_outputs
from ralkit.course.webpage import EXPLORER
from ralkit.errors import RalkitError


def png(width, height=20):
    buffer = io.BytesIO()
    Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 90).convert("RGBA").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def pair(tmp_path):
    """A notebook's source, and what papermill made of it, as paths."""
    cells = [new_markdown_cell("# A"), *map(new_code_cell, ["x = 1", "x", "plot(x)"])]
    source = new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    ran = nbformat.from_dict(source)
    ran.cells.insert(2, new_code_cell("x = 2", metadata={"tags": ["injected-parameters"]}, execution_count=2))
    ran.metadata |= {"papermill": {"duration": 1.0}}
    (_, first, _, second, third) = ran.cells
    for cell, count in ((first, 1), (second, 3), (third, 4)):
        cell.execution_count, cell.metadata.papermill = count, {"start_time": "now"}
    second.outputs = [
        new_output("stream", name="stderr", text="a warning"),
        new_output("stream", text=f"see {tmp_path}/runs/a.html in {tmp_path}"),
        new_output("execute_result", {"text/plain": "2"}, execution_count=3),
    ]
    third.outputs = [
        new_output("display_data", {"image/png": png(2 * WIDTH), "text/plain": "<Figure>"}),
        new_output("display_data", {EXPLORER: {"model_id": "1"}, "text/plain": "VBox()"}),
    ]
    paths = tmp_path / "07_a.ipynb", tmp_path / "runs/07_a.ipynb"
    paths[1].parent.mkdir()
    for notebook, path in zip((source, ran), paths, strict=True):
        nbformat.write(notebook, path)
    return paths


def changed(path, change):
    notebook = nbformat.read(path, 4)
    change(notebook.cells)
    nbformat.write(notebook, path)


def test_outputs_are_those_of_the_run_without_its_machine(pair, tmp_path):
    source, ran = pair
    before = nbformat.read(source, 4)
    keep_outputs(ran, source, tmp_path)
    after = nbformat.read(source, 4)
    nbformat.validate(after)
    assert [c.get("execution_count") for c in after.cells] == [None, 1, 2, 3]
    text, result = after.cells[2].outputs
    assert text.text == "see runs/a.html in ." and (result.data["text/plain"], result.execution_count) == ("2", 2)
    (figure,) = after.cells[3].outputs
    image = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"])))
    assert (image.size, image.mode) == ((WIDTH, 10), "P")
    for cell in after.cells[1:]:
        cell.outputs, cell.execution_count = [], None
    assert after == before  # nothing else: sources, ids, metadata


def outputs_of(cells, *outputs):
    cells[-1].outputs = list(outputs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cells: cells[-1].update(execution_count=None), "was not run from its first cell to its last"),
        (lambda cells: cells[-1].update(execution_count=2), "was not run from its first cell to its last"),
        (lambda cells: cells[-1].update(source="plot(y)"), "has been changed since"),
        (lambda cells: cells[-1].update(id="another"), "has been changed since"),
        (lambda cells: cells.pop(), "has been changed since"),
        (lambda cells: cells.reverse(), "has been changed since"),
        (
            lambda cells: outputs_of(cells, new_output("error", ename="ValueError", evalue="", traceback=[])),
            "cell 3 failed",
        ),
    ],
)
def test_a_run_that_is_not_whole_or_of_another_source_leaves_nothing(pair, tmp_path, change, said):
    source, ran = pair
    changed(ran, change)
    before = source.read_bytes()
    with pytest.raises(RalkitError, match=said):
        keep_outputs(ran, source, tmp_path)
    assert source.read_bytes() == before


@pytest.mark.parametrize(("preset", "seed", "kept"), [("deep", 1, True), ("deep", 2, False), ("quick", 1, False)])
def test_only_a_run_at_the_committed_settings_leaves_outputs(tmp_path, preset, seed, kept):
    root = project_in(tmp_path, "print(6 * 7)")
    reproduce.reproduce(
        root=root, run=root / "runs", figures=root / "figures" / preset, parameters={"preset": preset, "seed": seed},
        title="", device="a CPU", only="07",
    )  # fmt: skip
    last = nbformat.read(root / "notebooks/07_only.ipynb", 4).cells[-1]
    assert [o.text for o in last.outputs] == ["42\n"] * kept and last.execution_count == (2 if kept else None)
