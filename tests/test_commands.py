"""The commands beside `reproduce`: what they leave, and each kind of bad input as one sentence and status 2."""

import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ralkit import __main__ as cli
from ralkit.course.oracle import OracleWorld
from ralkit.course.presets import PRESETS, get_preset
from ralkit.course.study import Study
from ralkit.course.world import World


@pytest.fixture
def ralkit(capfd, tmp_path):
    """Runs a command at smoke size in a project of its own; returns its status, what it printed, what it complained."""

    def run(command, *arguments):
        status = cli.main([command, "--preset", "smoke", "--root", str(tmp_path), *map(str, arguments)])
        return status, *capfd.readouterr()

    return run


def test_sample_writes_a_picture_and_its_codes(ralkit, tmp_path):
    out = tmp_path / "drawn" / "few.png"
    status, said, _ = ralkit("sample", "--number", 5, "--temperature", 0.8, "--out", out)
    assert status == 0 and "is not in" in said  # trained first
    codes = np.load(out.with_suffix(".npz"))["codes"]
    assert codes.shape == (5, 8, 8)
    world = OracleWorld("smoke", root=tmp_path)
    priors = Study(world).generator("MLE", 1)
    assert (codes == world.sample(priors, 5, 1, temperatures=[0.8])[0].numpy()).all()
    assert Image.open(out).size == (5 * 33 - 1, 32)
    again = out.read_bytes()
    assert ralkit("sample", "--number", 5, "--temperature", 0.8, "--out", out)[1].count("\n") == 1  # nothing to train
    assert out.read_bytes() == again


def test_complete_keeps_the_rows_that_are_given(ralkit, tmp_path):
    out = tmp_path / "completed.png"
    status, _, _ = ralkit("complete", "--levels", 2, "--rows", 3, "--number", 4, "--out", out)
    assert status == 0
    kept = np.load(tmp_path / "completed.npz")
    assert kept["top"].shape == (4, 8, 8) and kept["bottom"].shape == (4, 16, 16)
    world = World("smoke", root=tmp_path, levels=2)
    top, bottom = (c.numpy() for c in world.encode(world.images.test[:4]))
    assert (kept["top"][:, :3] == top[:, :3]).all() and (kept["bottom"][:, :6] == bottom[:, :6]).all()
    assert (kept["top"][:, 3:] != top[:, 3:]).any()
    assert Image.open(io.BytesIO(out.read_bytes())).size == (4 * 65 - 1, 2 * 65 - 1)  # images above completions


def test_a_preset_is_frozen_and_sampled_elsewhere(ralkit, tmp_path, monkeypatch):
    """`freeze` leaves files that `sample` loads; `train` and --no-pretrained do not look at them."""
    smoke = get_preset("smoke")
    monkeypatch.setitem(PRESETS, "smoke", replace(smoke, images=None, seeds=1))
    (failed,) = ralkit("freeze")[2].splitlines()
    assert failed.startswith("ralkit: ") and "lacks VQ-VAE-oracle-world-" in failed
    (failed,) = ralkit("freeze", "--pretrained")[2].splitlines()
    assert "there is no pretrained oracle world of smoke" in failed
    draw = "sample", "--number", 2, "--out", tmp_path / "a.png"
    assert "is not in" in ralkit(*draw)[1]
    _ = OracleWorld("smoke", root=tmp_path).features.factor_net, OracleWorld("smoke", root=tmp_path).oracle_codes
    status, said, _ = ralkit("freeze")
    assert status == 0 and re.fullmatch(
        r".*/data/pretrained/smoke-oracle-world.pt: 7 artefacts, 0\.\d MB", said.splitlines()[-1]
    )
    shutil.rmtree(tmp_path / "runs/smoke/artefacts")
    status, said, _ = ralkit(*draw)
    assert status == 0 and "is not in" not in said and not (tmp_path / "runs/smoke/artefacts").exists()
    assert "is not in" in ralkit(*draw, "--no-pretrained")[1]
    assert ralkit("freeze", "--pretrained")[0] == 0
    shutil.rmtree(tmp_path / "runs/smoke/pretrained")
    train = "train", "--method", "MLE", "--generator", 1
    assert ralkit(*train)[0] == 0 and not (tmp_path / "runs/smoke/pretrained").exists()
    assert ralkit(*train, "--pretrained")[0] == 0 and (tmp_path / "runs/smoke/pretrained").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sample", "--number", "0"], "--number is 0; it must be a whole number of at least 1"),
        (["sample", "--method", "GAN"], "unknown method 'GAN'; there are: MLE, MLE continued,"),
        (["sample", "--temperature", "0"], "temperature is 0"),
        (["sample", "--temperature", "nan"], "temperature is nan"),
        (["sample", "--levels", "3"], "images have 1 or 2 levels of codes, not 3"),
        (["complete", "--rows", "9"], "--rows is 9; it must be a whole number from 0 to 8"),
        (["complete", "--rows", "-1"], "--rows is -1"),
        (["complete", "--rows", "2", "--tries", "0"], "--tries is 0"),
        (
            ["complete", "--rows", "2", "--number", "100000"],
            "--number is 100000; it must be a whole number from 1 to 256",
        ),
        (["sample", "--seed", "-1"], "--seed is -1"),
        (["sample", "--seed", "1" * 23], "--seed is 1111"),
        (["train", "--method", "MLE", "--generator", "1" * 23], "--generator is 1111"),
        (["train", "--method", "GAN", "--generator", "1"], "unknown method 'GAN'; there are: MLE, MLE continued,"),
        (
            ["train", "--method", "MLE", "--method", "GAN", "--generator", "1"],
            "2 times --method and 1 times --generator",
        ),
        (["train", "--method", "MLE", "--generator", "1", "--at-once", "0"], "--at-once is 0; it must be 1 or more"),
        (["train", "--method", "MLE", "--generator", "1", "--save-minutes", "nan"], "--save-minutes is nan"),
        (["train", "--method", "MLE", "--generator", "1", "--device", "tpu"], "--device tpu"),
        (["train", "--method", "MLE", "--generator", "1", "--features", "faces"], "--features faces is for images"),
        (["train", "--method", "MLE", "--generator", "1", "--levels", "1", "--features", "nope"], "--features nope"),
        (["train", "--method", "MLE", "--generator", "1", "--dataset", ""], "data set"),
        (["train", "--method", "MLE", "--generator", "1", "--dataset", "x" * 300], "No data set"),
        (["train", "--method", "MLE", "--generator", "1", "--dataset", "~nobody/x"], "No data set"),
    ],
)
def test_bad_input_is_one_sentence_and_trains_nothing(ralkit, tmp_path, arguments, said):
    status, out, err = ralkit(*arguments)
    assert status == 2, err
    (line,) = err.splitlines()
    assert line.startswith("ralkit: ") and said in line
    assert "VQ-VAE" not in out
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("command", "status", "said"), [("presets > /dev/full", 2, "output: No space"), ("presets | true", 141, "")]
)
def test_an_output_that_cannot_be_written(command, status, said):
    line = f"set -o pipefail; {sys.executable} -u -m ralkit {command}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == status and "Traceback" not in result.stderr
    assert said in result.stderr and result.stderr.count("\n") == bool(said)
