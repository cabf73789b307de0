"""The command line: `python -m ralkit reproduce` runs the notebooks, `python -m ralkit presets` lists the sizes."""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from .course.presets import PRESETS, get_preset
from .errors import RalkitError


def notebooks(root: Path, only: str | None) -> list[Path]:
    """The course's notebooks in order, or those whose number is in `only` ("03" or "01,03")."""
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise RalkitError(f"no notebooks in {root / 'notebooks'}; run the command in the project's folder")
    if only is None:
        return found
    wanted = only.split(",")
    missing = [number for number in wanted if not any(path.name.startswith(f"{number}_") for path in found)]
    if missing:
        there = ", ".join(path.name[:2] for path in found)
        raise RalkitError(f"there is no notebook {', '.join(missing)}; the numbers are {there}")
    return [path for path in found if path.name[:2] in wanted]


def run_notebook(source: Path, target: Path, parameters: dict) -> None:
    """Execute one notebook by papermill; `target`, and its .html, are of the last run that came to its end."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from .course.webpage import write_html

    known = papermill.inspect_notebook(source)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise RalkitError(f"{source.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    try:
        papermill.execute_notebook(
            str(source), str(failed), parameters, kernel_name="python3", language="python",
            cwd=str(source.parent), progress_bar=sys.stderr.isatty(), stdout_file=sys.stdout,
        )  # fmt: skip
    except PapermillExecutionError as error:
        raise RalkitError(
            f"{source.name}, cell {error.exec_count}: {error.ename}: {error.evalue} "
            f"(the notebook as far as it came: {failed})"
        ) from error
    os.replace(failed, target)
    write_html(target, target.with_suffix(".html"))


def reproduce(preset: str, dataset: str, only: str | None, seed: int, force: bool) -> None:
    """Run the notebooks headless and write figures, tables and REPORT.md; finished artefacts are not made again."""
    get_preset(preset)  # before the slow imports, so that a slip is answered at once
    from . import store
    from .course import report
    from .course.experiment import Experiment

    experiment = Experiment(preset, dataset, seed)
    chosen = notebooks(experiment.root, only)
    if dataset != "faces":
        _ = experiment.images  # a data set that cannot be read is reported before anything runs
    run = experiment.artefacts.parent
    if force and experiment.artefacts.exists():
        shutil.rmtree(experiment.artefacts)
    started = time.time()
    from_nothing = not any(experiment.artefacts.glob("*.pt"))
    times = experiment.figures / "minutes.json"
    minutes = json.loads(times.read_text())["minutes"] if times.exists() else {}
    for i, source in enumerate(chosen, 1):
        print(f"[{i}/{len(chosen)}] {source.stem} ({preset}, {Path(dataset).stem}, seed {seed})", flush=True)
        began = time.monotonic()
        run_notebook(source, run / source.name, {"preset": preset, "dataset": experiment.dataset, "seed": seed})
        spent = (time.monotonic() - began) / 60
        # A run that loads what is there says little of what making it takes.
        minutes[source.stem] = spent if from_nothing else max(spent, minutes.get(source.stem, 0.0))
        took = {"device": experiment.device_name, "minutes": minutes}
        store.write_bytes(times, json.dumps(took, indent=1, sort_keys=True).encode())
        print(f"[{i}/{len(chosen)}] {source.stem}: {spent:.1f} minutes", flush=True)
    if only is None:
        report.forget(experiment.figures, started)
    print(f"Executed notebooks: {run}. Report: {report.write_report(experiment.figures, minutes)}")
    readme = experiment.root / "README.md"
    if experiment.figures == experiment.root / "figures" / "quick" and readme.exists():
        text = report.update_readme(readme, report.readme_parts(experiment.figures, "figures/quick/"))
        store.write_bytes(readme, text.encode())
    here = {source.stem for source in chosen}
    gone = [item for item in report.missing(experiment.figures) if item.notebook in here]
    if gone:
        items = ", ".join(f"{item.name} ({item.notebook})" for item in gone)
        raise RalkitError(f"notebooks ran to their end and left out: {items}; that is a defect of theirs")


def train(
    preset: str, dataset: str, seed: int, method: list[str], generator: list[int], levels: int | None, features: str,
    at_once: int | None, recompute: bool, bf16: bool,
) -> None:  # fmt: skip
    """Train generators of the oracle experiment, or with `levels` priors of images; continue or load them.

    Under torchrun all its processes train each of them together.
    """
    get_preset(preset)
    if len(method) != len(generator):
        raise RalkitError(f"{len(method)} times --method and {len(generator)} times --generator; give one for each")
    if at_once is not None and at_once < 1:
        raise RalkitError(f"--at-once is {at_once}; it must be 1 or more images")
    from . import distributed
    from .course.experiment import Experiment
    from .course.images import ImageExperiment

    oracle = levels is None
    with distributed.process_group():
        run = (
            Experiment(preset, dataset, seed)
            if oracle
            else ImageExperiment(preset, dataset, seed, levels=levels, features=features)
        )
        run.at_once, run.recompute, run.bf16 = at_once, recompute, bf16
        for runs in zip(method, generator, strict=True):
            run.generator(*runs)


def presets(check: str | None) -> None:
    """List the presets and what they cost; or build one, run a step of every stage, and estimate its full run."""
    chosen = None if check is None else get_preset(check)  # before the slow imports
    from .course import costs as checking
    from .course.experiment import project_root

    if chosen:
        return checking.check(chosen)
    for preset in PRESETS.values():
        print(f"{preset.name}: {preset.about}")
        times = project_root() / "figures" / preset.name / "minutes.json"
        if times.exists():
            run = json.loads(times.read_text())
            minutes = run["minutes"].values()
            print(f"    measured: {len(minutes)} notebooks in {sum(minutes):.0f} minutes on {run['device']}")
        for name, (_, cfg) in checking.experiments(preset).items():
            sizes = checking.parameters(cfg).items()
            print(f"    {name}, million parameters: " + ", ".join(f"{key} {n / 1e6:.3g}" for key, n in sizes))


FEATURES = (
    'network of the Frechet distance on images: faces, inception (downloaded), or a file of its weights; with ":768" '
    "after it that tap (default: faces)"
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run it; returns the exit status: 0, 2 for bad input, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="ralkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("reproduce", help="run the notebooks headless, write every figure and table")
    run.add_argument("--only", help="numbers of the notebooks to run, such as 03 or 01,02")
    run.add_argument("--force", action="store_true", help="make everything again, also what is already there")
    one = commands.add_parser("train", help="train generators of the oracle experiment, or the priors of images")
    several = {"required": True, "action": "append"}
    methods = '"MLE", "MLE continued", "RAL single", "RAL intermediate", ...; may be given again, with its --generator'
    one.add_argument("--method", help=methods, **several)
    one.add_argument("--generator", type=int, help="the generator's seed, for each --method", **several)
    one.add_argument("--levels", type=int, help="1 or 2: images with so many levels of codes (default: the oracle's)")
    one.add_argument("--features", default="faces", help=FEATURES)
    one.add_argument("--at-once", type=int, help="images whose activations a step keeps at once (default: its batch)")
    one.add_argument("--recompute", action="store_true", help="priors keep fewer activations and compute them again")
    one.add_argument("--bf16", action="store_true", help="training steps in bfloat16 where that is safe (autocast)")
    for command in (run, one):
        command.add_argument("--preset", default="quick", help=f"one of {', '.join(PRESETS)} (default: quick)")
        command.add_argument("--dataset", default="faces", help="faces, or a folder, zip or lmdb (default: faces)")
        command.add_argument("--seed", type=int, default=1, help="first of the seeds (default: 1; 0 chose settings)")
    costs = commands.add_parser("presets", help="list the presets and what they cost")
    costs.add_argument("--check", metavar="NAME", help="run a step of every stage of one, estimate its full run")
    options = vars(parser.parse_args(arguments))
    job = {"reproduce": reproduce, "train": train, "presets": presets}[options.pop("command")]
    try:
        job(**options)
    except RalkitError as error:
        print(f"ralkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ralkit: interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
