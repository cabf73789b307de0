"""The single file says what the library says."""

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import tiny_prior

from ralkit import ral
from ralkit.critic import LOSSES, PatchCritic
from ralkit.ral import RalConfig

FILE = Path(__file__).parents[1] / "notebooks/ral_minimal.py"
spec = importlib.util.spec_from_file_location("ral_minimal", FILE)
minimal = importlib.util.module_from_spec(spec)
spec.loader.exec_module(minimal)

CFG = RalConfig(
    critic_loss="logistic-r1", critic_norm="layer", critic_channels=16, critic_stages=4, gamma=1.0,
    baseline="leave-one-out",
)  # fmt: skip


def critics():
    """The same weights in both."""
    ours, theirs = minimal.make_critic(), PatchCritic(4, 16, "layer")
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    return ours, theirs


def test_it_is_short():
    assert len(FILE.read_text().splitlines()) < 200


def test_its_critic_and_its_loss_are_those_of_the_library():
    ours, theirs = critics()
    real, fake = torch.randn(2, 8, 3, 32, 32)
    assert torch.allclose(ours(real)[:, 0], theirs(real), atol=1e-6)
    a, b = minimal.critic_loss(ours, real, fake), LOSSES["logistic-r1"](theirs, real, fake, minimal.PENALTY)
    assert a.item() == pytest.approx(b.item(), rel=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_its_advantages_are_those_of_the_library(gamma, monkeypatch):
    monkeypatch.setattr(minimal, "GAMMA", gamma)
    S, S_real = torch.randn(2, 8, 2, 2)
    ours = minimal.advantages(S[:, None], S_real[:, None], (8, 8))
    assert torch.allclose(ours, ral.score_advantages(S, S_real, (8, 8), replace(CFG, gamma=gamma)), atol=1e-5)


class Likes(torch.nn.Module):
    """A critic that stands still: score 1 where a picture's third channel is lit."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x[:, 2:3]


def test_it_makes_codes_likelier_that_score_well(monkeypatch):
    monkeypatch.setattr(minimal, "make_critic", Likes)
    monkeypatch.setattr(minimal, "LR_CRITIC", 0.0)
    G, real_codes = tiny_prior().float(), torch.randint(3, (64, 2, 2))
    before, lit = copy.deepcopy(G), lambda c: torch.nn.functional.one_hot(c, 3).movedim(-1, 1).float()
    minimal.ral(G, lit, real_codes, 0, 30, 64, lambda *_: None)
    often = [(prior.sample(2000, (2, 2)) == 2).float().mean() for prior in (before, G)]
    assert often[1] > often[0]


def test_it_runs_whole(tmp_path, capsys):
    minimal.main("smoke", warm_up=2, updates=5, rollouts=8, root=tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("MLE:", "update"))]
    assert len(lines) == 6 and all("NLL_oracle" in line for line in lines)
