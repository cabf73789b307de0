"""Causality of the priors, for every position, by gradient; and that their probabilities are probabilities."""

import copy
import itertools

import pytest
import torch
from conftest import make_prior, make_snail, random_condition

from ralkit.course.costs import kept_for_backward
from ralkit.diagnostics import cached_logits
from ralkit.errors import RalkitError
from ralkit.prior import Attention, PixelCNN, PixelSNAIL, PriorConfig, SnailConfig
from ralkit.prior import make_prior as from_config

VARIANTS = {
    "one layer": lambda: make_prior(layers=1, k=3, channels=32, scale=1),
    "PixelCNN": lambda: make_prior(layers=3, k=5, channels=32, scale=1),
    "no output stack": lambda: make_prior(layers=2, k=3, output_layers=0, channels=32, scale=1),
    "wide": lambda: make_prior(layers=4, k=7, channels=32, scale=1),
    "PixelSNAIL": lambda: make_snail(layers=3, channels=32, scale=1.5),
    "attention": lambda: make_snail(layers=1, attention_layers=1, channels=32, scale=1.5),
    "two attentions": lambda: make_snail(layers=4, attention_layers=2, channels=32, scale=1.5),
    "bottom": lambda: make_snail(K_condition=5, condition_layers=1, channels=32, scale=1.5),
}


def input_gradients(prior, codes, condition=None, of="embedding"):
    """(T, S): the size of d logits[t] / d embedding[s], summed over logits with random weights."""
    table = getattr(prior, of)
    embedded = table(codes if of == "embedding" else condition).detach().requires_grad_()
    hook = table.register_forward_hook(lambda *_: embedded)
    logits = prior(codes, condition)[0].flatten(0, 1)
    hook.remove()
    rows = []
    for t in range(len(logits)):
        (g,) = torch.autograd.grad((logits[t] * torch.randn(prior.K)).sum(), embedded, retain_graph=True)
        rows.append(g[0].flatten(0, 1).abs().sum(-1))
    return torch.stack(rows)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(4, 4), (6, 2), (2, 6)])
def test_a_logit_sees_earlier_codes_and_no_others(variant, shape):
    prior = VARIANTS[variant]()
    g = input_gradients(prior, torch.randint(7, (1, *shape)), random_condition(prior, shape, 1))
    T = shape[0] * shape[1]
    assert (g[torch.ones(T, T).triu().bool()] == 0).all()
    assert (g[1:].sum(1) > 0).all()


def test_no_blind_spot():
    """With enough layers the last logit sees every earlier code, those at the upper right as well."""
    for prior in (make_prior(layers=6, k=3, scale=1), make_snail(layers=4, scale=1.5)):
        g = input_gradients(prior, torch.randint(7, (1, 5, 5)))
        assert (g[-1, :-1] > 0).all()


def test_attention_reaches_what_one_block_does_not():
    """One block of two 3x3 windows sees two columns to the side; attention sees the rest of the map."""
    g = input_gradients(make_snail(layers=1, attention_layers=1, channels=32), torch.randint(7, (1, 4, 8)))
    assert (g[-1, :-1] > 0).all()
    g = input_gradients(make_snail(layers=1, channels=32), torch.randint(7, (1, 4, 8)))
    assert (g[-1, :4] == 0).all()


def test_top_codes_reach_every_bottom_place():
    prior, shape = make_snail(K_condition=5, condition_layers=3, channels=32, scale=1.5), (4, 6)
    condition = random_condition(prior, shape, 1)
    g = input_gradients(prior, torch.randint(7, (1, *shape)), condition, of="condition_embedding")
    assert g.shape == (24, 6) and (g.sum(1) > 0).all()
    # The first bottom place has nothing else to go by: all that it sees lies near it in the top map.
    assert g[0, 0] > 0


def test_a_bottom_prior_can_tell_which_child_of_a_top_code_it_draws():
    """Without it, all four children get one condition, and no depth of the conditioning network can part them."""
    prior = make_snail(K_condition=5, condition_layers=1, channels=32)
    features = prior.condition_features(torch.full((1, 6, 6), 3))[0, :, 4:6, 4:6].flatten(1)  # far from the border
    assert features.shape == (32, 4)
    assert (torch.cdist(features.T, features.T) + torch.eye(4) > 1e-3).all()


def test_probabilities_of_all_maps_sum_to_one():
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    for prior in (
        make_prior(K=3, layers=2, k=3),
        make_snail(K=3, attention_layers=1),
        make_snail(K=3, K_condition=5),
    ):
        condition = random_condition(prior, (2, 2), 1)
        condition = None if condition is None else condition.expand(81, -1, -1)
        assert prior.log_prob(maps, condition).sum((1, 2)).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_shapes():
    prior = make_prior()
    codes = torch.randint(7, (2, 3, 5))
    assert prior(codes).shape == (2, 3, 5, 7)
    assert prior.log_prob(codes).shape == (2, 3, 5)
    assert prior.double().log_prob(codes).dtype == torch.float64


def test_a_prior_is_what_its_configuration_says():
    cnn = from_config(PriorConfig(channels=16, layers=2, output_layers=1, dropout=0.3), 7)
    assert isinstance(cnn, PixelCNN) and len(cnn.layers) == 2 and cnn.layers[0].dropout.p == 0.3
    cfg = SnailConfig(channels=16, layers=4, k=3, output_layers=1, attention_layers=2, heads=4, condition_layers=3)
    snail = from_config(cfg, 7, 5)
    assert isinstance(snail, PixelSNAIL)
    assert [isinstance(layer, Attention) for layer in snail.layers] == [False, False, True] * 2
    assert snail.layers[2].heads == 4 and len(snail.condition_net) == 5
    assert snail.condition_embedding.num_embeddings == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelCNN(7, 16, layers=1, k=4), "a convolution window is 4 wide; it must be odd"),
        (lambda: PixelSNAIL(7, 16, layers=1, k=2), "a convolution window is 2 wide; it must be odd"),
        (lambda: PixelSNAIL(7, 16, layers=5, attention_layers=2), "2 attention layers do not divide 5 blocks"),
        (
            lambda: PixelSNAIL(7, 12, layers=2, attention_layers=1, heads=4),
            "4 attention heads do not divide half of 12",
        ),
        (lambda: make_prior()(torch.zeros(1, 4, 4).long(), torch.zeros(1, 2, 2).long()), "no conditioning network"),
        (lambda: make_snail(K_condition=5)(torch.zeros(1, 4, 4).long()), "needs the codes of the level above"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(RalkitError, match=message):
        make()


@pytest.mark.parametrize("name", ["PixelCNN", "two attentions", "bottom"])
def test_recomputing_gives_the_same_gradients_from_fewer_activations(name):
    gradients, kept = [], []
    for recompute in (False, True):
        prior = VARIANTS[name]().train()
        for module in prior.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3  # what is computed again must drop the same
        prior.recompute = recompute
        torch.manual_seed(0)
        codes = torch.randint(5, (4, 4, 6))
        condition = random_condition(prior, (4, 6), 4)
        with kept_for_backward(prior) as storages:
            loss = -prior.log_prob(codes, condition).sum()
        loss.backward()
        gradients.append([p.grad for p in prior.parameters()])
        kept.append(sum(storages.values()))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("name", ["PixelCNN", "two attentions", "bottom"])
def test_bfloat16_is_near(name):
    prior = VARIANTS[name]()
    codes = torch.randint(5, (4, 4, 6))
    condition = random_condition(prior, (4, 6), 4)
    exact, cached = prior.log_prob(codes, condition), cached_logits(prior, codes, condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = prior.log_prob(codes, condition)
        assert torch.equal(cached_logits(prior, codes, condition), cached)  # the cache keeps the weights' type
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.03
    halved = copy.deepcopy(prior).bfloat16()
    rough_cached = cached_logits(halved, codes, condition)
    assert rough_cached.dtype == torch.bfloat16
    assert 0 < (rough_cached.float() - cached).abs().mean() < 0.03
    assert halved.sample(4, (4, 6), condition).shape == (4, 4, 6)
