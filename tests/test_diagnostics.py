"""Signal to noise and cosine of RAL's gradient, from its parts."""

import math

import pytest
import torch
from small import tiny_prior, two_levels

from ralkit.diagnostics import gradient_cosine, gradient_snr, part_gradients
from ralkit.errors import RalkitError
from ralkit.ral import advantages, returns


@pytest.fixture
def tiny():
    return tiny_prior()


def test_snr_tells_signal_from_noise(tiny):
    codes = tiny.sample(2000, (2, 2))
    signal = (codes == 0).float().flatten(1)
    noise = torch.randn(len(codes), 4)
    A = advantages(returns(signal, 1.0), "leave-one-out")
    assert gradient_snr(part_gradients(tiny, codes, A)) > 5
    assert 0.5 < gradient_snr(part_gradients(tiny, codes, noise)) < 1.7


def test_a_share_in_parts_has_the_same_gradient():
    (_, bottom), (top_codes, codes), _ = two_levels()
    A = torch.randn(40, 64)
    whole = part_gradients(bottom, codes, A, top_codes, parts=4)
    in_parts = part_gradients(bottom, codes, A, top_codes, parts=4, at_once=3)
    torch.testing.assert_close(in_parts, whole, atol=1e-5, rtol=1e-4)


def test_cosine_of_expected_gradients(tiny):
    """Noise added to a gradient makes its mean's direction uncertain, but its expectation's no less alike."""
    codes = tiny.sample(4000, (2, 2))
    A = advantages(returns((codes == 0).float().flatten(1), 1.0), "leave-one-out")
    g = part_gradients(tiny, codes, A)
    assert len(part_gradients(tiny, codes[:3], A[:3])) == 3  # each roll-out a share
    with pytest.raises(RalkitError, match="at least 2 roll-outs"):
        part_gradients(tiny, codes[:1], A[:1])
    noisy = part_gradients(tiny, codes, A + torch.randn(len(codes), 1))
    assert gradient_cosine(g, -3 * g) == pytest.approx(-1, abs=1e-3)
    plain = torch.cosine_similarity(g.mean(0), noisy.mean(0), dim=0).item()
    assert gradient_cosine(g, noisy) > plain
    assert gradient_cosine(g, noisy) == pytest.approx(1, abs=0.1)


def test_snr_is_finite_for_all_finite_parts():
    """No reward anywhere gives parts that are exactly 0; parts that are all alike have no noise."""
    assert gradient_snr(torch.zeros(8, 5)) == 0.0
    assert gradient_snr(torch.ones(8, 5)) > 1e6
    noise = torch.randn(8, 500)
    for scale in (1e-44, 1e-30, 1e30, 3e37):
        assert 0.3 < gradient_snr(noise * scale) < 3
    assert gradient_snr(noise * 1e30) == pytest.approx(gradient_snr(noise), rel=1e-4)
    assert all(math.isfinite(gradient_snr(g)) for g in (torch.ones(8, 5), torch.eye(2), torch.full((2, 9), 3e38)))
    with pytest.raises(RalkitError, match="at least 2 parts"):
        gradient_snr(torch.ones(1, 5))


def test_a_reward_of_zero_everywhere_has_no_signal(tiny):
    codes = tiny.sample(16, (2, 2))
    assert gradient_snr(part_gradients(tiny, codes, torch.zeros(16, 4))) == 0.0
