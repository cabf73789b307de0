"""REPORT.md: every figure and table of one run, each with its origin, the paper's tables beside ours."""

import json
from pathlib import Path

from . import store
from .experiment import markdown_table


def write_report(folder: Path, minutes: dict[str, float]) -> Path:
    """Collect the figures and tables of `folder` into its REPORT.md; `minutes` of each notebook's last run."""
    paper_first = lambda path: (not path.stem.startswith(("table", "figure")), path.stem)  # noqa: E731
    items = [
        (path.stem, json.loads(path.read_text()))
        for path in sorted(folder.glob("*.json"), key=paper_first)
        if path.stem != "minutes"
    ]
    lines = ["# Report", "", "Generated from the files in this folder by `python -m ralkit reproduce`.", ""]
    if items:
        origin = max((about["origin"] for _, about in items), key=lambda o: o["seconds"])
        data, versions = origin["dataset"], origin["versions"]
        lines += [
            f"Preset `{origin['preset']}`, data set {data['name']} ({data['train']} training and {data['test']} test "
            f"images of {data['size']}x{data['size']} pixels), seeds {', '.join(map(str, origin['seeds']))}. "
            f"Device: {origin['device']}; " + ", ".join(f"{name} {v}" for name, v in versions.items()) + ".",
            "",
        ]
    if minutes:
        lines += [markdown_table([{"notebook": name, "minutes": round(m, 1)} for name, m in minutes.items()]), ""]
    for name, about in items:
        lines += [f"## {about['title']}", ""]
        if about["kind"] == "figure":
            lines += [f"![{about['title']}]({name}.png)", ""]
        else:
            lines += [(folder / f"{name}.md").read_text()]
            if about["paper"]:
                lines += ["The paper's:", "", markdown_table(about["paper"]), ""]
        if about["note"]:
            lines += [about["note"], ""]
        lines += [f"<sub>{name}, commit {about['origin']['commit']}; configuration and seeds: {name}.json</sub>", ""]
    store.write_bytes(folder / "REPORT.md", "\n".join(lines).encode())
    return folder / "REPORT.md"
