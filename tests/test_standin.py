"""What runs on a GPU, on a stand-in for one: see standin."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_prior, make_snail
from standin import stand_in

from ralkit import __main__ as cli
from ralkit.course.oracle import OracleWorld
from ralkit.course.runs import METHODS
from ralkit.course.study import Study
from ralkit.course.trainer import Fitting
from ralkit.course.world import World
from ralkit.graphs import RECORDERS
from ralkit.ral import Adam, RalConfig, descend, make_critic, ral_iteration
from ralkit.sampling import complete
from ralkit.vqvae import VQVAE, VQVAE2, vqvae_loss


@pytest.mark.cuda
@pytest.mark.parametrize(
    "allowed",
    [
        lambda cpu, gpu: gpu * torch.tensor(2.0),
        lambda cpu, gpu: gpu[torch.tensor([0, 2])],
        lambda cpu, gpu: gpu[cpu > 0],
        lambda cpu, gpu: gpu.copy_(cpu),
        lambda cpu, gpu: gpu.__setitem__(slice(0, 3), cpu),
        lambda cpu, gpu: gpu.__setitem__(torch.tensor([0]), torch.tensor(1.0)),
        lambda cpu, gpu: np.asarray(gpu.cpu()),
        lambda cpu, gpu: gpu.to(cpu) + cpu,
        lambda cpu, gpu: gpu.to("cpu", torch.double) + cpu,
        lambda cpu, gpu: cpu.to(gpu) + gpu,
        lambda cpu, gpu: cpu.to(gpu.device, memory_format=torch.preserve_format) + gpu,
        lambda cpu, gpu: torch.zeros_like(gpu, device="cpu") + cpu,
        lambda cpu, gpu: gpu.new_zeros(3) + gpu,
        lambda cpu, gpu: gpu.view(3, 1).mT + gpu.clone().double(),
        lambda cpu, gpu: torch.rand(3, device="cuda", generator=torch.Generator("cuda")) + gpu,
    ],
)
def test_what_a_gpu_allows(allowed, cuda):
    allowed(torch.ones(3), torch.ones(3, device="cuda"))


@pytest.mark.cuda
@pytest.mark.parametrize(
    "refused",
    [
        lambda cpu, gpu: gpu + cpu,
        lambda cpu, gpu: gpu.add_(cpu),
        lambda cpu, gpu: torch.add(gpu, gpu, out=cpu),
        lambda cpu, gpu: F.mse_loss(gpu, cpu),
        lambda cpu, gpu: torch.cat([gpu, cpu]),
        lambda cpu, gpu: torch.stack([gpu[0], torch.tensor(1.0)]),
        lambda cpu, gpu: cpu[torch.tensor([0, 2], device="cuda")],
        lambda cpu, gpu: cpu[gpu > 0],
        lambda cpu, gpu: gpu.__setitem__(torch.tensor([0, 1, 2]), cpu),
        lambda cpu, gpu: torch.where(cpu > 0, gpu, 0.0),
        lambda cpu, gpu: F.embedding(torch.tensor([0]), gpu[:, None]),
        lambda cpu, gpu: np.asarray(gpu),
        lambda cpu, gpu: gpu.numpy(),
        lambda cpu, gpu: torch.nn.Linear(3, 1)(gpu),
        lambda cpu, gpu: torch.nn.Linear(3, 1).cuda()(cpu),
        lambda cpu, gpu: copy.deepcopy(gpu) + cpu,
        lambda cpu, gpu: torch.rand(3, device="cuda", generator=torch.Generator()),
        lambda cpu, gpu: torch.rand(3, generator=torch.Generator("cuda")),
    ],
)
def test_what_a_gpu_refuses(refused, cuda):
    with pytest.raises((RuntimeError, TypeError)):
        refused(torch.ones(3), torch.ones(3, device="cuda"))


@pytest.mark.cuda
def test_gradients_and_steps_are_where_the_weights_are(cuda):
    net = torch.nn.Linear(3, 1).cuda()
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    net(torch.ones(2, 3, device="cuda")).sum().backward()
    optimiser.step()
    state = optimiser.state[net.weight]
    assert {x.device.type for x in (net.weight, net.weight.grad, *state.values())} == {"cuda"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a capture that failed can spoil those after it")
@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu", torch.double),
        lambda x: x.copy_(torch.ones(3)),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: torch.bincount(x.long()),
    ],
)
def test_what_waits_cannot_be_recorded(waits, cuda):
    x = torch.ones(3, device="cuda")
    waits(x)
    with pytest.raises((RuntimeError, AssertionError)):
        RECORDERS["cuda"](lambda: waits(x), x.device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the stand-in is for machines without a GPU")
def test_no_step_of_training_waits():
    with stand_in() as mode:
        vqvae, prior = VQVAE2(1, 8, 4, 7, 4).cuda(), make_snail(attention_layers=1).cuda()
        cfg = RalConfig(rollouts=4, critic_batch=4, critic_channels=4, critic_stages=1)
        critic, bottom = make_critic(cfg).cuda(), make_prior().cuda()
        optimisers = [Adam(net.parameters(), 0.01) for net in (vqvae, prior, bottom, critic)]
        images, codes = (torch.rand(8, 3, 16, 16, device="cuda"), torch.randint(7, (8, 4, 4), device="cuda"))
        decode = VQVAE(1, 8, 4, 7, 4).cuda().eval().decode
        steps = {
            "VQ-VAE-2": lambda: descend(vqvae_loss(vqvae, images, 0.25)[0], optimisers[0]),
            "MLE": lambda: descend(-prior.log_prob(codes).mean(), optimisers[1]),
            "RAL": lambda: ral_iteration([bottom], decode, critic, *optimisers[2:], (codes,), cfg),
        }
        for step in steps.values():
            step()
        mode.hurried = True
        for step in steps.values():
            step()
        with pytest.raises(RuntimeError, match="waits for a result"):
            codes.sum().item()


# The runs that have code of their own; the others differ in numbers.
DIFFERENT = (
    "RAL anchored", "RAL, true reward", "RAL partial", "RAL patches single", "RAL without baseline",
    "RAL without layer norm", "RAL WGAN-GP", "RAL literal",
)  # fmt: skip


@pytest.mark.cuda
def test_the_oracle_experiment(cuda, tiny, tmp_path):
    study = Study(OracleWorld(tiny, root=tmp_path))
    assert study.world.device.type == "cuda"
    for method in (*METHODS, *DIFFERENT):
        assert all(abs(v) < float("inf") for v in study.measure(method, 1).values()), method


@pytest.mark.cuda
@pytest.mark.parametrize(("levels", "bf16"), [(1, False), (2, True)])
def test_the_image_experiments(cuda, levels, bf16, tmp_path):
    world = World("smoke", root=tmp_path, levels=levels, fitting=Fitting(bf16=bf16))
    study = Study(world)
    for row in (study.measure("RAL partial", 1), study.measure_completion("RAL partial", 1, 2)):
        assert all(abs(v) < float("inf") for v in row.values())
    real, keep = [c[:3] for c in world.codes["test"]], torch.rand(*world.shapes[0]) < 0.5
    completed = complete(study.generator("RAL partial", 1), real, keep, tries=2)
    assert torch.equal(completed[0][:, keep], real[0][:, keep].long())


@pytest.mark.cuda
def test_the_check_of_a_preset(cuda, capsys):
    assert cli.main(["presets", "--check", "smoke"]) == 0
    assert " GiB of memory." in capsys.readouterr().out
