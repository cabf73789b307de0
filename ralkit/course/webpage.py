"""An executed notebook as one HTML file that needs no network: figures inside, formulas as MathML."""

import html
import re
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter

from .. import store

EXPLORER = "application/vnd.jupyter.widget-view+json"
# What is not prose: code, and what the page's own style and scripts are.
APART = re.compile(r"(<(pre|code|script|style)\b.*?</\2>)", re.S)
MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?!\w)", re.S)
FROM_ELSEWHERE = re.compile(r"<script\b[^>]*\bsrc=\"https?:[^>]*>\s*</script>|<link\b[^>]*\bhref=\"https?:[^>]*>")


def with_mathml(page: str) -> str:
    """The page with its $inline$ and $$displayed$$ formulas as MathML, which browsers draw by themselves."""

    def mathml(found: re.Match) -> str:
        displayed, inline = found.groups()
        return convert(html.unescape(displayed or inline).strip(), display="block" if displayed else "inline")

    parts = APART.split(page)  # prose, an element apart, its name, prose, ...
    parts[::3] = [MATH.sub(mathml, prose) for prose in parts[::3]]
    del parts[2::3]
    return "".join(parts)


def write_html(notebook: Path, target: Path) -> None:
    """Convert the executed `notebook` to a page at `target`; an explorer is left to its static figure above it."""
    content = nbformat.read(notebook, 4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if EXPLORER not in o.get("data", {})]
    content.metadata.pop("widgets", None)
    page, _ = HTMLExporter(template_name="lab", embed_images=True).from_notebook_node(content)
    store.write_bytes(target, with_mathml(FROM_ELSEWHERE.sub("", page)).encode())
