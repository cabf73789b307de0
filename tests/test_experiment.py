"""Artefacts: made once, keyed by what made them, the same numbers from the same seed."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from ralkit import ral
from ralkit.course.experiment import METHODS, RUNS, Experiment, _train_apart, changed, markdown_table
from ralkit.course.images import ImageExperiment
from ralkit.course.plots import new_figure
from ralkit.course.presets import get_preset
from ralkit.course.report import write_report
from ralkit.errors import RalkitError


def test_two_runs_give_the_same_numbers(tiny, tmp_path):
    numbers = []
    for name in ("a", "b"):
        exp = Experiment(tiny, seed=4, root=tmp_path / name)
        row = {m: exp.measure(m, 4) for m in METHODS}
        curves = {k: v for h in exp.histories.values() for k, v in h.items() if k != "seconds"}
        numbers.append((row, exp.floors, curves))
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", ["quick", "gpu"])
def test_every_run_is_a_recipe_of_its_own(name):
    cfg = get_preset(name).ral
    recipes = {run: changed(cfg, changes) for run, changes in RUNS.items()}
    assert all(r.rollouts >= 2 and r.updates == cfg.updates for r in recipes.values())
    different = [run for run, r in recipes.items() if r == cfg]
    assert different == [f"RAL {cfg.reward}"]  # only the preset's own
    fields = lambda run: asdict(recipes[run]).items()  # noqa: E731
    for run in (run for run in RUNS if run.endswith("taken back")):
        keys = {k for k, _ in fields("RAL anchored") - fields(run)}
        assert keys == set(run.removesuffix(" taken back").split(", ")[1].split(" and "))
        assert all(getattr(recipes[run], key) == getattr(cfg, key) for key in keys)


def test_what_is_there_is_loaded_and_what_changed_is_made_again(tiny, tmp_path, capsys):
    first = Experiment(tiny, seed=4, root=tmp_path)
    weights = first.generator("RAL single", 4).state_dict()
    made = {p.name: p.stat().st_mtime_ns for p in first.artefacts.iterdir()}
    assert not [name for name in made if not name.endswith(".pt")]  # no checkpoint is left

    again = Experiment(tiny, seed=4, root=tmp_path)
    capsys.readouterr()
    loaded = again.generator("RAL single", 4).state_dict()
    assert capsys.readouterr().out == ""
    assert all(torch.equal(loaded[k], weights[k]) for k in weights)
    assert {p.name: p.stat().st_mtime_ns for p in again.artefacts.iterdir()} == made
    assert again.histories == first.histories

    other = Experiment(replace(tiny, ral=replace(tiny.ral, gamma=0.5)), seed=4, root=tmp_path)
    other.generator("RAL single", 4)
    assert other.keys["MLE 4"] == first.keys["MLE 4"]
    assert other.keys["RAL single 4"] != first.keys["RAL single 4"]
    deeper = Experiment(replace(tiny, vqvae=replace(tiny.vqvae, lr=1e-4)), seed=4, root=tmp_path)
    deeper.generator("MLE", 4)
    assert deeper.keys["MLE 4"] != first.keys["MLE 4"]  # made from other codes


def test_runs_share_the_warm_up_and_are_the_same_without_sharing(tiny, tmp_path, monkeypatch):
    warmed, warm = [], ral.warm_up
    monkeypatch.setattr("ralkit.training.warm_up", lambda *a: warmed.append(0) or warm(*a))
    shared = Experiment(tiny, seed=1, root=tmp_path / "shared")
    ours = [shared.generator(m, 1) for m in ("RAL single", "RAL intermediate")]
    assert len(warmed) == 1
    alone = Experiment(tiny, seed=1, root=tmp_path / "alone").generator("RAL intermediate", 1)
    assert len(warmed) == 2
    a, b, c = (torch.nn.utils.parameters_to_vector(G.parameters()) for G in (*ours, alone))
    assert torch.equal(b, c) and (a != b).any()
    shared.generator("RAL without layer norm", 1)  # another critic, which needs its own
    assert len(warmed) == 3


def test_the_reference(tiny, tmp_path):
    """With the oracle as reference and no other reward one plain step goes down KL(G || oracle), with MLE it stands."""
    exp = Experiment(tiny, seed=1, root=tmp_path)
    still = replace(exp._recipe("RAL, true reward"), updates=1, lr_prior=1e-5, reference="MLE", baseline="none")
    G = exp.generator("MLE", 1)
    moved = {}
    for name in ("MLE", "oracle"):
        H, _ = exp.ral(f"towards {name}", 1, replace(still, reference=name))
        moved[name] = max((a - b).abs().max().item() for a, b in zip(G.parameters(), H.parameters(), strict=True))
    assert moved["MLE"] == 0 < moved["oracle"]
    with pytest.raises(RalkitError, match="unknown reference 'GAN'; it must be MLE or oracle"):
        exp.ral("towards GAN", 1, replace(still, reference="GAN"))
    images = ImageExperiment("smoke", seed=1, root=tmp_path, levels=1)
    images.generator = lambda *_: []
    with pytest.raises(RalkitError, match="images have no reference 'oracle'"):
        images.ral("towards the oracle", 1, replace(still, reference="oracle"))


def test_a_damaged_artefact_is_named(tiny, tmp_path):
    exp = Experiment(tiny, root=tmp_path)
    _ = exp.vqvae
    (path,) = exp.artefacts.glob("vqvae-*.pt")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RalkitError, match=path.name):
        _ = Experiment(tiny, root=tmp_path).vqvae


def test_runs_side_by_side(smoke, tmp_path, capsys):
    """Two processes leave what this one then loads; the words of one that fails arrive."""
    exp = Experiment(smoke, root=tmp_path)
    exp.train(["MLE"], exp.seeds)
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("MLE")} == {"1", "2"}
    assert {"MLE 1", "MLE 2"} <= exp.histories.keys()
    again = Experiment(smoke, root=tmp_path)
    again.train(["MLE"], again.seeds)  # nothing to train, but the histories are asked for
    assert {"MLE 1", "MLE 2"} <= again.histories.keys()
    with pytest.raises(RalkitError, match="training in another process failed: unknown method 'GAN'"):
        _train_apart([[(exp, "GAN", 1)]], threads=1)


def test_a_run_that_fails_elsewhere_ends_the_others():
    class Fake:
        def __init__(self, code):
            self.code = code

        def _begin_apart(self, jobs, threads):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen([sys.executable, "-c", self.code], **pipes)
            return self.process

    slow, bad = Fake("import time; time.sleep(60)"), Fake("import sys; sys.exit('ralkit: no such thing')")
    with pytest.raises(RalkitError, match="another process failed: no such thing"):
        _train_apart([[(slow, "MLE", 1), (slow, "MLE", 2)], [(bad, "MLE", 3)]], threads=1)
    assert slow.process.returncode == -signal.SIGTERM


def test_figures_tables_and_report(tiny, tmp_path):
    exp = Experiment(tiny, root=tmp_path)
    figure, ((ax,),) = new_figure()
    ax.plot([0, 1])
    exp.save_figure("figure-4", figure, "Fig. 4", data={"x": [1]})
    rows = [{"method": "MLE", "NLL": 1.23456}]
    exp.save_table("table-1", rows, "Table 1", note="So it is.", paper=[{"method": "MLE", "NLL": 7.55}])
    origin = json.loads((exp.figures / "table-1.json").read_text())["origin"]
    assert origin["preset"] == "smoke"
    assert origin["configuration"]["ral"]["rollouts"] == tiny.ral.rollouts
    assert origin["dataset"]["train"] == 64
    assert (exp.figures / "table-1.csv").read_text() == "method,NLL\nMLE,1.23456\n"
    report = write_report(exp.figures, {"03_oracle": 1.25}).read_text()
    for part in (
        "## Table 1",
        "| MLE | 1.235 |",
        "| MLE | 7.55 |",
        "So it is.",
        "![Fig. 4](figure-4.png)",
        "03_oracle",
    ):
        assert part in report


def test_other_peoples_pictures_stay_out_of_the_committed_folder(tiny, tmp_path):
    assert Experiment(tiny, "some/celeba.zip", root=tmp_path).figures == tmp_path / "runs/smoke-celeba/figures"
    assert Experiment(tiny, root=tmp_path).figures == tmp_path / "figures/smoke"


def test_unknown_method(tiny, tmp_path):
    with pytest.raises(RalkitError, match="unknown method 'GAN'; there are: MLE"):
        Experiment(tiny, root=tmp_path).generator("GAN", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_the_gpu_preset_without_a_gpu():
    with pytest.raises(RalkitError, match="needs a CUDA GPU and torch sees none; use --preset quick"):
        Experiment("gpu")


def test_markdown_table():
    assert markdown_table([{"a": 1, "b": 0.123456}]) == "| a | b |\n| --- | --- |\n| 1 | 0.1235 |"
    rounded = markdown_table([{"a": 128 - 2**-46, "b": 7.0, "c": "x|y"}])  # an exponential that should be 128
    assert rounded.endswith("| 128.0 | 7.0 | x\\|y |")
