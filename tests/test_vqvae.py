"""The EMA codebook against a slow numpy version; dead codes; straight-through gradient; shapes."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ralkit.course.costs import kept_for_backward
from ralkit.vqvae import VQVAE, VQVAE2, Codebook, perplexity, vqvae_loss


def numpy_update(vectors, counts, sums, z, decay):
    """One step of the moving averages, one vector at a time; no revival."""
    flat = z.transpose(0, 2, 3, 1).reshape(-1, z.shape[1])
    codes = np.array([np.argmin([((x - e) ** 2).sum() for e in vectors]) for x in flat])
    new_counts, new_sums = counts.copy(), sums.copy()
    for i in range(len(vectors)):
        chosen = flat[codes == i]
        new_counts[i] = decay * counts[i] + (1 - decay) * len(chosen)
        new_sums[i] = decay * sums[i] + (1 - decay) * chosen.sum(0)
    return codes, new_counts, new_sums, new_sums / new_counts[:, None]


def test_ema_against_numpy():
    book = Codebook(6, 3, decay=0.9, revive_below=0.0)
    z = torch.randn(4, 3, 5, 2)
    book(z)  # places the vectors
    for _ in range(4):
        z = torch.randn(4, 3, 5, 2)
        state = [t.double().numpy().copy() for t in (book.vectors, book.counts, book.sums)]
        codes, counts, sums, vectors = numpy_update(*state, z.double().numpy(), 0.9)
        seen = book(z)[1]
        assert (seen.flatten().numpy() == codes).all()
        np.testing.assert_allclose(book.counts.numpy(), counts, rtol=1e-5)
        np.testing.assert_allclose(book.sums.numpy(), sums, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(book.vectors.numpy(), vectors, rtol=1e-4, atol=1e-5)


def test_placed_on_outputs_of_the_first_batch():
    book, z = Codebook(5, 2, revive_below=0.0), torch.randn(2, 2, 3, 3)
    book._place(z)
    outputs = z.movedim(1, -1).flatten(0, -2)
    assert all((outputs == e).all(1).any() for e in book.vectors)


def test_dead_codes_are_revived():
    book, z = Codebook(8, 2, decay=0.5, revive_below=0.5), torch.randn(8, 2, 4, 4)
    book(z)
    with torch.no_grad():  # seven vectors far from everything, with nobody near
        book.vectors[1:] = 1000.0
        book.sums[1:] = book.vectors[1:] * 1e-3
        book.counts[1:] = 1e-3
    book(z)
    assert (book.vectors.abs() < 100).all()
    assert perplexity(book.nearest(z), 8) > 3


def test_a_code_is_looked_up_before_its_vector_is_revived():
    """Of a batch of nine places every vector is dead: what is decoded is the vector that was chosen, not another."""
    book = Codebook(8, 2)
    book(torch.randn(1, 2, 3, 3))  # places the vectors
    z, before = torch.randn(1, 2, 3, 3), book.vectors.clone()
    quantised, codes, commitment = book(z)
    expected = before[codes].movedim(-1, 1)
    assert not torch.allclose(book.lookup(codes), expected)
    torch.testing.assert_close(quantised, expected)
    torch.testing.assert_close(commitment, F.mse_loss(z, expected))


def test_eval_mode_changes_nothing():
    book = Codebook(5, 2)
    book(torch.randn(2, 2, 3, 3))
    before = {k: v.clone() for k, v in book.state_dict().items()}
    book.eval()(torch.randn(2, 2, 3, 3))
    assert all((v == before[k]).all() for k, v in book.state_dict().items())


def test_straight_through_gradient():
    book = Codebook(5, 2).eval()
    z = torch.randn(1, 2, 3, 3, requires_grad=True)
    quantised, codes, commitment = book(z)
    torch.testing.assert_close(quantised, book.lookup(codes))
    weights = torch.randn_like(quantised)
    (g,) = torch.autograd.grad((quantised * weights).sum(), z, retain_graph=True)
    torch.testing.assert_close(g, weights)
    torch.testing.assert_close(commitment, F.mse_loss(z, book.lookup(codes)))


def test_perplexity():
    assert perplexity(torch.tensor([0, 1, 2, 3]), 9).item() == pytest.approx(4)
    assert perplexity(torch.zeros(7, dtype=torch.long), 9).item() == pytest.approx(1)


@pytest.mark.parametrize(("stages", "size"), [(1, 16), (2, 32), (3, 32)])
def test_shapes_and_round_trip(stages, size):
    model = VQVAE(stages, 8, 4, 16, 6).eval()
    x = torch.rand(2, 3, size, size) * 2 - 1
    codes = model.encode(x)
    assert codes.shape == (2, size >> stages, size >> stages)
    torch.testing.assert_close(model.decode(codes), model(x)[0].clamp(-1, 1))


def test_training_lowers_the_error():
    model = VQVAE(2, 16, 8, 16, 8)
    x = torch.rand(16, 3, 1, 1).mul(2).sub(1).expand(16, 3, 16, 16)  # plain colours
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    errors = []
    for _ in range(300):
        loss, logs = vqvae_loss(model, x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(logs["mse"].item())
    assert np.mean(errors[-5:]) < 0.25 * errors[0]


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_two_levels(stages):
    """Shapes, and that decoding the codes gives the reconstruction: encode, decode and forward are one model."""
    model, side = VQVAE2(stages, 8, 4, 16, 4), 32 // 2**stages
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    model(x)  # places the codebooks
    model.eval()
    x_hat, (top, bottom), commitment = model(x)
    assert top.shape == (2, side // 2, side * 3 // 4) and bottom.shape == (2, side, side * 3 // 2)
    assert x_hat.shape == x.shape and commitment > 0
    assert all((a == b).all() for a, b in zip(model.encode(x), (top, bottom), strict=True))
    torch.testing.assert_close(model.decode(top, bottom), x_hat.clamp(-1, 1))


def test_both_levels_matter_and_both_learn():
    model = VQVAE2(2, 8, 4, 16, 4).train()
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    loss, logs = vqvae_loss(model, x)
    loss.backward()
    assert {"mse", "commitment", "perplexity_top", "perplexity_bottom"} == set(logs)
    for part in ("bottom_encoder", "top_encoder", "top_decoder", "join", "enlarge", "decoder"):
        assert all(p.grad is not None for p in getattr(model, part).parameters())
        assert sum(p.grad.abs().sum() for p in getattr(model, part).parameters()) > 0, part
    model.eval()
    top, bottom = model.encode(x)
    image = model.decode(top, bottom)
    assert (model.decode(top.flip(0), bottom) != image).any() and (model.decode(top, bottom.flip(0)) != image).any()
    # The bottom codes are chosen knowing the top ones: another top embedding, other bottom codes.
    model.top_codebook.vectors.neg_()
    assert (model.encode(x)[1] != bottom).any()


def test_codes_are_chosen_in_float32():
    """Under autocast the encoder is rough, but which vector is nearest is not."""
    book, z = VQVAE(1, 8, 4, 64, 4).codebook.train(), torch.randn(8, 4, 8, 8)
    other = copy.deepcopy(book)
    torch.manual_seed(1)
    plain = book(z)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = other(z)
    assert all(torch.equal(a, b) for a, b in zip(plain, rough, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(book.buffers(), other.buffers(), strict=True))


@pytest.mark.parametrize("kind", [VQVAE, VQVAE2])
def test_a_batch_in_parts_gives_the_same_gradients_and_codebook_from_fewer_activations(kind):
    gradients, buffers, kept = [], [], []
    for at_once in (None, 3):
        torch.manual_seed(0)
        model = kind(2, 16, 8, 12, 8)
        model.at_once = at_once
        for _ in range(2):  # the first places the codebook's vectors, the second moves them
            with kept_for_backward(model) as storages:
                loss, _ = vqvae_loss(model, torch.rand(8, 3, 32, 32))
            model.zero_grad()
            loss.backward()
        gradients.append([p.grad for p in model.parameters()])
        buffers.append(list(model.buffers()))
        kept.append(sum(storages.values()))
    for a, b in zip(gradients[0] + buffers[0], gradients[1] + buffers[1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    assert kept[1] < 0.6 * kept[0]
