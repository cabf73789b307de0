"""Training throughput of the VQ-VAEs and the priors: images a second, and the share of the matrix rate that is."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ralkit.course.presets import LevelsConfig, get_preset
from ralkit.prior import make_prior
from ralkit.ral import Adam, descend
from ralkit.vqvae import make_vqvae, vqvae_loss

from . import common


def stages(levels: LevelsConfig, size: int, device: str) -> dict[str, tuple]:
    """By name: how many images a step takes, and the step."""
    v, K, steps, shapes = levels.vqvae, levels.vqvae.K, {}, levels.shapes(size)
    model = make_vqvae(v, len(shapes)).to(device, memory_format=torch.channels_last)
    optimiser, x = Adam(model.parameters()), torch.rand(v.batch, 3, size, size, device=device)
    steps["VQ-VAE-2" if len(shapes) == 2 else "VQ-VAE"] = (
        v.batch,
        lambda: descend(vqvae_loss(model, x, v.beta)[0], optimiser),
    )
    for level, cfg in enumerate(levels.priors):
        prior = make_prior(cfg, K, K if level else None).to(device)
        own_and_above = shapes[max(level - 1, 0) : level + 1]
        codes = [torch.randint(K, (cfg.batch, *shape), device=device) for shape in own_and_above]
        own = Adam(prior.parameters())

        def step(prior=prior, own=own, codes=codes) -> None:
            descend(-prior.log_prob(codes[-1], *codes[:-1]).sum((1, 2)).mean(), own)

        steps["prior, {}x{} codes".format(*shapes[level])] = cfg.batch, step
    return steps


def main() -> None:
    """Time every kind of step of the preset, write the table."""
    chosen = common.options(__doc__, preset=(str, "quick", "smoke, quick or gpu"))
    preset, rate, rows = get_preset(chosen.preset), common.matrix_rate(chosen.device), []
    oracle = LevelsConfig(preset.vqvae, (preset.oracle,))
    for name, levels, size in (
        ("oracle experiment", oracle, preset.size),
        ("images, 1 level", preset.images.one, preset.images.size),
        ("images, 2 levels", preset.images.two, preset.images.size),
    ):
        for stage, (batch, step) in stages(levels, size, chosen.device).items():
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
