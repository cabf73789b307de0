"""Exact resume: a run killed at any moment and started again ends with the same bits."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from conftest import make_prior

from ralkit import store
from ralkit.prior import PriorConfig
from ralkit.ral import Adam, RalConfig, make_critic, ral_iteration
from ralkit.training import critic_adam, seeded, train_mle, train_ral, train_vqvae, warm_critic
from ralkit.vqvae import VQVAE, VQVAEConfig

CODES = torch.randint(7, (64, 4, 4), generator=torch.Generator().manual_seed(5))


class Killed(Exception):
    pass


def run_vqvae(checkpoint, **options):
    torch.manual_seed(0)
    model = VQVAE(1, 8, 4, 7, 4)
    images = torch.randint(256, (32, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    cfg = VQVAEConfig(batch=8, steps=12)
    history = train_vqvae(model, images, images[:8], cfg, seed=3, checkpoint=checkpoint, points=3, **options)
    return model.state_dict(), history


def run_mle(checkpoint, **options):
    prior = make_prior()
    prior.layers[0].dropout.p = 0.3  # draws from the global generator, whose state must be kept as well
    cfg = PriorConfig(batch=8, steps=12)
    watch = lambda: {"x": torch.rand(()).item()}  # noqa: E731
    history = train_mle(prior, CODES, cfg, evaluate=watch, name="p", seed=3, checkpoint=checkpoint, points=3, **options)
    return prior.state_dict(), history


def run_ral(checkpoint, changes={}, dropout=0.0, **options):  # noqa: B006
    prior = make_prior()
    for layer in prior.layers:
        layer.dropout.p = dropout
    cfg = RalConfig(
        rollouts=8, critic_batch=4, critic_updates=2, warmup=3, updates=12, lr_prior=1e-2, critic_channels=4,
        critic_stages=2, baseline="leave-one-out",
    )  # fmt: skip
    cfg = replace(cfg, **changes)
    with seeded(1):
        critic = make_critic(cfg)
    decode = lambda c: torch.eye(7)[c].movedim(-1, 1)[:, :3].repeat_interleave(4, 2).repeat_interleave(4, 3)  # noqa: E731
    optimiser, world = critic_adam(critic, cfg), (decode, (CODES,), cfg)
    warm_critic(critic, optimiser, (prior,), *world, seed=3)
    history = train_ral(
        (prior,), critic, optimiser, *world, name="r", seed=3, checkpoint=checkpoint, points=3, **options
    )
    return prior.state_dict() | {f"critic.{k}": v for k, v in critic.state_dict().items()}, history


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("run", [run_vqvae, run_mle, run_ral])
@pytest.mark.parametrize("at", [1, 5, 11])
def test_resume_is_exact(run, at, tmp_path, monkeypatch, always_saving):
    whole, history = run(None)
    checkpoint = tmp_path / "c"
    writes, write = [], store.write

    def write_then_die(path, content):
        write(path, content)
        writes.append(content["step"])
        if len(writes) == at:
            raise Killed

    monkeypatch.setattr(store, "write", write_then_die)
    with pytest.raises(Killed):
        run(checkpoint, save_minutes=0)
    assert writes == list(range(at))
    monkeypatch.setattr(store, "write", write)
    torch.rand(17)  # another state of the global generator
    resumed, history_2 = run(checkpoint)
    assert same(whole, resumed)
    history.pop("seconds"), history_2.pop("seconds")
    assert history == history_2


def test_a_batch_in_parts_gives_the_same_run():
    a, b = {}, {}
    for state, at_once in ((a, None), (b, 3)):
        prior = make_prior()
        options = {"evaluate": dict, "name": "p", "seed": 3, "points": 1, "at_once": at_once}
        history = train_mle(prior, CODES, PriorConfig(batch=8, steps=3), **options)
        state |= prior.state_dict() | {"NLL": torch.tensor(history["NLL_train"])}
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, atol=1e-5, rtol=1e-5)


CHILD = """
import sys, time, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_training
step_time = float(sys.argv[2])
import ralkit.training as training
original = training.descend
training.descend = lambda *a: (time.sleep(step_time), original(*a))[1]
training.SAVING = float("inf")
state, _ = test_training.run_mle(Path(sys.argv[1]), save_minutes=0)
torch.save(state, sys.argv[1] + ".end")
"""


def test_kill_9(tmp_path):
    """The real thing: a process killed by SIGKILL in the middle, then another that goes on."""
    whole, _ = run_mle(None)
    code = CHILD.format(tests=os.path.dirname(__file__))
    command = [sys.executable, "-c", code, str(tmp_path / "c")]
    victim = subprocess.Popen([*command, "0.5"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "c").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "c.end").exists()
    assert store.read(tmp_path / "c")["step"] < 12
    done = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    assert "continues at step" in done.stdout
    assert same(whole, torch.load(tmp_path / "c.end", weights_only=True))


def test_evaluation_does_not_change_the_run():
    a, _ = run_mle(None)
    prior = make_prior()
    prior.layers[0].dropout.p = 0.3
    train_mle(prior, CODES, PriorConfig(batch=8, steps=12), evaluate=dict, name="p", seed=3, points=1)
    assert same(a, prior.state_dict())


def test_ral_trains_without_dropout_also_when_it_is_evaluated():
    """Also the network that is differentiated is the one that was sampled from, and the critic's warm-up saw."""
    plain, _ = run_ral(None)
    evaluated, _ = run_ral(None, dropout=0.5, evaluate=lambda: {"x": torch.rand(()).item()})
    assert same(plain, evaluated)


def test_the_callers_random_numbers_go_on():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    run_mle(None)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("run", [run_vqvae, run_mle])
def test_bfloat16_steps_end_near(run):
    """The same random numbers, rounded steps: other bits, nearly the same weights, which are float32."""
    (plain, _), (rough, _) = run(None), run(None, bf16=True)
    assert all(v.dtype == plain[k].dtype for k, v in rough.items())
    floats = [k for k, v in plain.items() if v.is_floating_point() and "weight" in k]
    assert any(not torch.equal(plain[k], rough[k]) for k in floats)
    for k in floats:
        assert (plain[k] - rough[k]).norm() <= 0.2 * plain[k].norm(), k


def test_bfloat16_ral_learns():
    """Rounding changes what is sampled, so only this: it runs, ends finite, and moves the prior."""
    (rough, history), start = run_ral(None, bf16=True), make_prior().state_dict()
    assert all(v.isfinite().all() for v in rough.values())
    assert all(not torch.equal(v, rough[k]) for k, v in start.items())
    assert all(abs(x) < float("inf") for values in history.values() for x in values)


@pytest.mark.parametrize("loss", ["wgan-gp", "logistic-r1"])
def test_bfloat16_leaves_the_critic_and_its_scores_as_they_are(loss):
    """Autocast keeps the first copy that it makes of a weight, through all updates of the critic in an iteration."""
    cfg = RalConfig(
        rollouts=4, critic_batch=4, critic_updates=3, critic_loss=loss, critic_channels=4, critic_stages=1, kl=1.0
    )
    codes, critics, scores = (torch.randint(7, (8, 2, 2)),), [], []
    for bf16 in (False, True):
        with seeded(0):
            prior, vqvae, critic = make_prior(), VQVAE(1, 8, 4, 7, 4).eval(), make_critic(cfg)
            optimisers = Adam(prior.parameters(), 0.01), Adam(critic.parameters(), 0.01)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logs = ral_iteration(
                    [prior], vqvae.decode, critic, *optimisers, codes, cfg, reference=[make_prior(scale=1.5)]
                )
        assert all(not torch.equal(*pair) for pair in zip(prior.parameters(), make_prior().parameters(), strict=True))
        critics.append(torch.nn.utils.parameters_to_vector(critic.parameters()))
        scores.append(logs["reward"])
    assert torch.equal(*critics) and torch.equal(*scores)


@pytest.mark.cuda
def test_steps_in_bfloat16_on_cuda(cuda):
    """Autocast is on in the steps, and near: the losses differ, by little. float32 on both sides of it."""
    prior_losses, image_losses = [], []
    images = torch.randint(256, (32, 3, 8, 8), dtype=torch.uint8, device="cuda")
    for bf16 in (False, True):
        prior = make_prior().cuda()
        history = train_mle(
            prior, CODES.cuda(), PriorConfig(batch=8, steps=3), evaluate=dict, name="p", seed=3, points=1, bf16=bf16
        )
        prior_losses.append(history["NLL_train"][-1])
        torch.manual_seed(0)
        model = VQVAE(1, 8, 4, 7, 4).cuda()
        history = train_vqvae(model, images, images[:8], VQVAEConfig(batch=8, steps=3), seed=3, points=1, bf16=bf16)
        image_losses.append(history["mse"][-1])
        assert all(p.dtype == torch.float32 for net in (prior, model) for p in net.parameters())
    for exact, rough in (prior_losses, image_losses):
        assert 0 < abs(rough - exact) < 0.05 * exact
