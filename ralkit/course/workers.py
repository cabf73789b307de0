"""Training side by side: worlds, and methods in them, in processes of their own, which leave what this one loads."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from ..errors import RalkitError
from .presets import PRESETS
from .progress import PROGRESS
from .study import Study
from .world import World

Job = tuple[Study, str | None, int | None]  # a study, a method, a seed
Plan = tuple[Study, Sequence[str], Sequence[int]]  # a study, methods, seeds

# For glibc: freed blocks are kept, because to ask the system for each large tensor costs a tenth of a small step.
KEEP_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


def usable_cores() -> int:
    """The cores that this process may use: those it is bound to, and no more than a container's quota of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def train_together(*plans: Plan) -> None:
    """Load what studies' methods leave, by seed; train what is not there, side by side on a CPU's cores.

    Raises RalkitError with the words of a run that failed, which ends the others.
    """
    train_side_by_side(*plans)
    # Now they are loaded, with their histories; what was not trained apart is trained here.
    for study, methods, seeds in plans:
        for _, method, seed in distinct((study, m, s) for m in ("MLE", *methods) for s in seeds):
            study.history(method, seed)  # of some frozen runs there is no more than that


def train_side_by_side(*plans: Plan) -> None:
    """Train what is missing of studies' methods, by seed, in processes of their own: each is too small for two cores.

    Where there is one core, or a single run is missing, nothing is trained. Raises RalkitError with the words of a run
    that failed, which ends the others.
    """
    cores = usable_cores()
    waves = [[(study, "MLE", s) for study, _, seeds in plans for s in seeds]]  # all others start from MLE
    waves += [[(study, m, s) for study, methods, seeds in plans for m in methods if m != "MLE" for s in seeds]]
    for jobs in map(distinct, waves):
        apart = [job for job in jobs if can_be_told(job[0].world) and not job[0].is_stored(*job[1:])]
        workers = min(cores, len(apart))
        if workers > 1:
            threads = max(1, cores // workers)
            fresh = [study for study in dict.fromkeys(job[0] for job in apart) if not study.world.is_made()]
            fresh.sort(key=lambda study: -len(study.world.networks))  # what takes longest comes first
            if len(fresh) == 1:
                fresh[0].world.prepare()  # here, by all cores: the processes would wait for the first of them
            elif fresh:
                train_apart([[(study, None, None)] for study in fresh], workers, threads)
            train_apart(list(parts(apart, workers)), workers, threads)


def parts(jobs: Sequence[Job], workers: int) -> Iterator[Sequence[Job]]:
    """The jobs in some four parts for each worker, of one study each: a worker that has done one takes the next.

    Within a study they stay method by method, so that those after the first find their critic warm.
    """
    size = -(-len(jobs) // (4 * workers))
    for study in dict.fromkeys(job[0] for job in jobs):
        own = [job for job in jobs if job[0] is study]
        yield from (own[i : i + size] for i in range(0, len(own), size))


def distinct(jobs: Iterable[Job]) -> list[Job]:
    """The jobs in their order, each artefact once: methods with the same recipe are one."""
    return list(dict.fromkeys((study, study.canonical(method), seed) for study, method, seed in jobs))


def can_be_told(world: World) -> bool:
    """Whether another process can train in this world: on a CPU, and with a preset that has a name."""
    preset = world.project.preset
    return world.device.type == "cpu" and preset is PRESETS.get(preset.name)


def train_command(world: World, jobs: Sequence[tuple[str, int]]) -> list[str]:
    """The command line that makes this world, and trains methods in it, by seed, with all its options."""
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


def train_apart(shares: Sequence[Sequence[Job]], workers: int, threads: int) -> None:
    """Let `workers` at a time train the shares, each in a process of so many threads; the first to fail ends all.

    The jobs of a share are of one study. Without a method a job makes the study's world.
    """
    running: list[subprocess.Popen] = []
    ending = threading.Event()

    def work(share: Sequence[Job]) -> None:
        if ending.is_set():
            return
        jobs = [job[1:] for job in share if job[1] is not None]
        with begin(train_command(share[0][0].world, jobs), threads) as process:
            running.append(process)
            if ending.is_set():  # the others were ended while this one began
                process.terminate()
            complaints = ThreadPoolExecutor(1).submit(process.stderr.read)
            for line in process.stdout:
                PROGRESS.line(line)
        if process.returncode:
            ending.set()
            raise RalkitError(f"training in another process failed: {why(process.returncode, complaints.result())}")

    with ThreadPoolExecutor(workers) as pool:
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
    environment = os.environ | KEEP_BLOCKS | {"OMP_NUM_THREADS": str(threads)}
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


def call_apart(function: Callable[..., Any], jobs: Sequence[tuple]) -> Iterator[tuple[tuple, Any]]:
    """Each job and function(*job), as they end: one job a core at a time, in processes of their own.

    The function and the jobs must be picklable. On a GPU, and where there is one core or one job, they are done here.
    The first job to fail ends the others, and its error is raised here; RalkitError where a process was ended from
    outside.
    """
    cores = usable_cores()
    workers = min(cores, len(jobs))
    if workers < 2 or torch.cuda.is_available():
        yield from ((job, function(*job)) for job in jobs)
        return
    os.environ.update(KEEP_BLOCKS)  # of the processes to come
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_serve, initargs=(max(1, cores // workers),)
    )
    try:
        running = {pool.submit(function, *job): job for job in jobs}
        for done in as_completed(running):
            yield running[done], done.result()
    except BrokenProcessPool as error:
        raise RalkitError(
            "a process beside this one was ended; the memory may have been too small: stop other programs, then run "
            "it again"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()).difference(others):
            process.terminate()
            process.join()


def _serve(threads: int) -> None:
    """Let a process of a pool use so many threads, and leave Ctrl-C, which it hears too, to the one that began it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
