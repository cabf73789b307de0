"""The paper's presets against its S-Tables, field by field, and against the networks that are built from them."""

import pytest
import torch
from torch import nn

from ralkit.course import paper
from ralkit.course.costs import experiments
from ralkit.course.oracle import OracleWorld
from ralkit.course.presets import PRESETS
from ralkit.course.world import World
from ralkit.errors import RalkitError
from ralkit.prior import Attention, GatedLayer, OutputLayer, PriorConfig, SnailBlock, SnailConfig, make_prior
from ralkit.ral import RalConfig
from ralkit.vqvae import Residual, VQVAEConfig, make_vqvae


def described(number):
    """An S-Table, and the size, the VQ-VAE and the priors of our preset of it."""
    table, name, experiment = paper.ARCHITECTURES[number]
    world = experiments(PRESETS[name])[experiment]
    oracle = (world.oracle,) if world.oracle else ()
    return table, world.size, world.vqvae, (*oracle, *world.priors)


TABLES = [described(number) for number in paper.ARCHITECTURES]


def prior_line(cfg: PriorConfig | SnailConfig, side: int, K: int, conditional: bool) -> dict:
    """A table's line of a prior: from the network that `cfg` builds where it can be read off, else from `cfg`."""
    with torch.device("meta"):
        prior = make_prior(cfg, K, K if conditional else None)
    count = lambda kind, part=prior: sum(isinstance(m, kind) for m in part.modules())  # noqa: E731
    blocks = [m for m in prior.layers if isinstance(m, GatedLayer | SnailBlock)]
    convs = [m for m in blocks[0].vertical.modules() if isinstance(m, nn.Conv2d)]
    (filter_size,) = {conv.kernel_size[1] for conv in convs}
    (inner,) = {conv.in_channels for conv in convs}
    stack = {"Conditioning Output stack layers": count(Residual)} if conditional else {}
    return {
        "Input size": f"{side}×{side}",
        "Batch size": cfg.batch,
        "Hidden units": prior.embedding.embedding_dim,
        "Residual units": inner,
        "Layers": len(blocks),
        "Attention layers": next((m.heads for m in prior.modules() if isinstance(m, Attention)), 0),  # read as heads
        "Conv Filter size": filter_size,
        "Dropout": cfg.dropout,
        **(stack or {"Output stack layers": count(OutputLayer)}),
        "Training steps": cfg.steps,
    }


def vqvae_line(cfg: VQVAEConfig, size: int, levels: int) -> dict:
    """A table's line of a VQ-VAE, read off the network that `cfg` builds where it can be."""
    with torch.device("meta"):
        model = make_vqvae(cfg, levels)
        codes = model.encode(torch.zeros(1, 3, size, size))
    bottom = model.encoder if levels == 1 else model.bottom_encoder
    down = [m for m in bottom if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    up = [m for m in model.modules() if isinstance(m, nn.ConvTranspose2d)]
    codebooks = {model.codebook} if levels == 1 else {model.top_codebook, model.bottom_codebook}
    ((K, D),) = {tuple(c.vectors.shape) for c in codebooks}
    ((hidden, inner),) = {(m[1].in_channels, m[1].out_channels) for m in model.modules() if isinstance(m, Residual)}
    (encoder_filter,), (decoder_filter,) = {m.kernel_size[0] for m in down}, {m.kernel_size[0] for m in up}
    maps = codes if levels > 1 else (codes,)
    return {
        "Input size": f"{size}×{size}",
        "Latent Layers": ", ".join(f"{c.shape[1]}×{c.shape[2]}" for c in maps),
        "β": cfg.beta,
        "Batch size": cfg.batch,
        "Hidden units": hidden,
        "Residual units": inner,
        "Layers": len(down),
        "Codebook size": K,
        "Codebook dimension": D,
        "Encoder filter size": encoder_filter,
        "Decoder filter size": decoder_filter,
        "Training steps": cfg.steps,
    }


@pytest.mark.parametrize(("table", "size", "vqvae", "priors"), TABLES, ids=range(4, 11))
def test_a_preset_is_its_table(table, size, vqvae, priors):
    *lines, last = table.values()
    levels = sum(name.endswith("Prior Network") for name in table) or 1
    assert vqvae_line(vqvae, size, levels) == last
    sides = [int(line["Input size"].split("×")[0]) for line in lines]
    conditional = [name.startswith("Bottom") for name in table if name != "VQ-VAE"]
    ours = [prior_line(*of) for of in zip(priors, sides, [vqvae.K] * len(sides), conditional, strict=True)]
    assert ours == lines
    assert last["Latent Layers"] == ", ".join(dict.fromkeys(line["Input size"] for line in lines))


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("paper-")])
def test_a_paper_preset_names_its_table_and_has_the_papers_ral(name):
    preset = PRESETS[name]
    assert preset.about.startswith("S-Table")
    assert preset.needs_cuda
    experiments = [preset] if preset.oracle else [c for c in (preset.images.one, preset.images.two) if c]
    assert experiments
    assert all(c.ral == RalConfig() for c in experiments)


def test_what_a_preset_lacks_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RalkitError, match="paper-lsun-64-8 has no images with 2 level"):
        World("paper-lsun-64-8", levels=2)
    with pytest.raises(RalkitError, match="paper-celeba-64 has no images with 1 level"):
        World("paper-celeba-64", levels=1)
    with pytest.raises(RalkitError, match="paper-128 has no oracle experiment"):
        OracleWorld("paper-128")
