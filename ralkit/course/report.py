"""REPORT.md and the README's generated parts: what a run left in its folder, beside the paper's numbers."""

import re
from pathlib import Path

from .. import store
from ..errors import RalkitError
from . import paper
from .answer import TERMS, answer, in_short
from .claims import CONTROL, EFFECT, HOLM, PRICE, claims_of, judged
from .hero import HERO, draw_hero
from .presets import COMMITTED
from .record import WHOLE, in_all, markdown_table, read_minutes, timed_notebooks
from .reproduce import is_course
from .saved import Saved, damaged, forget, missing, origin_line, saved, unknown

__all__ = ["claims", "damaged", "forget", "index", "missing", "readme_parts", "saved", "update_readme", "write_report"]


def claims(folder: Path) -> list[dict[str, str]]:
    """The claims that the notebooks checked, in the order of the notebooks."""
    return claims_of(saved(folder))


def index(folder: Path, link: str = "") -> list[dict[str, str]]:
    """A row for each table and figure of the paper: what it shows, ours, the notebook, the function.

    Links to ours begin with `link`.
    """
    gone = missing(folder)
    return [
        {
            "the paper's": item.name,
            "shows": item.shows,
            "ours": f"missing: run notebook {item.notebook[:2]}" if item in gone else _link(folder, item.file, link),
            "notebook": item.notebook,
            "function": f"`ralkit.{item.function}`",
        }
        for item in paper.ITEMS
    ]


def _link(folder: Path, name: str, link: str) -> str:
    file = f"{name}.png" if (folder / f"{name}.png").exists() else f"{name}.md"
    return f"[{name}]({link}{file})"


def _hero(folder: Path, items: Saved) -> list[str]:
    """The one picture of the report: the trade-off plane, or what the paper shows of the oracle experiment."""
    if draw_hero(folder, items):
        data = " and ".join(_link(folder, name, "") for name in ("08-1-planes", "08-2-rejection") if name in items)
        note = (
            "Both divergences are from the oracle, which is the truth. The black curve is one MLE model at several "
            f"temperatures. A method beats it where it lies below and left of it. More of it is in {data}."
        )
        return [f"![Every method between quality and diversity]({HERO})", "", note, ""]
    if "figure-4" in items:
        return [f"![{items['figure-4']['title']}](figure-4.png)", ""]
    return []


def _claims_part(folder: Path, items: Saved) -> list[str]:
    rows = judged(items)
    if not rows:
        return []
    note = (
        f"Our changes are against *{CONTROL}*. A claim holds if its change is beyond chance over the seeds (95 %, "
        f"Student's t). The *{EFFECT}* is the least mean change that these seeds can tell from 0. *{HOLM}* is "
        "corrected for all claims of this table, because some of many are decided by chance. It is empty where no "
        "seeds were compared. The last column asks whether RAL also beats MLE at other temperatures, and MLE when a "
        f"critic keeps one of {PRICE} samples. It says nothing of what was not measured or is told elsewhere."
    )
    if any(row[HOLM].startswith("≈") for row in rows):
        note += " A ≈ stands where only a rounded mean ± deviation was recorded."
    against = "09-2-against"
    note += f" More such comparisons are in {_link(folder, against, '')}." if against in items else ""
    return ["## What the paper says, and what came out here", "", note, "", markdown_table(rows), ""]


def _paper_tables(folder: Path, items: Saved) -> list[str]:
    """The paper's tables of results, a paragraph each: the first two with ours and the paper's, the others linked."""
    shown = [name for name in paper.PARAGRAPHS if name in items and items[name]["kind"] == "table"]
    lines = ["## The paper's tables", ""] if shown else []
    for name in shown:
        about = items[name]
        more = f"The numbers and conclusions are on the page {_link(folder, name, '')}, with the paper's."
        if name not in ("table-1", "table-2"):
            lines += [f"**{about['title']}.** {paper.PARAGRAPHS[name]} {more}", ""]
            continue
        lines += [f"### {about['title']}", "", paper.PARAGRAPHS[name], "", markdown_table(about["rows"]), ""]
        if about.get("paper"):
            lines += ["The paper's:", "", markdown_table(about["paper"]), ""]
        if about["note"]:
            short = about["note"].count("\n") < 3
            lines += [about["note"] if short else f"All comparisons are on its page {_link(folder, name, '')}.", ""]
    return lines


def _limits(items: Saved) -> list[str]:
    origin = max((about["origin"] for about in items.values()), key=lambda o: o["seconds"])
    return [
        "## Limits",
        "",
        "* In each world all seeds share one VQ-VAE, one oracle, one set of test images. Another one may differ. (The "
        "worlds of notebook 08's test bed differ in their generators and data, and have the same oracle.)",
        *_worlds(items),
        f"* The data set is {origin['dataset']['name']}, and networks and training are those of the preset "
        f"`{origin['preset']}`. The paper has larger networks, other images and another feature network. The "
        "direction of a change compares, its size does not.",
        "* The paper's percentages are against its MLE, ours against the control, which trained on for about as "
        "long as RAL.",
        "* *Not decided* is no polite *yes*. With few seeds, only large changes can be told from chance.",
        "* Nats beside colder MLE and rejection were measured where the truth is known. On images, both are compared "
        "with RAL by distances.",
        "",
    ]


def _worlds(items: Saved) -> list[str]:
    """Which notebooks' numbers are of pretrained worlds, and which are of worlds that nobody has any more."""
    notebooks = {item.file: item.notebook[:2] for item in paper.ITEMS}
    several: dict[str, set[str]] = {}
    for name, about in items.items():
        if (number := notebooks.get(name, name[:2])).isdigit():
            several.setdefault(str(about["origin"].get("weights")), set()).add(number)
    kept = {weights: numbers for weights, numbers in several.items() if weights.startswith("pretrained")}
    lost = sorted(set().union(*several.values()) - set().union(*kept.values()))
    named = lambda numbers: f"Notebook{'s' * (len(numbers) > 1)} {', '.join(sorted(numbers))}"  # noqa: E731
    worlds = sorted(kept.items(), key=lambda item: sorted(item[1]))
    lines = [f"* {named(numbers)} measured a world that is {weights}." for weights, numbers in worlds]
    if kept and lost:
        lines.append(f"* {named(lost)} measured worlds that were trained for an earlier run, and are not kept.")
    return lines


def _everything(folder: Path, items: Saved) -> list[str]:
    """A line for each figure and table that is not an item of the paper, under its notebook's number."""
    others = [name for name in items if name not in {item.file for item in paper.ITEMS}]
    lines = (
        ["## All other figures and tables", "", "The .json of each has its data, notes and origin.", ""]
        if others
        else []
    )
    for name in others:
        lines.append(f"* {_link(folder, name, '')}: {items[name]['title']} ([json]({name}.json))")
    return [*lines, ""]


def write_report(folder: Path, minutes: dict[str, float]) -> Path:
    """Write REPORT.md of the figures and tables in `folder`, and its one picture, which is drawn from their data.

    `minutes` are those of the training and of each notebook, when everything was made from nothing.
    """
    items = saved(folder)
    lines = ["# Report", "", "Generated from the files in this folder by `python -m ralkit reproduce`."]
    if items:
        lines.append(origin_line(max((about["origin"] for about in items.values()), key=lambda o: o["seconds"])))
    if minutes:
        shares = ", ".join(f"{name} {m:.1f}" for name, m in sorted(minutes.items()) if name != WHOLE)
        beside = " (notebooks ran side by side)" * (WHOLE in minutes)
        lines.append(f"From nothing, everything took {in_all(minutes):.0f} minutes: {shares}{beside}.")
    if lost := unknown(folder):
        lines.append(
            f"The file origin.json is damaged, missing or of another run: where {len(lost)} of the figures and "
            "tables come from is not known until their notebooks run again."
        )
    lines.append("")
    if sentences := answer(items):
        lines += ["## Does RAL help?", "", TERMS, "", *(line for text in sentences for line in (text, ""))]
    lines += (
        _hero(folder, items)
        + _claims_part(folder, items)
        + _paper_tables(folder, items)
        + (_limits(items) if items else [])
    )
    lines += ["## The paper's tables and figures, and ours", "", markdown_table(index(folder)), ""]
    lines += _everything(folder, items)
    store.write_bytes(folder / "REPORT.md", f"{chr(10).join(lines).rstrip()}\n".encode())
    return folder / "REPORT.md"


def readme_parts(figures: Path) -> dict[str, str]:
    """The README's generated parts by name, from the runs in the folder `figures`, which lies beside the README."""
    folder = figures / COMMITTED
    report = f"[{COMMITTED}/REPORT.md](figures/{COMMITTED}/REPORT.md)"
    return {
        "results": "\n".join(f"* {line}" for line in in_short(saved(folder))) or f"What came out is in {report}.",
        "time": _times(figures) or "No run has been timed yet.",
    }


def _times(figures: Path) -> str:
    """How long notebooks take with pretrained worlds, and how long quick takes from nothing, where that was timed."""
    kinds = {
        (COMMITTED, "pretrained minutes"): "With the pretrained weights, {names} take {total:.1f} minutes{on}.",
        ("quick", "minutes"): "`make reproduce` trains everything, shorter, in {total:.0f} minutes{on}.",
    }
    lines, devices = [], set()
    for (preset, kind), says in kinds.items():
        took = read_minutes(figures / preset / "minutes.json")
        if minutes := took[kind]:
            numbers = [name.partition("_")[0] for name in timed_notebooks(minutes)]
            names = "all notebooks" if is_course(minutes) else f"the notebooks {', '.join(numbers)}"
            on = "" if took["device"] in devices else f" on {took['device']}"  # a device is named once
            devices.add(took["device"])
            lines.append(says.format(names=names, total=in_all(minutes), on=on))
    return " ".join(lines)


def update_readme(readme: Path, parts: dict[str, str]) -> str:
    """The README's text with each part between its marks `<!-- name -->` and `<!-- /name -->`.

    Raises RalkitError if the README has lost a mark, and returns the text, without writing it.
    """
    text = readme.read_text(encoding="utf-8")
    for name, part in parts.items():
        text, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, part=part: f"{m[1]}\n{part}\n\n{m[2]}",
            text,
            flags=re.S,
        )
        if found != 1:
            raise RalkitError(f"{readme} has no place <!-- {name} --> ... <!-- /{name} --> for what is generated")
    return text
