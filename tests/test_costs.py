"""What a preset costs: every stage of every experiment is run, and counted right."""

import math
import re

import pytest
import torch
from torch import nn

from ralkit import __main__ as cli
from ralkit.course import costs
from ralkit.course.presets import PRESETS
from ralkit.errors import RalkitError

ONE = ["VQ-VAE", "critic, RAL", "prior, MLE", "prior, sampling", "prior, RAL"]
STAGES = [
    *("VQ-VAE", "oracle, MLE", "oracle, sampling", *ONE[1:]),
    *ONE,
    *("VQ-VAE", "critic, RAL", *(f"{level} {stage}" for level in ("top", "bottom") for stage in ONE[2:])),
]


def test_every_stage_is_timed(capsys, smoke):
    assert cli.main(["presets", "--check", "smoke"]) == 0
    out = capsys.readouterr().out
    assert [name for name in re.findall(r"^\| (.*?) \|", out, re.M) if name not in ("stage", "---")] == STAGES
    assert "smoke, two code maps: 64x64 pixels, codes 8x8 + 16x16" in out
    assert not re.search(r"\| (nan|inf)", out)


def test_unknown_preset(capsys):
    assert cli.main(["presets", "--check", "big"]) == 2
    assert capsys.readouterr().err.startswith("ralkit: unknown preset 'big'; there are: smoke, quick")


def test_every_network_learns(smoke):
    torch.manual_seed(0)
    run = costs.Check(smoke.world(2), torch.device("cpu"))
    learned = []
    run.add = lambda stage, step, *learning, **_: learned.extend(differ(step, network) for network in learning)
    run.run()
    assert learned == [True] * 6  # VQ-VAE, critic, and each prior by MLE and by RAL


def differ(step, network: nn.Module) -> bool:
    before = [p.clone() for p in network.parameters()]
    step(2)
    return any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_estimate_is_proportional(monkeypatch, smoke):
    run = costs.Check(smoke.world(1), torch.device("cpu"))
    monkeypatch.setattr(run, "seconds", lambda step, n: 5.0 * n)
    run.add("sampling", lambda n: None, batch=48, steps=100, rows=(2, 8))
    (row,) = run.rows
    assert row["images timed"] == "1, 2 of 8 rows"  # 5 s is too slow to try more
    assert math.isclose(row["device-hours"], 5.0 * 48 * 4 * 100 / 3600)


def test_a_batch_that_does_not_fit_after_all_is_not_timed(monkeypatch, smoke):
    """What a step needs for a moment is not counted: a GPU is full before its activations would fill it."""
    run, tried = costs.Check(smoke.world(1), torch.device("cpu")), []

    def seconds(step, n):
        tried.append(n)
        if n > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1e-3

    monkeypatch.setattr(run, "seconds", seconds)
    run.add("prior", lambda n: None, nn.Linear(1, 1), batch=16, steps=1)
    assert tried == [1, 2, 4, 8, 4]
    assert (run.rows[0]["images timed"], run.rows[0]["largest batch"]) == (4, 7)


def test_activations_are_counted_once_and_without_weights():
    layer, x = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), torch.zeros(4, 5)
    with costs.kept_for_backward(layer) as kept:
        layer(x).sum()
    assert sum(kept.values()) == 4 * (5 + 7) * 4  # the input, and tanh's output for itself and for the next layer


def test_a_network_too_large_for_the_memory(monkeypatch, smoke):
    monkeypatch.setattr(costs, "memory_of", lambda device: 2**10)
    with pytest.raises(RalkitError, match=r"training the VQ-VAE takes 0.0 GiB before the first image"):
        costs.check(smoke)


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_counted_without_memory(name):
    for cfg in costs.experiments(PRESETS[name]).values():
        sizes = costs.parameters(cfg)
        assert all(n > 0 for n in sizes.values())
        assert costs.ral_parameters(cfg) == sum(sizes.values()) - sizes["VQ-VAE"]


def test_the_gpu_preset_fits_a_card_of_12_gigabytes(monkeypatch):
    monkeypatch.setattr(costs, "memory_of", lambda device: 10 * 2**30)  # some is CUDA's own, some lies between blocks
    monkeypatch.setattr(costs, "PATIENCE", 0.0)  # what a few images keep is counted, no more are timed
    preset = PRESETS["gpu"]
    for name, cfg in costs.experiments(preset).items():
        run = costs.Check(cfg, torch.device("cpu"))
        run.run()
        for row in run.rows:
            assert row["largest batch"] == "" or row["largest batch"] >= row["batch"], (name, row["stage"])
