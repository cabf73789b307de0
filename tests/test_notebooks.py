"""The notebooks: pairs agree, no outputs, parameters and header as agreed, short cells, no broken names."""

from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/py").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook):
    return [(c.cell_type, c.source.strip(), c.metadata.get("tags", [])) for c in notebook.cells]


def test_every_notebook_has_its_pair():
    assert SOURCES
    assert [p.stem for p in SOURCES] == [p.stem for p in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_pairs_agree_and_nothing_is_executed(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert cells(notebook) == cells(jupytext.read(path.parent / "py" / f"{path.stem}.py"))
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(c.outputs == [] and c.execution_count is None for c in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_shape_of_a_lesson(path):
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [c for c in notebook.cells if c.cell_type == "code"]
    parameters = [c.source for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1
    assert [line.split(" = ")[0] for line in parameters[0].splitlines()] == ["preset", "dataset", "seed"]
    assert not [c.source for c in code if len(c.source.splitlines()) > 30]
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
