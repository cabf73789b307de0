"""The command line: each kind of bad input is one clear sentence and a status that is not zero."""

import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import pytest
import torch

from ralkit import __main__ as cli
from ralkit.course.presets import PRESETS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def ralkit(monkeypatch, capfd):
    """Runs the command line in `cwd`; returns its status, what it printed and what it complained of."""

    def run(*arguments, cwd=ROOT):
        monkeypatch.chdir(cwd)
        status = cli.main([str(a) for a in arguments])
        return status, *capfd.readouterr()

    return run


def sentence(result):
    """The one line on stderr of a command that failed as it should."""
    status, _, err = result
    assert status == 2, err
    assert "Traceback" not in err
    (line,) = (line for line in err.splitlines() if line.startswith("ralkit: "))
    return line


@pytest.fixture
def project(tmp_path):
    """A project folder with one notebook, whose single cell a test writes."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "environment.yml", tmp_path)

    def write(code):
        cell = nbformat.v4.new_code_cell(
            'preset = "smoke"\ndataset = "faces"\nseed = 1', metadata={"tags": ["parameters"]}
        )
        notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(code)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, tmp_path / "notebooks" / "07_only.ipynb")
        return tmp_path

    return write


def test_presets_are_listed(ralkit):
    status, out, _ = ralkit("presets")
    assert status == 0
    assert re.findall(r"^(\S+):", out, re.M) == list(PRESETS)


def test_unknown_preset_as_a_user_sees_it():
    command = [sys.executable, "-m", "ralkit", "reproduce", "--preset", "big"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert result.stderr == f"ralkit: unknown preset 'big'; there are: {', '.join(PRESETS)}\n"


def test_unknown_notebook(ralkit):
    assert "there is no notebook 77" in sentence(ralkit("reproduce", "--preset", "smoke", "--only", "77"))


@pytest.mark.parametrize("arguments", [["reproduce", "--prest", "smoke"], ["paint"], []])
def test_unknown_option_or_command(ralkit, arguments):
    with pytest.raises(SystemExit, match="2"):
        ralkit(*arguments)


def test_unknown_method(ralkit):
    said = sentence(ralkit("train", "--preset", "smoke", "--method", "GAN", "--generator", "1"))
    assert said.startswith("ralkit: unknown method 'GAN'; there are: MLE, MLE continued, RAL single, RAL intermediate,")


def test_a_method_without_a_seed(ralkit):
    said = sentence(ralkit("train", "--preset", "smoke", "--method", "MLE", "--method", "GAN", "--generator", "1"))
    assert said == "ralkit: 2 times --method and 1 times --generator; give one for each"


def test_no_images_at_once(ralkit):
    said = sentence(ralkit("train", "--preset", "smoke", "--method", "MLE", "--generator", "1", "--at-once", "0"))
    assert said == "ralkit: --at-once is 0; it must be 1 or more images"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_no_cuda(ralkit):
    assert "needs a CUDA GPU" in sentence(ralkit("reproduce", "--preset", "gpu"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "No data set"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "No images in"),
        (lambda p: (p / "a.zip").write_bytes(b"no zip") and p / "a.zip", "is not a zip"),
        (lambda p: (p / "notes.txt").write_text("x") and p / "notes.txt", "is not a zip"),
    ],
)
def test_bad_data_sets(ralkit, make, message, tmp_path):
    said = sentence(ralkit("reproduce", "--preset", "smoke", "--dataset", make(tmp_path)))
    assert message in said


def test_outside_the_project(ralkit, tmp_path):
    assert "no notebooks in" in sentence(ralkit("reproduce", "--preset", "smoke", cwd=tmp_path))


def test_a_notebook_runs_and_its_result_stays(ralkit, project):
    root = project("print(6 * 7)")
    assert ralkit("reproduce", "--preset", "smoke", cwd=root)[0] == 0
    executed = nbformat.read(root / "runs/smoke/07_only.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == "42\n"
    assert (root / "figures/smoke/REPORT.md").exists()


def test_an_error_in_a_notebook_is_named(ralkit, project):
    root = project("1 / 0")
    said = sentence(ralkit("reproduce", "--preset", "smoke", cwd=root))
    assert re.search(r"07_only\.ipynb, cell \d+: ZeroDivisionError: division by zero", said)
    assert not (root / "runs/smoke/07_only.ipynb").exists()
    assert (root / "runs/smoke/07_only.failed.ipynb").exists()


def test_an_unknown_parameter(project, tmp_path):
    source = project("x = 1") / "notebooks/07_only.ipynb"
    with pytest.raises(cli.RalkitError, match="no parameter prest; it has preset, dataset, seed"):
        cli.run_notebook(source, tmp_path / "out.ipynb", {"prest": "smoke"})


def test_force_makes_again(ralkit, project):
    root = project("x = 1")
    kept = root / "runs/smoke/artefacts/old.pt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert ralkit("reproduce", "--preset", "smoke", cwd=root)[0] == 0
    assert kept.exists()
    assert ralkit("reproduce", "--preset", "smoke", "--force", cwd=root)[0] == 0
    assert not kept.exists()


def test_interrupted(project):
    root = project("import time\nopen('started', 'w').close()\ntime.sleep(100)")
    command = [sys.executable, "-m", "ralkit", "reproduce", "--preset", "smoke"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job would ignore it
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    started, deadline = root / "notebooks/started", time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert started.exists()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    # What comes before is the kernel's own complaint about its end.
    assert stderr.splitlines()[-1] == "ralkit: interrupted; the same command continues where this one stopped"
