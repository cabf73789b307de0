"""Training side by side: other processes leave what this one loads, each artefact once; what fails is said."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ralkit.course import workers
from ralkit.course.oracle import OracleWorld
from ralkit.course.study import Study
from ralkit.course.trainer import Fitting
from ralkit.course.workers import distinct, train_apart, train_command, train_together, usable_cores, why
from ralkit.course.world import World
from ralkit.errors import RalkitError


def test_the_words_of_a_process_that_fails_arrive(smoke, tmp_path):
    study = Study(OracleWorld(smoke, root=tmp_path))
    with pytest.raises(RalkitError, match="training in another process failed: unknown method 'GAN'"):
        train_apart([[(study, "GAN", 1)]], 1, threads=1)


def test_a_method_under_two_names_is_one_job(tmp_path):
    study = Study(World("smoke", root=tmp_path, levels=1))
    n = study.world.config.size // 2**study.world.config.ral.critic_stages
    jobs = [(study, m, 1) for m in ("RAL single", f"RAL single {n}x{n}", "RAL intermediate")]
    assert distinct(jobs) == [(study, "RAL single", 1), (study, "RAL intermediate", 1)]


def test_parts_are_of_one_study_and_leave_nothing_out(tmp_path):
    one, two = (Study(World("smoke", root=tmp_path, levels=n)) for n in (1, 2))
    jobs = [(study, m, 1) for m in ("RAL single", "RAL intermediate", "RAL partial", "RAL top") for study in (two, one)]
    jobs += [(one, "MLE continued", s) for s in range(5)]
    shares = list(workers.parts(jobs, 1))
    assert sorted(map(str, (job for share in shares for job in share))) == sorted(map(str, jobs))
    assert all(len({job[0] for job in share}) == 1 and len(share) <= 4 for share in shares) and len(shares) >= 4
    assert [list(share) for share in workers.parts(jobs[:5], 2)] == [[j] for j in (*jobs[0:5:2], *jobs[1:5:2])]


def test_a_worker_is_told_all_options(tmp_path):
    fitting = Fitting(device="cpu", at_once=7, recompute=True, bf16=True, save_minutes=2.0)
    world = World("smoke", seed=3, root=tmp_path, levels=1, fitting=fitting)
    command = " ".join(train_command(world, [("RAL single", 4)]))
    for part in (
        f"--preset smoke --dataset faces --seed 3 --root {tmp_path}", "--device cpu", "--at-once 7", "--recompute",
        "--bf16", "--save-minutes 2.0", "--levels 1 --features faces", "--method RAL single --generator 4",
    ):  # fmt: skip
        assert part in command
    assert "--levels" not in " ".join(train_command(OracleWorld("smoke", root=tmp_path), []))


@pytest.mark.skipif(torch.cuda.is_available() or usable_cores() == 1, reason="trained one after the other here")
def test_runs_side_by_side_are_found_by_the_process_that_asked(tmp_path, monkeypatch, capsys):
    """Other processes make both worlds and train; this one only loads, when it is asked for what they left."""
    one, two = (Study(World("smoke", seed=1, root=tmp_path, levels=n)) for n in (1, 2))
    for training in ("world.train_vqvae", "study.train_mle", "study.train_ral"):
        monkeypatch.setattr(f"ralkit.course.{training}", lambda *_, **__: pytest.fail("trained in this process"))
    workers.train_side_by_side((two, ["MLE"], [1]), (one, ["MLE"], [1, 2]))
    assert one.is_stored("MLE", 2) and all(study.is_stored("MLE", 1) and study.world.is_made() for study in (one, two))
    assert not any(name.startswith("MLE") for study in (one, two) for name in study.trainer.histories)
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("MLE")} >= {"1", "2"}
    # Each is moved away from MLE in its own direction.
    train_together((two, ["RAL intermediate"], [1]), (one, ["RAL single", "RAL intermediate"], [1]))
    start, *moved = (
        torch.cat([p.flatten() for p in one.generator(m, 1)[0].parameters()])
        for m in ("MLE", "RAL single", "RAL intermediate")
    )
    assert all((m != start).any() for m in moved) and (moved[0] != moved[1]).any()
    assert two.is_stored("RAL intermediate", 1)
    again = Study(World("smoke", seed=1, root=tmp_path, levels=1))
    train_together((again, ["MLE"], [1, 2]))  # nothing to train, but the histories are asked for
    assert again.history("MLE", 2) == one.history("MLE", 2)


def test_a_run_that_fails_elsewhere_ends_the_others(monkeypatch, smoke, tmp_path):
    slow, bad = (Study(OracleWorld(smoke, root=tmp_path / name)) for name in "ab")
    code = {slow: "import time; time.sleep(60)", bad: "import sys; sys.exit('ralkit: no such thing')"}
    begun = []
    command = lambda world, jobs: [sys.executable, "-c", next(c for s, c in code.items() if s.world is world)]  # noqa: E731
    begin = workers.begin
    monkeypatch.setattr(workers, "train_command", command)
    monkeypatch.setattr(workers, "begin", lambda *a: begun.append(begin(*a)) or begun[-1])
    with pytest.raises(RalkitError, match="another process failed: no such thing"):
        train_apart([[(slow, "MLE", 1), (slow, "MLE", 2)], [(bad, "MLE", 3)], [(slow, "MLE", 4)]], 2, threads=1)
    assert sorted(p.returncode for p in begun) == [-signal.SIGTERM, 1]


@pytest.mark.parametrize(
    ("status", "complaint", "said"),
    [
        (2, "a warning\nralkit: no such thing\n", "no such thing"),
        (1, "", "it ended with status 1 and no message"),
        (-signal.SIGKILL, "", "it was ended by SIGKILL; the memory may have been too small"),
        (-signal.SIGTERM, "x", "it was ended by SIGTERM; the same command continues"),
    ],
)
def test_why_a_process_ended(status, complaint, said):
    assert why(status, complaint).startswith(said)


def test_a_training_process_that_is_killed_is_named_by_its_signal(monkeypatch, smoke, tmp_path):
    study = Study(OracleWorld(smoke, root=tmp_path))
    kill = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    monkeypatch.setattr(workers, "train_command", lambda *_: kill)
    with pytest.raises(RalkitError, match="ended by SIGKILL; the memory may have been too small"):
        train_apart([[(study, "MLE", 1)]], 1, threads=1)


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from ralkit.course.workers import usable_cores; print(usable_cores())"
    if hasattr(os, "sched_setaffinity"):
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
    monkeypatch.setattr(Path, "read_text", lambda self: "100000 100000\n")
    assert usable_cores() == 1


def test_another_process_is_not_told_a_preset_without_a_name(smoke, tmp_path):
    assert workers.can_be_told(OracleWorld(smoke, root=tmp_path)) == (not torch.cuda.is_available())
    assert not workers.can_be_told(OracleWorld(replace(smoke, n_oracle=100), root=tmp_path))


def told(number):
    """What a process of a pool says of itself; 0 ends it."""
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), torch.get_num_threads(), number


@pytest.mark.skipif(torch.cuda.is_available(), reason="done one after the other here")
def test_calls_in_processes_of_their_own(monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)
    found = dict(workers.call_apart(told, [(1,), (2,), (3,)]))
    assert found.keys() == {(1,), (2,), (3,)}
    assert all(threads == 1 and number == job[0] for job, (_, threads, number) in found.items())
    assert os.getpid() not in {process for process, _, _ in found.values()}
    ((_, (process, _, _)),) = workers.call_apart(told, [(1,)])
    assert process == os.getpid()  # a single job needs no other


@pytest.mark.skipif(torch.cuda.is_available(), reason="done one after the other here")
def test_a_call_whose_process_is_killed_ends_the_others(monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)
    with pytest.raises(RalkitError, match="a process beside this one was ended"):
        list(workers.call_apart(told, [(0,), (1,), (2,)]))
    for process in workers.multiprocessing.active_children():  # listed, when a thread of the pool was told of its end
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
