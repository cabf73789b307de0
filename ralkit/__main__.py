"""The command line of the course: `python -m ralkit reproduce`, `train`, `sample`, `bench`, `photographs`, ..."""

import argparse
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import RalkitError

FEATURES = (
    'network of the Frechet distance on images: faces, inception (downloaded), or a file of its weights; with ":768" '
    "after it that tap (default: the file in data/ where there is one and the images are not the faces, else faces)"
)
METHODS = '"MLE", "MLE continued", "RAL single", "RAL intermediate", ...'


def reproduce(
    preset: str, dataset: str, seed: int, root: Path | None, device: str | None, pretrained: bool, only: str | None,
    force: bool,
) -> None:  # fmt: skip
    """Run the notebooks headless and write figures, tables and REPORT.md; finished artefacts are not made again."""
    from .course.presets import get_preset

    get_preset(preset)  # before the slow imports, so that a slip is answered at once
    show_device(device)
    from .course.oracle import OracleWorld
    from .course.reproduce import notebooks
    from .course.reproduce import reproduce as run
    from .training import device_name

    world = OracleWorld(preset, dataset, seed, root=root)
    project = world.project
    notebooks(project.root, only)  # a slip in --only is answered before a large set is read
    if dataset != "faces":  # a data set that cannot be read is reported before anything runs
        print(f"{world.images.name}: {len(world.images.train)} training and {len(world.images.test)} test images")
    run(
        root=project.root, run=project.pretrained if pretrained else project.run, figures=project.figures,
        parameters={"preset": preset, "dataset": project.dataset, "seed": seed, "pretrained": pretrained},
        title=f"{preset}, {Path(project.dataset).stem}, seed {seed}", device=device_name(world.device),
        only=only, force=force,
    )  # fmt: skip


def show_device(device: str | None) -> None:
    """Let this process, and the kernels that it starts, see only the device that was asked for."""
    if device is not None:
        kind, _, number = device.partition(":")
        if kind not in ("cpu", "cuda") or not (number or "0").isdigit():
            raise RalkitError(f"--device {device}: give cpu, cuda, or cuda:1")
        if kind == "cpu" or number:
            os.environ["CUDA_VISIBLE_DEVICES"] = "" if kind == "cpu" else number


def parse(arguments: list[str] | None) -> dict[str, Any]:
    """The options of the command line, by name."""
    parser = argparse.ArgumentParser(prog="ralkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, about: str, pretrained: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about)
        command.add_argument(
            "--preset", help="size of everything; `presets` lists them (default: deep if pretrained, else quick)"
        )
        command.add_argument("--dataset", default="faces", help="faces, or a folder, zip or lmdb (default: faces)")
        command.add_argument("--seed", type=int, default=1, help="first of the seeds (default: 1; 0 chose settings)")
        command.add_argument("--root", type=Path, help="the project's folder (default: the one around this folder)")
        command.add_argument("--device", help="cpu, cuda or cuda:1 (default: the GPU where there is one)")
        use = {"action": argparse.BooleanOptionalAction, "default": pretrained}
        command.add_argument(
            "--pretrained", help=f"use data/pretrained/ where it fits (default: {'yes' if pretrained else 'no'})", **use
        )
        return command

    run = add("reproduce", "run the notebooks headless, write every figure and table")
    run.add_argument("--only", help="numbers of the notebooks to run, such as 03 or 01,02")
    run.add_argument("--force", action="store_true", help="make everything again, also what is already there")

    one = add("train", "train generators of the oracle experiment, or the priors of images")
    several = {"action": "append"}
    one.add_argument(
        "--method", help=f"{METHODS}; may be given again, with its --generator (default: the world alone)", **several
    )
    one.add_argument("--generator", type=int, help="the generator's seed, for each --method", **several)

    draw = add("sample", "draw images from a generator: a PNG, and their codes", pretrained=True)
    fill = add("complete", "complete test images below their first rows: a PNG, and the codes", pretrained=True)
    fill.add_argument("--rows", type=int, required=True, help="rows of the (top) code map that are given")
    fill.add_argument("--tries", type=int, default=1, help="completions of which one is chosen (default: 1)")
    for command, number in ((draw, 32), (fill, 8)):
        command.add_argument("--method", default="MLE", help=f"{METHODS} (default: MLE)")
        command.add_argument("--generator", type=int, help="the generator's seed (default: --seed)")
        command.add_argument("--number", type=int, default=number, help=f"how many images (default: {number})")
        command.add_argument("--temperature", type=float, default=1.0, help="of the softmax (default: 1)")
        command.add_argument("--out", type=Path, default=Path("samples.png"), help="the PNG (default: samples.png)")
    levels = {"type": int, "help": "1 or 2: images with so many levels of codes (default: the oracle's)"}
    for command in (one, draw, fill):
        command.add_argument("--levels", **levels)
        command.add_argument("--features", help=FEATURES)
        command.add_argument(
            "--at-once", type=int, help="images whose activations a step keeps at once (default: its batch)"
        )
        command.add_argument(
            "--recompute", action="store_true", help="priors keep fewer activations, compute them again"
        )
        command.add_argument(
            "--bf16", action="store_true", help="training steps in bfloat16 where that is safe (autocast)"
        )
        command.add_argument(
            "--save-minutes", type=float, default=1 / 3, help="between checkpoints, at least (default: 1/3)"
        )

    keep = commands.add_parser(
        "freeze", help="write a world that runs of a preset left to its file in data/pretrained/"
    )
    keep.add_argument("--preset", help="the preset (default: deep if pretrained, else quick)")
    keep.add_argument("--levels", **levels)
    keep.add_argument("--root", type=Path, help="the project's folder (default: the one around this folder)")
    keep.add_argument(
        "--pretrained", action="store_true", help="write what was measured in the pretrained world beside its file"
    )

    bench = commands.add_parser(
        "bench", help="score methods beside MLE over temperatures, in worlds where it falls short"
    )
    bench.add_argument("--method", action="append", help="file.py:function, or a name of the test bed (default: none)")
    bench.add_argument("--world", action="append", help="a world of the test bed (default: all)")
    bench.add_argument("--generators", help="seeds of the MLE generators, such as 1,2 (default: all)")
    bench.add_argument("--out", type=Path, help="a file for the rows of your methods (JSON)")
    bench.add_argument("--preset", help="the preset (default: deep if pretrained, else quick)")
    bench.add_argument("--root", type=Path, help="the project's folder (default: the one around this folder)")
    bench.add_argument("--pretrained", action=argparse.BooleanOptionalAction, default=True)

    photos = commands.add_parser("photographs", help="measure MLE and RAL on real images, in a world for each seed")
    photos.add_argument("--dataset", required=True, help="a folder, zip or lmdb of images")
    photos.add_argument("--features", help=FEATURES)
    photos.add_argument("--seeds", default="1", help="such as 1,2 (default: 1)")
    photos.add_argument("--out", type=Path, help="the folder of rows.json and REPORT.md (default: one in runs/)")
    photos.add_argument("--root", type=Path, help="the project's folder (default: the one around this folder)")

    costs = commands.add_parser("presets", help="list the presets and what they cost")
    costs.add_argument("--check", metavar="NAME", help="run a step of every stage of one, estimate its full run")
    options = vars(parser.parse_args(arguments))
    if options.get("preset", "") is None:  # the worlds in data/pretrained/ are those of deep
        options["preset"] = "deep" if options["pretrained"] else "quick"
    return options


def run_command(command: str, **options: Any) -> None:
    """Run one command with its options; raises RalkitError for what a user can mend."""
    try:
        if command == "reproduce":
            return reproduce(**options)
        from .course import commands
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ralkit"):
            raise
        raise RalkitError(
            f"the course needs the package {error.name}; run pip install '.[course]' in the project's folder"
        ) from error
    jobs = {
        "train": commands.train,
        "sample": commands.sample,
        "complete": commands.complete_images,
        "freeze": commands.freeze,
        "bench": commands.bench,
        "photographs": commands.photographs,
        "presets": commands.presets,
    }
    jobs[command](**options)


def output_failed(error: OSError) -> int:
    """Say that something cannot be read or written, unless a pipe was closed by who read it; return the status."""
    with suppress(OSError):  # what is left in the buffer would fail again when Python exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    what = error.filename or "the command's output"
    print(f"ralkit: cannot read or write {what}: {error.strerror}; mend that, then run it again", file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 for bad input, 128 and the signal's number if interrupted."""
    from .course.checks import check_seed
    from .course.signals import Ended, ended_by_signals

    options = parse(arguments)
    try:
        with ended_by_signals():
            for option in ("seed", "generator"):
                values = options.get(option)
                for value in values if isinstance(values, list) else [values]:
                    if value is not None:
                        check_seed(value, f"--{option}")
            run_command(**options)
            sys.stdout.flush()
    except OSError as error:
        return output_failed(error)
    except RalkitError as error:
        print(f"ralkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print("ralkit: interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 128 + (error.signum if isinstance(error, Ended) else 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
