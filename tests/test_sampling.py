"""The cached sampler against full forward passes, and its distribution against exact probabilities."""

import itertools

import pytest
import torch
from conftest import make_prior, make_snail, random_condition
from standin import Recording

from ralkit.diagnostics import cached_logits
from ralkit.errors import RalkitError
from ralkit.graphs import RECORDERS
from ralkit.prior import Attention, GatedLayer, SnailBlock
from ralkit.sampling import choose, complete, sample_levels, sample_naive

VARIANTS = {
    "one layer": lambda: make_prior(layers=1, k=3),
    "PixelCNN": lambda: make_prior(layers=3, k=5),
    "no output stack": lambda: make_prior(layers=2, k=7, output_layers=0),
    "deep": lambda: make_prior(layers=5, k=5, output_layers=3),
    "PixelSNAIL": lambda: make_snail(layers=3, k=5),
    "attention": lambda: make_snail(attention_layers=1),
    "two attentions": lambda: make_snail(layers=4, attention_layers=2),
    "bottom": lambda: make_snail(K_condition=5, condition_layers=1),
    "bottom with attention": lambda: make_snail(K_condition=5, attention_layers=2),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("batch", "shape"), [(1, (4, 4)), (3, (6, 10)), (17, (8, 2)), (2, (2, 6))])
@pytest.mark.parametrize("given_rows", [0, 1])
def test_cached_logits_are_the_full_ones(variant, batch, shape, given_rows):
    prior = VARIANTS[variant]()
    codes, condition = torch.randint(7, (batch, *shape)), random_condition(prior, shape, batch)
    with torch.no_grad():
        full = prior(codes, condition)[:, given_rows:]
        torch.testing.assert_close(cached_logits(prior, codes, condition, given_rows), full, atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", ["PixelCNN", "two attentions", "bottom with attention"])
@pytest.mark.parametrize("given_rows", [0, 1, 3, 6])
def test_the_same_numbers_give_the_same_codes(variant, given_rows):
    prior, given = VARIANTS[variant](), torch.randint(7, (7, 6, 4))
    options = dict(condition=random_condition(prior, (6, 4), 7), temperature=0.8, given=given, given_rows=given_rows)
    fast = prior.sample(7, (6, 4), generator=torch.Generator().manual_seed(3), chunk=4, **options)
    slow = sample_naive(prior, 7, (6, 4), generator=torch.Generator().manual_seed(3), **options)
    assert (fast == slow).all()
    assert (fast[:, :given_rows] == given[:, :given_rows]).all()
    assert given_rows == 6 or (fast[:, given_rows:] != given[:, given_rows:]).any()


@pytest.mark.parametrize("variant", ["PixelCNN", "two attentions"])
def test_places_are_kept_wherever_they_are(variant):
    prior, given, keep = VARIANTS[variant](), torch.randint(7, (7, 6, 4)), torch.rand(6, 4) < 0.4
    options = dict(given=given.to(torch.int16), keep=keep, given_rows=1)  # as codes lie on the disk
    fast = prior.sample(7, (6, 4), generator=torch.Generator().manual_seed(3), chunk=4, **options)
    slow = sample_naive(prior, 7, (6, 4), generator=torch.Generator().manual_seed(3), **options)
    assert (fast == slow).all()
    assert (fast[:, keep] == given[:, keep]).all() and (fast[:, ~keep] != given[:, ~keep]).any()


def test_all_levels_in_one_call():
    """The top level as if alone, the bottom one given it; temperatures and given rows are each level's own."""
    priors, shapes = (make_snail(attention_layers=1), make_snail(K_condition=7)), ((3, 4), (6, 8))
    given = tuple(torch.randint(7, (5, *shape)) for shape in shapes)
    top, bottom = sample_levels(
        priors, 5, shapes, temperatures=(0.7, 1.3), given=given, given_rows=(1, 2),
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    dice = torch.Generator().manual_seed(3)
    expected = sample_naive(priors[0], 5, shapes[0], temperature=0.7, given=given[0], given_rows=1, generator=dice)
    assert (top == expected).all()
    options = dict(temperature=1.3, given=given[1], given_rows=2, generator=dice)
    assert (bottom == sample_naive(priors[1], 5, shapes[1], top, **options)).all()
    (alone,) = sample_levels(priors[:1], 5, shapes[:1])
    assert alone.shape == (5, 3, 4)


def test_samples_have_the_priors_distribution():
    prior, n = make_prior(K=3, layers=2, k=3), 40_000
    maps = torch.tensor(list(itertools.product(range(3), repeat=4)))
    with torch.no_grad():
        p = prior.log_prob(maps.view(-1, 2, 2)).sum((1, 2)).exp()
    drawn = prior.sample(n, (2, 2)).flatten(1) @ torch.tensor([27, 9, 3, 1])
    seen = torch.bincount(drawn, minlength=81) / n
    # Five standard errors, for all 81 maps at once.
    assert ((seen - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-4).all()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_completion_answers_to_what_is_kept_after_it(temperature):
    """With the last code kept, raster sampling draws the first three from the prior; resampling from p(c | last)."""
    prior = make_prior(K=3, layers=2, k=3)
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    with torch.no_grad():
        p = prior.log_prob(maps, temperature=temperature).sum((1, 2)).exp().view(27, 3)
    keep = torch.tensor([[False, False], [False, True]])

    def seen(n, tries):
        real = (torch.full((n, 2, 2), 1),)
        (codes,) = complete((prior,), real, keep, tries=tries, temperature=temperature)
        assert (codes[:, 1, 1] == 1).all()
        first = codes.flatten(1)[:, :3] @ torch.tensor([9, 3, 1])
        return torch.bincount(first, minlength=27) / n

    exact, blind = p[:, 1] / p[:, 1].sum(), p.sum(1)
    apart = lambda q, r: (q - r).abs().sum().item()  # noqa: E731
    assert apart(seen(20_000, 1), blind) < 0.03 < 0.1 < apart(blind, exact)
    assert apart(seen(5_000, 64), exact) < 0.05


def test_completion_of_both_levels_keeps_both():
    priors = make_snail(attention_layers=1), make_snail(K_condition=7)
    real = torch.randint(7, (6, 4, 4)), torch.randint(7, (6, 8, 8))
    keep = torch.rand(4, 4) < 0.5
    keep[0] = True
    for tries in (1, 5):
        top, bottom = complete(priors, real, keep, tries=tries)
        fine = keep.repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert (top[:, keep] == real[0][:, keep]).all() and (bottom[:, fine] == real[1][:, fine]).all()
        assert (top[:, ~keep] != real[0][:, ~keep]).any() and (bottom[:, ~fine] != real[1][:, ~fine]).any()


def test_temperature_sharpens():
    prior = make_prior()
    entropies = []
    for temperature in (0.5, 1.0, 2.0):
        codes = prior.sample(500, (4, 4), temperature=temperature)
        entropies.append(-prior.log_prob(codes).sum((1, 2)).mean().item())
    assert entropies == sorted(entropies)


def test_choose_inverts_the_distribution_function():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().expand(4, 3)
    assert choose(logits, torch.tensor([[0.0], [0.49], [0.51], [0.9999999]])).tolist() == [[0], [0], [1], [2]]


def test_a_symbol_without_probability_is_never_chosen():
    """Not even by the greatest number below 1, though sums of 300 probabilities round to more than 1 or to less."""
    logits = torch.randn(2000, 300)
    logits[:, :10] = logits[:, 290:] = -torch.inf
    last = logits.softmax(-1).cumsum(-1)[:, -1]
    assert last.min() < 1 < last.max()
    for u in (0.0, 1 - 2**-24):
        codes = choose(logits, torch.full((2000, 1), u))
        assert codes.min() >= 10 and codes.max() < 290


def test_logits_that_are_not_numbers_give_codes_that_exist():
    """So that it is the loss that tells of them."""
    assert 0 <= choose(torch.full((1, 5), torch.nan), torch.tensor([[0.5]])).item() < 5


def half_frozen():
    """A prior in training whose head is frozen in eval mode, with dropout that would change every sample."""
    prior = make_prior()
    for module in prior.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.9
    prior.train()
    prior.head.eval()
    return prior


@pytest.mark.parametrize(
    "draw",
    [
        lambda prior: prior.sample(4, (3, 3)),
        lambda prior: sample_naive(prior, 4, (3, 3)),
        lambda prior: cached_logits(prior, torch.zeros(4, 3, 3, dtype=torch.long)),
        lambda prior: complete((prior,), (torch.ones(4, 3, 3).long(),), torch.eye(3).bool(), tries=16)[0],
    ],
)
def test_dropout_is_off_and_every_submodule_keeps_its_mode(draw):
    prior = half_frozen()
    before = [module.training for module in prior.modules()]
    torch.manual_seed(0)
    drawn = draw(prior)
    assert [module.training for module in prior.modules()] == before
    prior.eval()
    torch.manual_seed(0)
    assert torch.equal(draw(prior), drawn)


def test_every_submodule_keeps_its_mode_when_sampling_fails():
    prior = half_frozen()
    before = [module.training for module in prior.modules()]
    prior.layers[0].cache = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        prior.sample(4, (3, 3))
    assert [module.training for module in prior.modules()] == before


class Centred(GatedLayer):
    """A layer whose vertical stream is its own, written in terms of the convolution that it is handed."""

    def down(self, v, conv, dim=1):
        v, seen = super().down(v, conv, dim)
        return v - v.mean(dim, keepdim=True), seen


def with_layers(cls):
    prior = make_prior(layers=2, channels=8)
    for i, layer in enumerate(prior.layers):
        prior.layers[i] = cls(8, 5, 0.0)
        prior.layers[i].load_state_dict(layer.state_dict())
    return prior.eval()


@pytest.mark.parametrize("given_rows", [0, 1])
def test_a_subclass_of_a_layer_is_sampled_as_it_is(given_rows):
    prior, codes = with_layers(Centred), torch.randint(7, (3, 4, 5))
    with torch.no_grad():
        full = prior(codes)[:, given_rows:]
        assert (full - with_layers(GatedLayer)(codes)[:, given_rows:]).abs().max() > 0.01
        torch.testing.assert_close(cached_logits(prior, codes, given_rows=given_rows), full, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("known", "method"), [(GatedLayer, "right"), (SnailBlock, "forward"), (Attention, "forward")])
def test_a_layer_that_the_cache_does_not_know_is_refused(known, method):
    """It would be sampled from another distribution than its own, without a word."""
    prior = make_snail(attention_layers=1) if known is not GatedLayer else make_prior()
    layer = next(layer for layer in prior.layers if isinstance(layer, known))
    own = {method: lambda self, *args: getattr(known, method)(self, *args)}
    layer.__class__ = type("Other", (known,), own)
    with pytest.raises(RalkitError, match=f"Other has its own `{method}`, .* give it its own `cache`"):
        prior.sample(2, (3, 3))
    assert sample_naive(prior, 2, (3, 3)).shape == (2, 3, 3)


def test_logits_of_maps_whose_rows_are_all_given():
    assert cached_logits(make_prior(), torch.zeros(2, 3, 4, dtype=torch.long), given_rows=3).shape == (2, 0, 4, 7)
    with pytest.raises(RalkitError, match="the number of given rows is 4; it must be a whole number from 0 to 3"):
        cached_logits(make_prior(), torch.zeros(2, 3, 4, dtype=torch.long), given_rows=4)


RECORDED = []


def record(f, device):
    with Recording() as recording:
        f()
    RECORDED.append(recording)
    return recording.replay


@pytest.mark.parametrize("variant", ["PixelCNN", "deep", "two attentions", "bottom", "bottom with attention"])
@pytest.mark.parametrize("given_rows", [0, 2, 5])
@pytest.mark.parametrize("keeps", [False, True])
def test_rows_can_be_recorded_once_and_replayed(variant, given_rows, keeps, monkeypatch):
    """Nothing but the contents of fixed memory tells one row from another: as a CUDA graph needs it."""
    prior, given = VARIANTS[variant](), torch.randint(7, (5, 8, 4))
    condition, keep = random_condition(prior, (8, 4), 5), torch.rand(8, 4) < 0.4 if keeps else None
    options = dict(condition=condition, given=given, given_rows=given_rows, keep=keep, temperature=0.9, chunk=3)
    expected = prior.sample(5, (8, 4), generator=torch.Generator().manual_seed(3), **options)
    monkeypatch.setitem(RECORDERS, "cpu", record)
    RECORDED.clear()
    assert (prior.sample(5, (8, 4), generator=torch.Generator().manual_seed(3), **options) == expected).all()
    assert len(RECORDED) == 2  # one for each chunk


@pytest.mark.cuda
def test_cached_logits_on_cuda(cuda):
    prior, codes = make_prior().double().cuda(), torch.randint(7, (3, 6, 9)).cuda()
    with torch.no_grad():
        torch.testing.assert_close(cached_logits(prior, codes), prior(codes), atol=1e-8, rtol=0)
    assert prior.sample(5, (4, 4)).is_cuda


@pytest.mark.cuda
@pytest.mark.parametrize("variant", ["PixelCNN", "deep", "two attentions", "bottom", "bottom with attention"])
def test_cuda_graphs_change_nothing(variant, monkeypatch, cuda):
    """Each call captures a graph for each of two chunks; given codes lie on the CPU, as codes of the disk do."""
    prior, given, keep = VARIANTS[variant]().double().cuda(), torch.randint(7, (5, 8, 4)), torch.rand(8, 4) < 0.4
    condition = random_condition(prior, (8, 4), 5)
    options = dict(condition=None if condition is None else condition.cuda(), given=given, keep=keep, chunk=3)

    def draw(given_rows):
        dice = torch.Generator("cuda").manual_seed(3)
        return prior.sample(5, (8, 4), generator=dice, given_rows=given_rows, **options)

    replayed = [draw(given_rows) for given_rows in (0, 2)]
    monkeypatch.setattr("ralkit.cache.RECORDERS", {})
    assert all((codes == draw(given_rows)).all() for codes, given_rows in zip(replayed, (0, 2), strict=True))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_cuda_graphs_take_no_more_memory_each_time():
    prior, held = make_snail(attention_layers=1).cuda(), []
    for _ in range(60):
        prior.sample(64, (8, 8))
        held.append(torch.cuda.memory_reserved())
    assert held[-1] == held[9]
