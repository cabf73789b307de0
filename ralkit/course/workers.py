"""Training side by side: studies' methods shared out among processes, one a core, which leave what this one loads."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ..errors import RalkitError
from .presets import PRESETS
from .progress import PROGRESS
from .study import Study
from .world import World

Job = tuple[Study, str, int]  # a study, a method, a seed


def usable_cores() -> int:
    """The cores that this process may use: those it is bound to, and no more than a container's quota of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def train_together(*plans: tuple[Study, Sequence[str], Sequence[int]]) -> None:
    """Load what studies' methods leave, by seed; train what is not there, side by side on a CPU's cores.

    Each is too small for two cores. They begin method by method: those after the first find their critic warm. Raises
    RalkitError with the words of a run that failed, which ends the others.
    """
    cores = usable_cores()
    others = dict.fromkeys(m for _, methods, _ in plans for m in methods if m != "MLE")
    for wave in (("MLE",), others):  # all others start from MLE
        jobs = distinct(
            (study, m, s) for m in wave for study, methods, seeds in plans if m in ("MLE", *methods) for s in seeds
        )
        apart = [job for job in jobs if can_be_told(job[0].world) and not job[0].is_stored(*job[1:])]
        workers = min(cores, len(apart))
        if workers > 1:
            for study in dict.fromkeys(job[0] for job in apart):
                study.world.prepare()  # here, by all cores: the processes would wait for the first of them
            train_apart([apart[k::workers] for k in range(workers)], max(1, cores // workers))
        # Now they are loaded, with their histories; what was not trained apart is trained here.
        for study, method, seed in jobs:
            study.generator(method, seed)


def distinct(jobs: Iterable[Job]) -> list[Job]:
    """The jobs in their order, each artefact once: methods with the same recipe are one."""
    return list(dict.fromkeys((study, study.canonical(method), seed) for study, method, seed in jobs))


def can_be_told(world: World) -> bool:
    """Whether another process can train in this world: on a CPU, and with a preset that has a name."""
    preset = world.project.preset
    return world.device.type == "cpu" and preset is PRESETS.get(preset.name)


def train_command(world: World, jobs: Sequence[tuple[str, int]]) -> list[str]:
    """The command line that trains methods of this world, by seed, with all its options."""
    p = world.project
    command = [sys.executable, "-m", "ralkit", "train", "--preset", p.preset.name, "--dataset", p.dataset]
    command += ["--seed", str(p.seed), "--root", str(p.root), *world.fitting.flags()]
    if world.levels is not None:
        command += ["--levels", str(world.levels), "--features", world.features.name]
    if world.frozen:
        command.append("--pretrained")
    for method, seed in jobs:
        command += ["--method", method, "--generator", str(seed)]
    return command


def train_apart(shares: Sequence[Sequence[Job]], threads: int) -> None:
    """Train each share in a process of its own, one after another for each of its worlds.

    A process takes long to begin, so small runs share one. The first that fails ends the others.
    """
    running: list[subprocess.Popen] = []
    ending = threading.Event()

    def work(share: Sequence[Job]) -> None:
        for study in dict.fromkeys(study for study, _, _ in share):
            jobs = [job[1:] for job in share if job[0] is study]
            with begin(train_command(study.world, jobs), threads) as process:
                running.append(process)
                if ending.is_set():  # the others were ended while this one began
                    process.terminate()
                complaints = ThreadPoolExecutor(1).submit(process.stderr.read)
                for line in process.stdout:
                    PROGRESS.line(line)
            if process.returncode:
                raise RalkitError(f"training in another process failed: {why(process.returncode, complaints.result())}")

    with ThreadPoolExecutor(len(shares)) as pool:
        working = [pool.submit(work, share) for share in shares]
        try:
            for done in as_completed(working):
                done.result()
        except BaseException:
            ending.set()
            for process in running:
                process.terminate()
            raise


def begin(command: list[str], threads: int) -> subprocess.Popen:
    """Start a command in a process of so many threads, its output on pipes."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def why(status: int, complaint: str) -> str:
    """What ended a process: the last line that it complained with, or the signal."""
    lines = complaint.strip().splitlines()
    if status < 0:
        name = signal.Signals(-status).name
        memory = "; the memory may have been too small: stop other programs, or use --at-once" * (name == "SIGKILL")
        return f"it was ended by {name}{memory}; the same command continues where it stopped"
    return lines[-1].removeprefix("ralkit: ") if lines else f"it ended with status {status} and no message"
