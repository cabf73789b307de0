"""Training throughput of the VQ-VAEs and the priors: images a second, and the share of the matrix rate that is."""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from ralkit.course.costs import experiments
from ralkit.course.presets import WorldConfig, get_preset
from ralkit.prior import make_prior
from ralkit.protocols import own_and_above
from ralkit.ral import Adam, descend
from ralkit.vqvae import make_vqvae, vqvae_loss

from . import common


def stages(world: WorldConfig, device: str) -> dict[str, tuple]:
    """By name: how many images a step takes, and the step."""
    v, K, steps, shapes, size = world.vqvae, world.vqvae.K, {}, world.shapes, world.size
    model = make_vqvae(v, len(shapes)).to(device, memory_format=torch.channels_last)
    optimiser, x = Adam(model.parameters()), torch.rand(v.batch, 3, size, size, device=device)
    steps["VQ-VAE-2" if len(shapes) == 2 else "VQ-VAE"] = (
        v.batch,
        lambda: descend(vqvae_loss(model, x, v.beta)[0], optimiser),
    )
    for level, cfg in enumerate(world.priors):
        prior = make_prior(cfg, K, K if level else None).to(device)
        codes = own_and_above([torch.randint(K, (cfg.batch, *shape), device=device) for shape in shapes], level)
        own = Adam(prior.parameters())

        def step(prior=prior, own=own, codes=codes) -> None:
            descend(-prior.log_prob(*codes).sum((1, 2)).mean(), own)

        steps["prior, {}x{} codes".format(*shapes[level])] = cfg.batch, step
    return steps


def main() -> None:
    """Time every kind of step of the preset, write the table."""
    chosen = common.options(__doc__, preset=(str, "quick", "smoke, quick or gpu"))
    preset, rate, rows = get_preset(chosen.preset), common.matrix_rate(chosen.device), []
    for name, world in experiments(preset).items():
        if world.oracle is not None:  # the larger of its two priors
            world = replace(world, priors=(world.oracle,))
        for stage, (batch, step) in stages(world, chosen.device).items():
            with FlopCounterMode(display=False) as counter:
                step()
            took = common.best(step, chosen.device)
            least = counter.get_total_flops() / rate
            rows.append({"of": name, "stage": stage, "batch": batch, "step, s": took, "images a second": batch / took,
                         "arithmetic floor, s": least, "floor / step": least / took})  # fmt: skip
    about = f"One optimiser step of the preset {chosen.preset}. Matrix rate {rate / 1e9:.0f} GFLOP/s."
    common.report("training", rows, chosen.device, about)


if __name__ == "__main__":
    common.run(main)
