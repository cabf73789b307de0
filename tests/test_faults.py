"""What goes wrong outside the code (full disks, dead kernels, signals, odd paths) ends in one sentence and a status."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from commands import ROOT, project_in, runner, sentence

from ralkit.course import reproduce
from ralkit.course.checks import MAX_SEED, check_path, check_seed
from ralkit.course.execute import run_notebook
from ralkit.course.signals import Ended, ended_by_signals, postponed
from ralkit.errors import RalkitError

SMOKE = ("reproduce", "--preset", "smoke")
REPRODUCE = (sys.executable, "-m", "ralkit", *SMOKE)
INTERRUPTED = "ralkit: interrupted; the same command continues where this one stopped\n"


@pytest.fixture
def ralkit(monkeypatch, capfd):
    return runner(monkeypatch, capfd)


def apart(root, before=(), **options):
    """`reproduce` in a process of its own, behind the command `before`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*before, *REPRODUCE], cwd=root, env=environment, **pipes | options)


def file_at(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def folder_at(path):
    path.mkdir(parents=True)
    return path


# Each: what lies in the project beforehand, its cell, further arguments, what the sentence says.
NOTHING = lambda root: None  # noqa: E731
BAD_NAME = os.fsdecode(b"im\xffages")
REFUSED = {
    "a file is runs/": (lambda root: file_at(root / "runs"), "1", [], "cannot write .*a file lies in the place"),
    "a file is figures/": (lambda root: file_at(root / "figures"), "1", [], "cannot write .*a file lies in the place"),
    "a folder is the notebook": (
        lambda root: folder_at(root / "runs/smoke/07_only.ipynb"), "1", [], "cannot write .*a folder lies in its place",
    ),
    "the kernel is killed": (
        NOTHING, "import os; os.kill(os.getpid(), 9)", [],
        r"07_only\.ipynb, cell 3: the kernel died \(SIGKILL\), most often because the memory ran out; .*failed\.ipynb",
    ),
    "the kernel exits": (NOTHING, "import os; os._exit(3)", [], r"cell 3: the kernel died \(exit status 3\)"),
    "a cell fails": (NOTHING, "1 / 0", [], r"07_only\.ipynb, cell 3: ZeroDivisionError: division by zero"),
    "no notebook": (
        lambda root: file_at(root / "notebooks/07_only.ipynb", b"<<<<<<< ours\n{}"), "1", [], "cannot be read as a",
    ),
    "a seed of 23 digits": (NOTHING, "1", ["--seed", "1" * 23], f"--seed is 1{{23}}; it must be from 0 to {MAX_SEED}"),
    "a seed below 0": (NOTHING, "1", ["--seed=-1"], f"--seed is -1; it must be from 0 to {MAX_SEED}"),
    "a data set not in UTF-8": (
        lambda root: folder_at(root / BAD_NAME), "1", ["--dataset", BAD_NAME], r"im\\udcffages is not valid UTF-8",
    ),
    "only nothing": (NOTHING, "1", ["--only", ""], "--only '' names no notebook; the numbers are 07"),
    "only a comma": (NOTHING, "1", ["--only", ","], "--only ',' names no notebook; the numbers are 07"),
    "only an unknown one": (NOTHING, "1", ["--only", "7,77"], "there is no notebook 77; the numbers are 07"),
}  # fmt: skip


@pytest.mark.parametrize(("prepare", "cell", "arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_one_sentence(ralkit, tmp_path, prepare, cell, arguments, said):
    root = project_in(tmp_path, cell)
    prepare(root)
    assert re.search(said, sentence(ralkit(*SMOKE, *arguments, cwd=root)))


TABLE = "figures/smoke/table-1.json"
CUT = b'{"device": "a CPU", "minu'
# Each: where the project is, what lies in it beforehand, further arguments, what the command prints.
BORNE = {
    "braces in a path": ("{preset} {0} {", NOTHING, [], ""),
    "a number without its 0": (".", NOTHING, ["--only", "7,"], ""),
    "minutes cut short": (
        ".", lambda root: file_at(root / "figures/smoke/minutes.json", CUT), [], "minutes.json cannot be read",
    ),
    "a table cut short": (
        ".", lambda root: file_at(root / TABLE, b'{"kind": "ta'), ["--only", "07"], f"{TABLE} is damaged and left out",
    ),
    "a table that is no table": (
        ".", lambda root: file_at(root / TABLE, b"[1]"), ["--only", "07"], f"{TABLE} is damaged and left out",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("where", "prepare", "arguments", "said"), BORNE.values(), ids=BORNE)
def test_a_fault_is_borne(ralkit, tmp_path, where, prepare, arguments, said):
    root = project_in(tmp_path / where, "print(6 * 7)")
    prepare(root)
    status, out, err = ralkit(*SMOKE, *arguments, cwd=root)
    assert (status, err) == (0, "")
    assert said in out
    assert "\n42\n" in out
    assert (root / "runs/smoke/07_only.html").exists()
    assert json.loads((root / "figures/smoke/minutes.json").read_text())["minutes"].keys() == {"07_only"}


def can_mount():
    return shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], check=False).returncode


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
@pytest.mark.parametrize(
    ("folder", "options", "said"),
    [
        ("runs", "size=32k", "cannot write .*: the disk is full; make room"),
        ("figures", "size=4k,nr_inodes=2", "cannot write .*: the disk is full; make room"),
        ("runs", "ro", "cannot write .*: Read-only file system"),
    ],
)
def test_a_disk_that_takes_no_more(tmp_path, folder, options, said):
    root = project_in(tmp_path, "'x' * 100_000")
    (root / folder).mkdir()
    mounted = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs {folder} && exec "$@"', "sh"]
    process = apart(root, before=mounted)
    out, err = process.communicate(timeout=300)
    assert re.search(said, sentence((process.returncode, out, err)))


def test_a_file_that_may_not_grow(ralkit, tmp_path):
    root = project_in(tmp_path, "'x' * 100_000")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        said = sentence(ralkit(*SMOKE, cwd=root))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.search(r"cannot write .*failed\.ipynb .*: File too large", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_output_that_cannot_be_written(ralkit, tmp_path, monkeypatch):
    root = project_in(tmp_path, "1")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert "cannot write the command's output: No space left" in sentence(ralkit(*SMOKE, cwd=root))


def test_force_that_cannot_remove(ralkit, tmp_path):
    root = project_in(tmp_path, "1")
    file_at(root / "runs/smoke/artefacts")
    assert "cannot remove" in sentence(ralkit(*SMOKE, "--force", cwd=root))


def test_the_list_of_presets_bears_minutes_cut_short(ralkit, tmp_path):
    root = project_in(tmp_path)
    file_at(root / "figures/deep/minutes.json", CUT)
    status, out, err = ralkit("presets", cwd=root)
    assert (status, err) == (0, "")
    assert "smoke: " in out and "measured" not in out


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def none_left(pids, seconds=10.0):
    deadline = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(map(is_alive, pids))


# A cell that starts a process as the notebooks start their training; this one does not care for SIGTERM.
BUSY = """
import os, signal, subprocess, sys, time
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(100)"
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
with open("pids.tmp", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("pids.tmp", "pids")
"""


def two_notebooks(tmp_path, one, two):
    """A project of two notebooks with a cell each, 01_one and 02_two."""
    root = project_in(tmp_path, one)
    (root / "notebooks/07_only.ipynb").rename(root / "notebooks/01_one.ipynb")
    (project_in(tmp_path / "other", two) / "notebooks/07_only.ipynb").rename(root / "notebooks/02_two.ipynb")
    return root


def started(root, process, file="pids"):
    """The processes of the notebook's kernel, once it is at work."""
    pids, deadline = root / "notebooks" / file, time.monotonic() + 120
    while not pids.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return [int(pid) for pid in pids.read_text().split()]


def hear():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job would ignore it


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")


@needs_proc
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_all_processes_with_one_sentence(tmp_path, signum, status):
    root = project_in(tmp_path, f"{BUSY}\nwhile True: time.sleep(1)")
    process = apart(root, preexec_fn=hear)
    pids = started(root, process)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, INTERRUPTED)
    assert none_left(pids)
    assert (root / "runs/smoke/07_only.failed.ipynb").exists()


@needs_proc
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "print('end')"])
def test_a_notebook_leaves_no_process_behind(tmp_path, end):
    root = project_in(tmp_path, BUSY, end)
    with nullcontext() if "print" in end else pytest.raises(RalkitError, match="cell 3"):
        run_notebook(root / "notebooks/07_only.ipynb", root / "runs/07_only.ipynb", {})
    assert none_left(map(int, (root / "notebooks/pids").read_text().split()))


@needs_proc
def test_a_signal_ends_notebooks_that_run_side_by_side(tmp_path):
    root = two_notebooks(tmp_path, *(f"{BUSY.replace('pids', f'pids{n}')}\nwhile True: time.sleep(1)" for n in (1, 2)))
    process = apart(root, preexec_fn=hear)
    pids = [pid for n in (1, 2) for pid in started(root, process, f"pids{n}")]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, INTERRUPTED)
    assert len(pids) == 4 and none_left(pids)


@needs_proc
def test_the_first_of_several_notebooks_to_fail_ends_the_others(ralkit, tmp_path):
    busy = f"{BUSY}\nwhile True: time.sleep(1)"
    fails = "import os, time\nwhile not os.path.exists('pids'): time.sleep(0.1)\n1 / 0"
    root = two_notebooks(tmp_path, busy, fails)
    assert "02_two.ipynb, cell 3: ZeroDivisionError" in sentence(ralkit(*SMOKE, cwd=root))
    assert none_left(map(int, (root / "notebooks/pids").read_text().split()))


def test_notebooks_side_by_side_share_the_cores_and_say_who_speaks(ralkit, tmp_path, monkeypatch):
    monkeypatch.setattr("ralkit.course.workers.usable_cores", lambda: 6)
    root = two_notebooks(tmp_path, *["import os; print('threads', os.environ['OMP_NUM_THREADS'])"] * 2)
    status, out, _ = ralkit(*SMOKE, cwd=root)
    assert status == 0 and "01: threads 3\n" in out and "02: threads 3\n" in out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_by_signals(signum):
    before = signal.getsignal(signum)
    with pytest.raises(Ended) as ended, ended_by_signals():
        os.kill(os.getpid(), signum)
    assert ended.value.signum == signum
    assert signal.getsignal(signum) is before


def test_an_ignored_signal_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup begins a command
    try:
        with ended_by_signals(), postponed(lambda: pytest.fail("it was heard")):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_leaves_the_clean_up_alone():
    cleaned = []

    def clean_up():
        os.kill(os.getpid(), signal.SIGTERM)
        cleaned.append(True)

    with pytest.raises(Ended) as ended, ended_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            clean_up()
    assert ended.value.signum == signal.SIGINT
    assert cleaned


def test_a_postponed_end():
    acted, after = [], []
    with pytest.raises(Ended, match="SIGTERM"), postponed(lambda: acted.append(True)) as arrived:
        os.kill(os.getpid(), signal.SIGTERM)
        after.append(list(arrived))
        raise RalkitError("what was stopped complains")
    assert acted and after == [[signal.SIGTERM]]


def test_a_kernel_that_does_not_start(ralkit, tmp_path, monkeypatch):
    root = project_in(tmp_path, "1")
    file_at(tmp_path / "broken/ipykernel_launcher.py", b"raise ImportError('half an installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    said = sentence(ralkit(*SMOKE, cwd=root))
    assert re.search(r"07_only\.ipynb: no Python kernel could be started: .*ImportError: half an installation", said)


def test_no_place_for_temporary_files(ralkit, tmp_path, monkeypatch):
    def no_place():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    root = project_in(tmp_path, "1")
    monkeypatch.setattr(tempfile, "TemporaryFile", no_place)
    assert "started: [Errno 2] No usable temporary directory found" in sentence(ralkit(*SMOKE, cwd=root))


def test_seeds():
    for seed in (0, 1, MAX_SEED):
        check_seed(seed)
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(RalkitError, match=f"--generator is {seed}; it must be from 0"):
            check_seed(seed, "--generator")


def test_paths():
    check_path(Path("ä/{0}"), "the folder")
    with pytest.raises(RalkitError, match=r"the folder a\\udcff is not valid UTF-8"):
        check_path(os.fsdecode(b"a\xff"), "the folder")


def test_a_project_not_in_utf8(ralkit, tmp_path):
    root = project_in(tmp_path / BAD_NAME, "1")
    status, _, err = ralkit(*SMOKE, cwd=root)
    assert (status, err) == (0, "")
    assert (root / "runs/smoke/07_only.ipynb").exists()


@pytest.mark.parametrize(
    ("minutes", "pace", "from_nothing", "said"),
    [
        ({"01_a": 2.0, "02_b": 3.4}, 1.0, True, ", about 5 minutes left"),
        ({"01_a": 2.0, "02_b": 3.4}, 2.0, True, ", about 11 minutes left"),
        ({"01_a": 0.2, "02_b": 0.8, "03_c": 9.0}, 1.0, False, ", at most about 1 minute left"),
        ({"01_a": 2.0}, 1.0, True, ", no earlier run to judge by"),
        ({"01_a": 2.0, "02_b": 3.4}, None, True, ", no earlier run to judge by"),
    ],
)
def test_the_time_that_is_left(minutes, pace, from_nothing, said):
    assert reproduce._minutes_left(["01_a", "02_b"], minutes, pace, from_nothing) == said


def test_another_machine_is_judged_by_what_it_did_so_far():
    for spent, pace in (({}, None), ({"09_new": 1.0}, None), ({"01_a": 3.0, "09_new": 50.0}, 1.5)):
        assert reproduce._pace(spent, {"01_a": 2.0, "02_b": 3.0}) == pace


def test_minutes_of_another_device_are_not_kept(tmp_path):
    root = project_in(tmp_path, "1")
    times = root / "figures/smoke/minutes.json"
    file_at(times, json.dumps({"device": "an abacus", "minutes": {"01_other": 5.0}}).encode())
    arguments = {"root": root, "run": root / "runs/smoke", "figures": times.parent}
    arguments["parameters"] = {"preset": "smoke", "seed": 2}
    reproduce.reproduce(**arguments, title="smoke", device="a CPU")
    took = json.loads(times.read_text())
    assert took["device"] == "a CPU" and took["minutes"].keys() == {"07_only"}


def test_no_module_hides_one_of_pythons():
    names = {path.stem for path in (ROOT / "ralkit").rglob("*.py")} - {"__init__", "__main__"}
    assert names and not names & sys.stdlib_module_names
