"""The command line: each kind of bad input is one clear sentence and a status that is not zero."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
import torch
from commands import ROOT, project_in, runner, sentence

from ralkit.course.execute import run_notebook
from ralkit.course.presets import PRESETS
from ralkit.errors import RalkitError


@pytest.fixture
def ralkit(monkeypatch, capfd):
    return runner(monkeypatch, capfd)


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


def test_a_notebook_runs_and_its_result_stays(ralkit, tmp_path):
    root = project_in(tmp_path, "print(6 * 7)")
    assert ralkit("reproduce", "--preset", "smoke", cwd=root)[0] == 0
    executed = nbformat.read(root / "runs/smoke/07_only.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == "42\n"
    assert (root / "figures/smoke/REPORT.md").exists()


def test_an_error_in_a_notebook_is_named(ralkit, tmp_path):
    root = project_in(tmp_path, "1 / 0")
    said = sentence(ralkit("reproduce", "--preset", "smoke", cwd=root))
    failed = root / "runs/smoke/07_only.failed.ipynb"
    assert said == (
        f"ralkit: 07_only.ipynb, cell 3: ZeroDivisionError: division by zero (the notebook as far as it came: {failed})"
    )
    assert not (root / "runs/smoke/07_only.ipynb").exists()
    assert nbformat.read(failed, 4).cells[-1].outputs[0].ename == "ZeroDivisionError"


def test_an_unknown_parameter(tmp_path):
    source = project_in(tmp_path, "x = 1") / "notebooks/07_only.ipynb"
    with pytest.raises(RalkitError, match="no parameter prest; it has preset, dataset, seed"):
        run_notebook(source, tmp_path / "out.ipynb", {"prest": "smoke"})


def test_parameters_reach_a_notebook(tmp_path):
    source = project_in(tmp_path, "print(preset, seed)") / "notebooks/07_only.ipynb"
    run_notebook(source, tmp_path / "out.ipynb", {"preset": 'it\'s "quoted"', "seed": 5})
    executed = nbformat.read(tmp_path / "out.ipynb", 4)
    cells = executed.cells
    assert executed.metadata.papermill.parameters["seed"] == 5  # papermill's own words on the run
    assert executed.metadata.papermill.input_path == "07_only.ipynb"
    assert str(tmp_path) not in json.dumps(executed)
    assert cells[-1].outputs[0].text == 'it\'s "quoted" 5\n'
    assert [cell.metadata.tags for cell in cells] == [["parameters"], ["injected-parameters"], []]


def test_runs_with_pretrained_worlds_are_kept_apart(ralkit, tmp_path):
    root = project_in(tmp_path, "print('pretrained:', pretrained)")
    kept = root / "runs/smoke/artefacts/old.pt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    for options, said, target in (((), "False", "."), (("--pretrained", "--force"), "True", "pretrained")):
        status, out, _ = ralkit("reproduce", "--preset", "smoke", *options, cwd=root)
        assert status == 0 and f"pretrained: {said}" in out
        assert (root / "runs/smoke" / target / "07_only.ipynb").exists()
    assert kept.exists()
    times = json.loads((root / "figures/smoke/minutes.json").read_text())
    assert times["minutes"].keys() == times["pretrained minutes"].keys() == {"07_only"}


def test_force_makes_again(ralkit, tmp_path):
    root = project_in(tmp_path, "x = 1")
    kept = root / "runs/smoke/artefacts/old.pt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert ralkit("reproduce", "--preset", "smoke", cwd=root)[0] == 0
    assert kept.exists()
    assert ralkit("reproduce", "--preset", "smoke", "--force", cwd=root)[0] == 0
    assert not kept.exists()
