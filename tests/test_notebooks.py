"""The notebooks: pairs agree, outputs are of one whole run, parameters and header as agreed, short cells."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ralkit.course.reproduce import ABLATIONS
from ralkit.course.webpage import EXPLORER

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/py").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook):
    return [(c.cell_type, c.source.strip(), c.metadata.get("tags", [])) for c in notebook.cells]


def test_every_notebook_has_its_pair():
    assert SOURCES
    assert [p.stem for p in SOURCES] == [p.stem for p in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_pairs_agree(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert cells(notebook) == cells(jupytext.read(path.parent / "py" / f"{path.stem}.py"))
    assert "widgets" not in notebook.metadata and "papermill" not in notebook.metadata


# A machine's path: of a home directory, of a temporary folder, of this checkout.
PATH = re.compile(rf"(?<![\w.])/(?:home|root|Users|tmp|var)/|{re.escape(str(ROOT))}")


def faults(notebook):
    """What a reader of the committed notebook should not meet: cells that were not run, errors, warnings, paths."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if [c.execution_count for c in code] != list(range(1, len(code) + 1)):
        yield "cells were not run in their order"
    for output in (output for cell in code for output in cell.outputs):
        data = output.get("data", {})
        if output.output_type == "error" or output.get("name") == "stderr":
            yield "an error or a warning"
        if EXPLORER in data:
            yield "an explorer that nothing moves"
        texts = [output.get("text", ""), *(v for kind, v in data.items() if isinstance(v, str) and "image" not in kind)]
        yield from (f"a path: {text}" for text in texts if PATH.search(text))


@pytest.mark.parametrize(
    ("counts", "output"),
    [
        ([1, None], None),
        ([2, 1], None),
        ([1, 3], None),
        ([1, 2], new_output("error", ename="ValueError", evalue="", traceback=[])),
        ([1, 2], new_output("stream", name="stderr", text="a warning")),
        ([1, 2], new_output("stream", text="in /home/ann/x")),
        ([1, 2], new_output("display_data", {"text/plain": str(ROOT)})),
        ([1, 2], new_output("display_data", {EXPLORER: {"model_id": "1"}})),
    ],
)
def test_faults_of_outputs_are_found(counts, output):
    notebook = new_notebook(cells=[new_code_cell("1", execution_count=n) for n in counts])
    notebook.cells[1].outputs = [output] if output else [new_output("stream", text="3/4 runs/quick, 1/root/2")]
    assert bool(list(faults(notebook))) == (counts != [1, 2] or output is not None)


def test_the_committed_outputs_are_of_one_whole_run():
    notebooks = {path.name: nbformat.read(path, 4) for path in NOTEBOOKS}
    shown = {name for name, n in notebooks.items() if any(c.get("execution_count") for c in n.cells)}
    if not shown:
        pytest.skip("no notebook has outputs yet: python -m ralkit reproduce writes them")
    assert shown >= {name for name in notebooks if name[:2] != ABLATIONS}
    assert {name: found for name in shown if (found := list(faults(notebooks[name])))} == {}
    assert sum(path.stat().st_size for path in NOTEBOOKS) <= 12_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_shape_of_a_lesson(path):
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [c for c in notebook.cells if c.cell_type == "code"]
    parameters = [c.source for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1
    assert [line.split(" = ")[0] for line in parameters[0].splitlines()] == ["preset", "dataset", "seed", "pretrained"]
    assert not [c.source for c in code if len([line for line in c.source.splitlines() if line.strip()]) > 20]
    assert "%matplotlib inline" in code[1].source.splitlines()  # without it a figure is shown as words
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown").lower()
    for part in ("readings and deviations", "exercise", "take away", "references"):
        assert part in text or path.stem.startswith("00"), part


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_output_widget_that_a_headless_run_may_hang_on(path):
    code = "".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    assert "interact(" not in code and "Output(" not in code  # see ralkit.course.widgets.explore


def test_the_dependencies_that_make_reads_are_those_that_conda_reads():
    text = (ROOT / "environment.yml").read_text()
    (pip,) = (d["pip"] for d in yaml.safe_load(text)["dependencies"] if isinstance(d, dict))
    after = text[text.index("  - pip:") :].splitlines()[1:]
    assert [line.removeprefix("      - ") for line in after] == pip  # what the Makefile's sed prints
    assert pip[-1] == "-e ."
