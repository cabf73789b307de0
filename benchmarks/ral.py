"""One RAL iteration, split into what it does: sampling, decoding, the critic's updates, scoring, the priors' update.

The presets' sizes with untrained networks: what takes time does not depend on the weights.
"""

import torch

from ralkit.course.costs import experiments
from ralkit.course.presets import WorldConfig, get_preset
from ralkit.course.trainer import in_batches
from ralkit.protocols import own_and_above
from ralkit.ral import (
    Adam,
    critic_update,
    descend,
    draw_real,
    make_critic,
    policy_gradient_loss,
    roll_out,
    score_advantages,
)
from ralkit.vqvae import make_vqvae

from . import common


def split(world: WorldConfig, device: str) -> dict[str, float]:
    """Seconds of each part of an iteration."""
    torch.manual_seed(0)
    cfg, K, shapes = world.ral, world.vqvae.K, world.shapes
    coder = make_vqvae(world.vqvae, len(shapes)).to(device, memory_format=torch.channels_last).eval()
    models = common.priors_of(world, device)
    critic = make_critic(cfg).to(device, memory_format=torch.channels_last)
    optimisers = [Adam(torch.nn.ModuleList(m).parameters(), 0.0) for m in ([critic], models)]
    data = tuple(torch.randint(K, (2000, *shape), device=device) for shape in shapes)
    H, n, batch = shapes[0][0], cfg.critic_updates * cfg.critic_batch, cfg.critic_batch
    decode = lambda codes: in_batches(coder.decode, *codes)  # noqa: E731

    codes = roll_out(models, data, n + cfg.rollouts, 0, H)
    fake, real = decode(codes), decode(draw_real(data, n + batch, H))

    def critic_learns() -> None:
        for k in range(cfg.critic_updates):
            part = slice(k * batch, (k + 1) * batch)
            critic_update(critic, optimisers[0], real[part], fake[part], cfg)

    @torch.no_grad()
    def score() -> tuple[torch.Tensor, torch.Tensor]:
        return critic(fake[n:]), critic(real[n:])

    def priors_learn() -> None:
        loss, maps = 0.0, score()
        for level, prior in enumerate(models):
            A = score_advantages(*maps, shapes[level], cfg)
            log_prob = prior.log_prob(*(c[n:] for c in own_and_above(codes, level))).flatten(1)
            loss = loss + policy_gradient_loss(log_prob, A)
        descend(loss, optimisers[1])

    took = {
        "sampling": common.best(lambda: roll_out(models, data, n + cfg.rollouts, 0, H), device),
        "decoding": common.best(lambda: (decode(codes), decode(draw_real(data, n + batch, H))), device),
        "critic": common.best(critic_learns, device),
        "scoring": common.best(score, device),
    }
    return took | {"priors": common.best(priors_learn, device) - took["scoring"]}


def main() -> None:
    """Time every kind of RAL that the preset has, write the table."""
    chosen = common.options(__doc__, preset=(str, "quick", "preset"))
    preset, rows = get_preset(chosen.preset), []
    for name, world in experiments(preset).items():
        took = split(world, chosen.device)
        whole = sum(took.values())
        shares = {f"{part}, s": t for part, t in took.items()}
        rows.append({"RAL on": name, **shares, "all, s": whole, "share of sampling": took["sampling"] / whole})
    common.report("ral", rows, chosen.device, f"One RAL iteration of the preset {chosen.preset}, full generation.")


if __name__ == "__main__":
    common.run(main)
