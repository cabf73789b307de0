"""Two processes that train as one: their step is that of one process on the joined batch; and torchrun's whole run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import make_prior, make_snail
from torch import nn

from ralkit import distributed, ral, store, training
from ralkit.errors import RalkitError
from ralkit.ral import RalConfig, choose_rows, descend, make_critic, ral_iteration
from ralkit.training import fit, seeded
from ralkit.vqvae import VQVAE, VQVAE2, vqvae_loss

ROOT = Path(__file__).parents[1]
CPU = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # the environment of two processes
K, B = 7, 8
RAL = RalConfig(
    rollouts=B, critic_batch=B, critic_updates=1, critic_loss="logistic-r1", critic_channels=4, critic_stages=2,
    baseline="leave-one-out",
)  # fmt: skip


def fixed(*size: int, seed: int) -> torch.Tensor:
    return torch.randint(K, size, generator=torch.Generator().manual_seed(seed))


def numbers(*modules: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{i} {k}": v for i, m in enumerate(modules) for k, v in m.state_dict().items()}


# ---- Steps; each takes its rank's share of what one process takes whole ----


def vqvae_step(make) -> dict[str, torch.Tensor]:
    with seeded(1):
        model = make(2, 8, 4, K, 4)
    x = torch.rand(B, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    books = [m for m in model.modules() if hasattr(m, "revive_below")]
    for book in books:  # placed, and no vector dead: those that are drawn depend on the rank
        book.revive_below = -1.0
        book.placed.fill_(True)
        book.counts.fill_(3.0)
        book.sums.copy_(book.vectors * 3.0)
    loss, _ = vqvae_loss(model, distributed.local_rows(x))
    descend(loss, torch.optim.SGD(model.parameters(), 0.1))
    return numbers(model)


def mle_step() -> dict[str, torch.Tensor]:
    prior = make_prior()
    codes = distributed.local_rows(fixed(B, 4, 4, seed=3))
    descend(-prior.log_prob(codes).sum((1, 2)).mean(), torch.optim.SGD(prior.parameters(), 0.1))
    return numbers(prior)


def ral_step(cfg: RalConfig) -> dict[str, torch.Tensor]:
    priors = [make_snail(attention_layers=1), make_snail(K_condition=K, condition_layers=1)]
    with seeded(2):
        critic = make_critic(cfg)
    optimisers = [torch.optim.SGD(nn.ModuleList(part).parameters(), 1e-3) for part in (priors, [critic])]
    sampled = [fixed(2, B, n, n, seed=n) for n in (4, 8)]  # B maps for the critic, then B for the priors
    real = [fixed(2, B, n, n, seed=n + 1) for n in (4, 8)]
    take = lambda codes, n: tuple(torch.cat([distributed.local_rows(part) for part in c])[:n] for c in codes)  # noqa: E731
    ral.roll_out = lambda priors, codes, n, first, last: take(sampled, n)
    ral.draw_real = lambda codes, n, last: take(real, n)

    def decode(top, bottom):
        x = nn.functional.one_hot(bottom, K).float().movedim(-1, 1)[:, :3]
        return x + top.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None] / K

    share = replace(
        cfg, rollouts=distributed.local_batch(cfg.rollouts), critic_batch=distributed.local_batch(cfg.critic_batch)
    )
    ral_iteration(priors, decode, critic, *optimisers, tuple(c[0] for c in real), share)
    return numbers(*priors, critic)


STEPS = {
    "VQ-VAE": lambda: vqvae_step(VQVAE),
    "VQ-VAE-2": lambda: vqvae_step(VQVAE2),
    "MLE": mle_step,
    "RAL": lambda: ral_step(RAL),
    "RAL single, min-max": lambda: ral_step(replace(RAL, reward="single", normalise="min-max")),
}


class Killed(Exception):
    pass


def killed() -> None:
    raise Killed


def walk(checkpoint: Path | None, dies_at: int = -1, dies: Callable[[], None] = killed) -> dict[str, torch.Tensor]:
    """Six steps on random numbers; every step is saved."""
    with seeded(1):
        model = nn.Linear(3, 1)
    optimiser = torch.optim.Adam(model.parameters(), 0.1)

    def step(t: int) -> dict:
        if t == dies_at:
            dies()
        descend(model(torch.randn(4, 3)).square().mean(), optimiser)
        return {}

    parts = {"model": model, "optimiser": optimiser}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SAVING", float("inf"))  # however long the last one took
        fit("walk", parts, step, 6, seed=4, checkpoint=checkpoint, points=1, save_minutes=0)
    return numbers(model)


def of_a_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {name: step() for name, step in STEPS.items()}
    torch.manual_seed(rank)
    results["rows"] = {str(i): torch.tensor(choose_rows(16, True)) for i in range(10)}

    draws, model = [], nn.Linear(2, 2)  # other weights and other random numbers on each rank
    told = []
    fit(
        "x", {"model": model}, lambda t: draws.append(torch.rand(3)) or {}, 2, seed=5, points=1,
        on_point=lambda *a: told.append("point"), on_step=lambda *a: told.append("step"),
    )  # fmt: skip
    results["fit"], results["told"] = numbers(model) | {"draws": torch.stack(draws)}, told
    book = VQVAE(1, 8, 4, K, 4).codebook.train()
    book(torch.randn(2, 4, 4, 4))
    results["placed"] = numbers(book)
    results["whole"], checkpoint = walk(None), Path(folder) / "checkpoint"
    with pytest.raises(Killed):
        walk(checkpoint, dies_at=3)
    if rank == 0:  # which wrote it
        assert store.read(checkpoint)["step"] == 3
    results["resumed"] = walk(checkpoint)
    with pytest.raises(RalkitError, match="2 processes do not divide a batch of 7"):
        distributed.local_batch(7)
    torch.save(results, f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two ranks ends with; and the checkpoint of both."""
    folder = str(tmp_path_factory.mktemp("ranks"))
    torch.multiprocessing.spawn(of_a_rank, (folder,), nprocs=2)
    return *(torch.load(f"{folder}/{rank}", weights_only=True) for rank in (0, 1)), Path(folder) / "checkpoint"


@pytest.mark.parametrize("name", STEPS)
def test_two_ranks_step_as_one_process_on_the_joined_batch(name, results, monkeypatch):
    monkeypatch.setattr(ral, "roll_out", ral.roll_out)  # the step replaces them
    monkeypatch.setattr(ral, "draw_real", ral.draw_real)
    alone = STEPS[name]()
    for rank in (0, 1):
        for key, value in alone.items():
            torch.testing.assert_close(results[rank][name][key], value, atol=1e-5, rtol=1e-5, msg=f"{name}: {key}")


def test_ranks_agree_where_they_must(results):
    first, second, _ = results
    assert first["rows"].keys() == second["rows"].keys()
    for what in ("rows", "placed"):
        assert all(torch.equal(first[what][k], second[what][k]) for k in first[what])
    assert torch.equal(first["fit"]["0 weight"], second["fit"]["0 weight"])
    assert not torch.equal(first["fit"]["draws"], second["fit"]["draws"])


def test_rank_0_tells_of_the_progress(results):
    assert results[0]["told"] == ["step", "point", "step", "step", "point"]
    assert results[1]["told"] == []


def test_two_ranks_resume_exactly(results):
    for of_rank in results[:2]:
        assert all(torch.equal(of_rank["whole"][k], of_rank["resumed"][k]) for k in of_rank["whole"])


def test_one_process_goes_on_with_what_two_began(results):
    """From their weights and optimiser at step 3, but with random numbers that neither of the two has drawn."""
    saved = store.read(results[2])
    alone, again = walk(results[2]), walk(results[2])
    assert all(torch.equal(alone[k], again[k]) for k in alone)
    key = "0 weight"
    change = (alone[key] - saved["parts"]["model"]["weight"]).abs().max()
    assert 0 < change <= 3 * 0.1 * 1.5  # three steps of Adam from there, each about 0.1 at most
    assert not torch.equal(alone[key], results[0]["whole"][key])


def test_more_processes_than_gpus(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RalkitError, match=r"^process 2 of this machine finds 1 GPU\(s\)"), distributed.process_group():
        pass


LOST = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from test_distributed import walk
from ralkit import distributed

def lost():
    if distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)

folder, dies_at = Path(sys.argv[1]), int(sys.argv[2])
with distributed.process_group():
    torch.save(walk(folder / "checkpoint", dies_at, lost), folder / "end")
"""


def test_a_lost_rank_ends_the_run_and_the_same_command_goes_on(tmp_path, results):
    """One of two processes is killed by the system; torchrun ends the other, and both start again where they were."""
    script = tmp_path / "script.py"
    script.write_text(LOST.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", str(script)]
    environment = os.environ | CPU
    options = {"env": environment, "capture_output": True, "text": True, "timeout": 120, "check": False}
    run = lambda dies_at: subprocess.run([*command, str(tmp_path), str(dies_at)], **options)  # noqa: E731
    assert run(3).returncode != 0
    assert not (tmp_path / "end").exists()
    assert store.read(tmp_path / "checkpoint")["step"] == 3
    done = run(-1)
    assert done.returncode == 0, done.stderr
    assert "walk: continues at step 3 of 6" in done.stdout
    end = torch.load(tmp_path / "end", weights_only=True)
    assert all(torch.equal(end[k], results[0]["whole"][k]) for k in end)


def torchrun(root: Path, processes: int, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone", "-m"]
    command += ["ralkit", "train", "--preset", "smoke", "--generator", "1", *options]
    environment = os.environ | CPU
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_torchrun_trains_once_and_the_artefacts_are_found(tmp_path):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "environment.yml", tmp_path)
    options = ("--levels", "2", "--method", "RAL intermediate")
    done = torchrun(tmp_path, 2, *options)
    assert done.returncode == 0, done.stderr
    last = [line for line in done.stdout.splitlines() if line.startswith("RAL intermediate") and " 2/2 " in line]
    assert len(last) == 1  # rank 0 reports
    names = sorted(path.name for path in (tmp_path / "runs/smoke/artefacts").iterdir())
    assert not [name for name in names if name.endswith((".checkpoint", ".tmp"))]
    again = torchrun(tmp_path, 1, *options)
    assert again.returncode == 0, again.stderr
    assert again.stdout == ""
    assert names == sorted(path.name for path in (tmp_path / "runs/smoke/artefacts").iterdir())
