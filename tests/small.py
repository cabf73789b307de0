"""What the tests of RAL share: priors small enough to enumerate, stand-ins for a decoder, a small configuration."""

import itertools
from dataclasses import replace

import torch
from conftest import make_prior, make_snail

from ralkit.ral import RalConfig

MAPS = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)  # all 81 maps of 2x2 codes


def tiny_prior():
    """A prior of 3 symbols, for MAPS."""
    return make_prior(K=3, channels=4, layers=1, k=3, output_layers=0)


def flat_gradient(loss, prior):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(prior.parameters()))])


def small_ral(**changes):
    cfg = RalConfig(
        rollouts=64, critic_batch=8, critic_updates=2, critic_channels=4, critic_stages=2, lr_prior=1e-2,
        baseline="leave-one-out", normalise="none",
    )  # fmt: skip
    return replace(cfg, **changes)


def one_hot_images(codes):
    """A stand-in for the decoder: code k of a map becomes a square of colour channel k."""
    return torch.eye(3)[codes].movedim(-1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)


def two_levels():
    """Two priors, and codes of both levels of 40 real images; a stand-in for their decoder."""
    priors = (make_snail(K=3, attention_layers=1, layers=1), make_snail(K=3, K_condition=3, layers=1))
    codes = (torch.randint(3, (40, 4, 4)), torch.randint(3, (40, 8, 8)))

    def decode(top, bottom):
        assert 2 * top.shape[1] == bottom.shape[1]
        return one_hot_images(bottom) + one_hot_images(top.repeat_interleave(2, 1).repeat_interleave(2, 2))

    return priors, codes, decode
