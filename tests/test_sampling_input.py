"""What cannot be sampled is refused with a sentence, by the cached sampler and the naive one; what can is right."""

import numpy as np
import pytest
import torch
from conftest import make_prior, make_snail

from ralkit.errors import RalkitError
from ralkit.sampling import LEAST_TEMPERATURE, choose, complete, sample_levels, sample_naive

SAMPLERS = {"cached": lambda prior, *args, **options: prior.sample(*args, **options), "naive": sample_naive}
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS)


def codes(*shape, dtype=torch.long):
    return torch.zeros(*shape, dtype=dtype)


def with_code(value, row=0):
    x = codes(3, 4, 4)
    x[2, row, 3] = value
    return x


KEEP = torch.eye(4).bool()
BAD = {
    "temperature 0": (dict(temperature=0), "the temperature is 0; it must be a finite number of at least 1e-06"),
    "temperature nan": (dict(temperature=float("nan")), "the temperature is nan"),
    "temperature inf": (dict(temperature=float("inf")), "the temperature is inf"),
    "temperature 1e-40": (dict(temperature=1e-40), "the temperature is 1e-40"),
    "temperature text": (dict(temperature="0.5"), "the temperature is 0.5"),
    "rows without codes": (dict(given_rows=2), r"codes of shape \(3, 4, 4\) must be given"),
    "places without codes": (dict(keep=KEEP), r"codes of shape \(3, 4, 4\) must be given"),
    "codes of a wider map": (dict(given_rows=2, given=codes(3, 4, 5)), r"of shape \(3, 4, 4\), not .*\(3, 4, 5\)"),
    "codes of fewer maps": (dict(given_rows=2, given=codes(2, 4, 4)), r"of shape \(3, 4, 4\), not .*\(2, 4, 4\)"),
    "codes that are floats": (dict(given_rows=2, given=torch.zeros(3, 4, 4)), "must be integers .*torch.float32"),
    "codes that are bools": (dict(keep=KEEP, given=codes(3, 4, 4, dtype=torch.bool)), "must be integers .*torch.bool"),
    "codes that are no tensor": (dict(keep=KEEP, given=np.zeros((3, 4, 4), int)), "must be integers .* not a ndarray"),
    "a code of K": (dict(given_rows=2, given=with_code(7)), "a given code is 7; this prior's codes are from 0 to 6"),
    "a negative code": (dict(given_rows=2, given=with_code(-1)), "a given code is -1"),
    "a kept code of K": (dict(keep=KEEP, given=with_code(7, row=3)), "a given code is 7"),
    "too many rows": (
        dict(given_rows=5, given=codes(3, 4, 4)),
        "given rows is 5; it must be a whole number from 0 to 4",
    ),
    "negative rows": (dict(given_rows=-1, given=codes(3, 4, 4)), "given rows is -1"),
    "rows that are no number": (dict(given_rows=1.5, given=codes(3, 4, 4)), "given rows is 1.5"),
    "places of another shape": (
        dict(keep=KEEP[:3], given=codes(3, 4, 4)),
        r"torch.bool of shape \(4, 4\), not .*\(3, 4\)",
    ),
    "places that are numbers": (dict(keep=KEEP.long(), given=codes(3, 4, 4)), "torch.bool of shape .* not torch.int64"),
}


@each_sampler
@pytest.mark.parametrize("case", BAD)
def test_bad_options(sampler, case):
    options, message = BAD[case]
    with pytest.raises(RalkitError, match=message):
        SAMPLERS[sampler](make_prior(), 3, (4, 4), **options)


@each_sampler
@pytest.mark.parametrize(
    ("n", "shape", "message"),
    [
        (0, (4, 4), "the number of maps is 0; it must be a whole number of at least 1"),
        (2.0, (4, 4), "the number of maps is 2.0"),
        (3, (0, 4), "a side of the map is 0"),
        (3, (4,), r"the shape of a map is \(4,\); it must be \(H, W\)"),
    ],
)
def test_bad_sizes(sampler, n, shape, message):
    with pytest.raises(RalkitError, match=message):
        SAMPLERS[sampler](make_prior(), n, shape)


@pytest.mark.parametrize("chunk", [0, -1, 1.5])
def test_bad_chunks(chunk):
    with pytest.raises(RalkitError, match=f"maps in a chunk is {chunk}; it must be a whole number of at least 1"):
        make_prior().sample(3, (4, 4), chunk=chunk)


@each_sampler
@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, "needs the codes of the level above"),
        (codes(2, 2, 2), r"the condition must be integers of shape \(3, h, w\), not .*\(2, 2, 2\)"),
        (codes(1, 2, 2), r"of shape \(3, h, w\), not .*\(1, 2, 2\)"),
        (codes(3, 4), r"of shape \(3, h, w\), not .*\(3, 4\)"),
        (torch.zeros(3, 2, 2), "must be integers .*torch.float32"),
        (codes(3, 3, 2), r"belongs to 3 maps of 6 x 4 codes, but there are 3 maps of 4 x 4"),
        (codes(3, 2, 1), r"belongs to 3 maps of 4 x 2 codes, but there are 3 maps of 4 x 4"),
    ],
)
def test_bad_conditions(sampler, condition, message):
    with pytest.raises(RalkitError, match=message):
        SAMPLERS[sampler](make_snail(K_condition=5), 3, (4, 4), condition)


@each_sampler
def test_a_prior_without_a_conditioning_network_takes_no_condition(sampler):
    with pytest.raises(RalkitError, match="no conditioning network"):
        SAMPLERS[sampler](make_prior(), 3, (4, 4), codes(3, 2, 2))


def test_log_prob_refuses_a_condition_of_another_batch_and_a_bad_temperature():
    prior = make_snail(K_condition=5)
    with pytest.raises(RalkitError, match="belongs to 1 maps of 4 x 4 codes, but there are 3 maps of 4 x 4"):
        prior.log_prob(codes(3, 4, 4), codes(1, 2, 2))
    with pytest.raises(RalkitError, match="the temperature is 0"):
        prior.log_prob(codes(3, 4, 4), codes(3, 2, 2), temperature=0)


@each_sampler
def test_codes_that_are_not_kept_may_be_anything(sampler):
    """A map that is known in part has something else in its other places."""
    given = torch.full((3, 4, 4), -1)
    given[:, 0], given[:, KEEP] = 6, 2
    drawn = SAMPLERS[sampler](make_prior(), 3, (4, 4), given=given, given_rows=1, keep=KEEP)
    assert (drawn[:, 0, 1:] == 6).all() and (drawn[:, KEEP] == 2).all()
    assert drawn.min() >= 0 and drawn.max() < 7


@each_sampler
def test_numbers_of_numpy_are_numbers(sampler):
    draw = lambda n, side, rows, temperature: SAMPLERS[sampler](  # noqa: E731
        make_prior(), n, (side, side), temperature=temperature, given=codes(3, 4, 4), given_rows=rows,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert torch.equal(draw(np.int64(3), np.int64(4), np.int64(1), np.float32(0.5)), draw(3, 4, 1, 0.5))
    with pytest.raises(RalkitError, match=r"of shape \(2, 4, 4\), not .*\(3, 4, 4\)"):
        draw(np.int64(2), 4, 1, 0.5)


@each_sampler
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_codes_of_any_integer_type(sampler, dtype):
    prior, condition, given = make_snail(K_condition=5), torch.randint(5, (3, 2, 2)), torch.randint(7, (3, 4, 4))
    draw = lambda *args, **options: SAMPLERS[sampler](  # noqa: E731
        prior, 3, (4, 4), *args, given_rows=2, generator=torch.Generator().manual_seed(0), **options
    )
    assert torch.equal(draw(condition.to(dtype), given=given.to(dtype)), draw(condition, given=given))


@each_sampler
def test_the_coldest_temperature_takes_the_likeliest_code(sampler):
    prior = make_prior(scale=4)
    drawn = SAMPLERS[sampler](prior, 20, (3, 3), temperature=LEAST_TEMPERATURE)
    with torch.no_grad():
        assert torch.equal(drawn, prior(drawn).argmax(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_cold_logits_of_any_type_are_finite(dtype):
    """In float16 the logits themselves would become infinite, and every code K - 1."""
    logits = torch.tensor([[1.0, 60.0, 59.0, -60.0]], dtype=dtype)
    assert choose(logits, torch.tensor([[0.999]]), LEAST_TEMPERATURE).item() == 1


def test_every_level_needs_its_options():
    priors = make_prior(), make_snail(K_condition=7)
    with pytest.raises(RalkitError, match="`shape` has 1 values for 2 levels"):
        sample_levels(priors, 2, [(2, 2)])
    with pytest.raises(RalkitError, match="`temperature` has 1 values for 2 levels"):
        sample_levels(priors, 2, [(2, 2), (4, 4)], temperatures=[0.5])


@pytest.mark.parametrize(
    ("real", "keep", "options", "message"),
    [
        ((codes(3, 4, 4), codes(3, 8, 8)), KEEP, dict(tries=0), "the number of tries is 0"),
        ((codes(3, 4, 4), codes(3, 8, 8)), KEEP, dict(temperature=0), "the temperature is 0"),
        ((codes(3, 4, 4),), KEEP, {}, "codes of 1 levels and priors of 2"),
        ((codes(3, 4, 4), codes(2, 8, 8)), KEEP, {}, r"of shape \(3, H, W\), not .*\(2, 8, 8\)"),
        ((codes(3, 4, 4), torch.zeros(3, 8, 8)), KEEP, {}, "must be integers .*torch.float32"),
        ((codes(3, 4, 4), codes(3, 8, 4)), KEEP, {}, r"of shape \(3, 8, 4\) cannot lie below .*\(4, 4\)"),
        ((codes(3, 4, 4), codes(3, 9, 9)), KEEP, {}, r"of shape \(3, 9, 9\) cannot lie below .*\(4, 4\)"),
        ((codes(3, 4, 4), codes(3, 8, 8)), KEEP[:2], {}, r"torch.bool of shape \(4, 4\), not .*\(2, 4\)"),
        ((codes(3, 4, 4), codes(3, 8, 8)), KEEP.float(), {}, "torch.bool of shape .* not torch.float32"),
        ((with_code(7), codes(3, 8, 8)), ~KEEP, {}, "a given code is 7"),
    ],
)
def test_bad_completions(real, keep, options, message):
    priors = make_prior(), make_snail(K_condition=7)
    with pytest.raises(RalkitError, match=message):
        complete(priors, real, keep, **options)
