"""The exported page shows formulas and figures without a network, and leaves code alone."""

import re

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ralkit.course.webpage import write_html

EXPLORER = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox(children=())"}
MARKDOWN = r"""It costs $5, or $a_{<t} < b$ and

    in = $code$

and
$$\text{KL}(G \| p) = \sum_t \frac{a_t}{b}$$

| a | b |
|---|---|
| $\log G$ | 1 |
"""


def page(tmp_path):
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    outputs = [
        new_output("display_data", {"image/png": png, "text/plain": "<Figure>"}),
        new_output("execute_result", {"text/markdown": "so $x^2$ it is", "text/plain": ""}, execution_count=1),
        new_output("display_data", EXPLORER),
    ]
    cells = [new_markdown_cell(MARKDOWN), new_code_cell("price = '$5 and $6'", outputs=outputs, execution_count=1)]
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    nbformat.write(notebook, tmp_path / "n.ipynb")
    write_html(tmp_path / "n.ipynb", tmp_path / "n.html")
    return (tmp_path / "n.html").read_text()


def test_formulas_are_drawn_by_the_browser_itself(tmp_path):
    html = page(tmp_path)
    assert html.count("<math") == 4
    assert html.count('display="block"') == 1
    assert "<mfrac>" in html
    assert "It costs $5, or" in html


def test_code_stays_as_it_was(tmp_path):
    html = page(tmp_path)
    assert "in = $code$" in re.sub("<[^>]+>", "", html)
    assert "$5 and $6" in re.sub("<[^>]+>", "", html)


def test_nothing_comes_from_elsewhere(tmp_path):
    html = page(tmp_path)
    assert "data:image/png;base64," in html
    assert not re.findall(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?:https?:)?//', html)
    assert "VBox" not in html
