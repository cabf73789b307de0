"""The critic's losses against closed forms."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ralkit.critic import NORMS, PatchCritic, image_score, logistic_r1, squared_gradient, wgan_gp
from ralkit.errors import RalkitError


class LinearCritic(nn.Module):
    """Two scores an image, the mean of which is <w, x>."""

    def __init__(self, shape):
        super().__init__()
        self.w = nn.Parameter(torch.randn(shape))

    def forward(self, x):
        score = (self.w * x).flatten(1).sum(1)
        return torch.stack([score - 1, score + 1], 1)[:, None]


def test_gradient_penalty_of_a_linear_critic():
    critic = LinearCritic((3, 4, 4))
    real, fake = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    size = critic.w.norm()
    expected = critic(fake).mean() - critic(real).mean() + 10 * (size - 1) ** 2
    torch.testing.assert_close(wgan_gp(critic, real, fake, 10.0), expected)
    expected = F.softplus(critic(fake)).mean() + F.softplus(-critic(real)).mean() + 5 * size**2
    torch.testing.assert_close(logistic_r1(critic, real, fake, 10.0), expected)


def test_penalty_is_per_image():
    """The gradient of one image's score does not depend on the batch, and its norm runs over all its pixels."""
    critic, x = PatchCritic(2, 4, "layer"), torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(squared_gradient(critic, x)[2:3], squared_gradient(critic, x[2:3]))
    one = x[:1].clone().requires_grad_()
    (g,) = torch.autograd.grad(image_score(critic(one))[0], one)
    torch.testing.assert_close(squared_gradient(critic, x)[0], g.square().sum())


def test_interpolates_between_real_and_fake(monkeypatch):
    """Where the critic is only flat beyond both sets, the penalty sees the line between them, not its ends."""
    seen = []
    critic = LinearCritic((3, 2, 2))
    monkeypatch.setattr("ralkit.critic.squared_gradient", lambda c, x: seen.append(x) or torch.ones(len(x)))
    wgan_gp(critic, torch.ones(64, 3, 2, 2), torch.zeros(64, 3, 2, 2))
    epsilon = seen[0][:, 0, 0, 0]
    assert (seen[0] == epsilon[:, None, None, None]).all()
    assert epsilon.min() < 0.2
    assert epsilon.max() > 0.8


def test_r1_is_that_of_every_fourth_real_image(monkeypatch):
    seen = []
    monkeypatch.setattr("ralkit.critic.squared_gradient", lambda c, x: seen.append(x) or torch.ones(len(x)))
    real = torch.randn(8, 3, 4, 4)
    critic = LinearCritic((3, 4, 4))
    loss = logistic_r1(critic, real, real, 10.0)
    assert torch.equal(seen[0], real[[0, 4]])
    torch.testing.assert_close(loss, F.softplus(critic(real)).mean() + F.softplus(-critic(real)).mean() + 5)


@pytest.mark.parametrize(("stages", "size", "side"), [(3, 32, 4), (5, 128, 4), (2, 24, 6)])
def test_score_map_size(stages, size, side):
    assert PatchCritic(stages, 4)(torch.zeros(2, 3, size, size)).shape == (2, side, side)


@pytest.mark.parametrize(("norm", "local"), [("none", True), ("channel", True), ("layer", False)])
def test_a_score_sees_its_patch_alone_unless_the_norm_is_the_images(norm, local):
    """Score (i, i) of s stages sees the pixels 2^s (i - 2) + 1 to 2^s (i + 3) - 2: with s = 2 and i = 8, 25 to 42."""
    critic, x = PatchCritic(2, 8, norm), torch.randn(1, 3, 64, 64, requires_grad=True)
    (g,) = torch.autograd.grad(critic(x)[0, 8, 8], x)
    seen = g[0].abs().sum(0)
    assert (seen[25:43, 25:43] > 0).all()
    seen[25:43, 25:43] = 0
    assert (seen == 0).all() == local


def test_channel_norm_is_that_of_each_place():
    norm, x = NORMS["channel"](5), torch.randn(2, 5, 3, 4)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())


def test_unknown_norm():
    with pytest.raises(RalkitError, match="must be one of none, layer, channel"):
        PatchCritic(2, 4, "batch")
