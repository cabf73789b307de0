"""The paper's own numbers, typed from its tables, to stand beside ours; and where ours of each item come from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A table or figure of the paper; ours is `file` in figures/<preset>/."""

    file: str
    name: str
    shows: str
    notebook: str
    function: str  # of ralkit: what makes the numbers or the picture


_world, _study, _presets = "course.world.World.", "course.study.Study.", "course.presets.PRESETS"
ITEMS = (
    Item("figure-1", "Figure 1", "samples of RAL, not picked", "05_images", _world + "sample"),
    Item("figure-2", "Figure 2", "the framework", "04_ral", "ral.ral_iteration"),
    Item("figure-3", "Figure 3", "both modes of partial generation", "06_partial", "ral.roll_out"),
    Item("figure-4", "Figure 4", "NLL under the oracle along the updates", "03_oracle", "metrics.oracle_metrics"),
    Item("figure-5", "Figure 5", "samples, MLE beside RAL", "05_images", _world + "sample"),
    Item("figure-6", "Figure 6", "samples, MLE beside RAL", "05_images", _world + "sample"),
    Item("figure-7", "Figure 7", "image completion", "07_completion", "sampling.complete"),
    Item("table-1", "Table 1", "the oracle experiment", "03_oracle", _study + "measure"),
    Item("table-2", "Table 2", "Fréchet distance, single and intermediate reward", "05_images", _study + "measure"),
    Item("table-3a", "Table 3a", "partial generation; which prior learns", "06_partial", _study + "ral"),
    Item("table-3b", "Table 3b", "reward and size of the score map", "06_partial", _study + "ral"),
    Item("figure-s1", "Figure S1", "more samples", "05_images", _world + "sample"),
    Item("figure-s2", "Figure S2", "more samples", "05_images", _world + "sample"),
    Item("s-table-1", "S-Table 1", "CelebA with one code map", "05_images", _study + "measure"),
    Item("s-table-2", "S-Table 2", "LSUN with one code map", "05_images", _study + "measure"),
    Item("s-table-3", "S-Table 3", "CelebA-HQ with two code maps", "05_images", _study + "measure"),
    Item("s-table-4", "S-Table 4", "architecture: CelebA 64, oracle and generator", "09_report", _presets),
    Item("s-table-5", "S-Table 5", "architecture: LSUN 64, codes 8x8", "09_report", _presets),
    Item("s-table-6", "S-Table 6", "architecture: LSUN 64, codes 16x16", "09_report", _presets),
    Item("s-table-7", "S-Table 7", "architecture: 128, one code map", "09_report", _presets),
    Item("s-table-8", "S-Table 8", "architecture: 128, two code maps", "09_report", _presets),
    Item("s-table-9", "S-Table 9", "architecture: CelebA 256", "09_report", _presets),
    Item("s-table-10", "S-Table 10", "architecture: CelebA-HQ 512", "09_report", _presets),
    Item("s-table-11", "S-Table 11", "sampling time, full and partial", "06_partial", "sampling.sample_levels"),
    Item("s-table-12", "S-Table 12", "reconstructions against real images", "05_images", _world + "floors"),
)

# What the report says above each table of results.
PARAGRAPHS = {
    "table-1": "A large prior plays the truth, so NLL under it can be computed. The paper says that RAL lowers it. "
    "The distance is FID, or FD-faces, whose network was trained on our faces. The floors say what the truth itself "
    "would get.",
    "table-2": "Here there is no oracle, and samples are judged by their distance to images. The paper says that "
    "both rewards lower it. Its numbers in parentheses, like our second distance, are to reconstructions, which "
    "have the faults of the decoder too.",
    "table-3a": "With two levels, RAL can train the top prior, the bottom prior or both, and draw whole maps or "
    "parts of them. The paper says that both priors on parts are best.",
    "table-3b": "The critic can score an image in few large patches or many small ones. The paper finds the best "
    "size to depend on the reward.",
    "s-table-11": "Partial generation draws fewer codes, so it takes less time. The paper says the same for its "
    "larger maps.",
    "s-table-12": "Reconstructions differ from images already. A perfect prior of their codes would do about as well.",
}

TABLE_1 = [
    {"method": "MLE", "NLL": 7.55, "FID on oracle data": 7.49, "FID on real data": 15.63},
    {"method": "RL - Single Reward", "NLL": 7.07, "FID on oracle data": 5.17, "FID on real data": 14.28},
    {"method": "RL - Intermediate Reward", "NLL": 7.05, "FID on oracle data": 5.62, "FID on real data": 13.69},
]

# CelebA, 128x128; "reconstructed" is what the paper prints in parentheses: FID on reconstructed real images.
TABLE_3A = [
    {"run": "Partial-Gen. (Proposed)", "FID": 49.24, "FID on reconstructed": 16.54},
    {"run": "Full-Gen.", "FID": 51.91, "FID on reconstructed": 20.25},
    {"run": "RAL on Top", "FID": 54.82, "FID on reconstructed": 19.20},
    {"run": "RAL on Bottom", "FID": 55.02, "FID on reconstructed": 19.80},
]

TABLE_3B = [
    {"reward": "single", "D output": "8x8", "FID": 53.15, "FID on reconstructed": 18.28},
    {"reward": "single", "D output": "4x4", "FID": 49.24, "FID on reconstructed": 16.54},
    {"reward": "single", "D output": "2x2", "FID": 49.78, "FID on reconstructed": 17.68},
    {"reward": "intermediate", "D output": "8x8", "FID": 50.22, "FID on reconstructed": 18.65},
    {"reward": "intermediate", "D output": "4x4", "FID": 54.835, "FID on reconstructed": 19.47},
    {"reward": "intermediate", "D output": "2x2", "FID": 55.37, "FID on reconstructed": 20.99},
]

# Seconds to sample a batch of 16, on a single GPU.
S_TABLE_11 = [
    {"sampling": "Full Generation", "128x128, 16x16 + 32x32": 102, "256x256, 32x32 + 64x64": 170},
    {"sampling": "Partial Generation", "128x128, 16x16 + 32x32": 61, "256x256, 32x32 + 64x64": 123},
]

TABLE_2 = [
    {
        "method": "MLE",
        "CelebA 64": "5.35",
        "CelebA 128": "58.07 (21.28)",
        "CelebA 256": "69.37 (55.11)",
        "LSUN-bedroom 128": "47.77 (23.14)",
    },
    {
        "method": "Single Reward",
        "CelebA 64": "3.24",
        "CelebA 128": "49.24 (16.49)",
        "CelebA 256": "66.44 (53.54)",
        "LSUN-bedroom 128": "39.86 (19.37)",
    },
    {
        "method": "Intermediate Reward",
        "CelebA 64": "4.10",
        "CelebA 128": "51.91 (19.68)",
        "CelebA 256": "64.72 (51.38)",
        "LSUN-bedroom 128": "36.47 (16.06)",
    },
]
S_TABLE_1 = [
    {
        "method": "MLE",
        "CelebA 128, codes 16x16": "18.01",
    },
    {
        "method": "Single Reward",
        "CelebA 128, codes 16x16": "16.91",
    },
]
S_TABLE_2 = [
    {
        "method": "MLE",
        "LSUN 64, codes 8x8": "19.95",
        "LSUN 64, codes 16x16": "15.90",
        "LSUN 128, codes 16x16": "23.53",
    },
    {
        "method": "Single Reward",
        "LSUN 64, codes 8x8": "19.07",
        "LSUN 64, codes 16x16": "11.47",
        "LSUN 128, codes 16x16": "18.96",
    },
]
S_TABLE_3 = [
    {
        "method": "MLE",
        "CelebA-HQ 512, codes 32x32 + 64x64": "34.93",
    },
    {
        "method": "Single Reward",
        "CelebA-HQ 512, codes 32x32 + 64x64": "32.14",
    },
    {
        "method": "Intermediate Reward",
        "CelebA-HQ 512, codes 32x32 + 64x64": "31.84",
    },
]
S_TABLE_12 = [
    {"data": "CelebA 128", "codes": "16x16 + 32x32", "FID": "24.52"},
    {"data": "CelebA 256", "codes": "32x32 + 64x64", "FID": "7.47"},
    {"data": "LSUN-bedroom 128", "codes": "16x16 + 32x32", "FID": "28.54"},
]

# S-Tables 4 to 10, a line a network, its numbers in the order of the tables' lines.
_PRIOR = (
    "Input size", "Batch size", "Hidden units", "Residual units", "Layers", "Attention layers", "Conv Filter size",
    "Dropout", "Output stack layers", "Training steps",
)  # fmt: skip
_BOTTOM = (*_PRIOR[:-2], "Conditioning Output stack layers", "Training steps")
_VQVAE = (
    "Input size", "Latent Layers", "β", "Batch size", "Hidden units", "Residual units", "Layers", "Codebook size",
    "Codebook dimension", "Encoder filter size", "Decoder filter size", "Training steps",
)  # fmt: skip


def _line(names: tuple[str, ...], *numbers: str | float) -> dict[str, str | float]:
    return dict(zip(names, numbers, strict=True))


S_TABLE_4 = {
    "Oracle Network": _line(_PRIOR, "8×8", 1024, 256, 256, 5, 0, 5, 0.1, 5, 90039),
    "Generator Network": _line(_PRIOR, "8×8", 1024, 128, 128, 5, 0, 5, 0.1, 5, 19531),
    "VQ-VAE": _line(_VQVAE, "64×64", "8×8", 0.25, 128, 128, 64, 3, 128, 64, 3, 4, 156250),
}
S_TABLE_5 = {
    "Prior": _line(_PRIOR, "8×8", 1536, 512, 512, 20, 0, 5, 0.1, 5, 97656),
    "VQ-VAE": _line(_VQVAE, "64×64", "8×8", 0.25, 128, 128, 64, 3, 512, 64, 3, 4, 234375),
}
S_TABLE_6 = {
    "Prior": _line(_PRIOR, "16×16", 480, 512, 512, 20, 8, 5, 0.1, 20, 31250),
    "VQ-VAE": _line(_VQVAE, "64×64", "16×16", 0.25, 128, 128, 64, 2, 512, 64, 3, 4, 234375),
}
S_TABLE_7 = {
    "Prior": _line(_PRIOR, "16×16", 480, 512, 512, 20, 8, 5, 0.1, 20, 41666),
    "VQ-VAE": _line(_VQVAE, "128×128", "16×16", 0.25, 128, 128, 64, 3, 512, 64, 3, 4, 156250),
}
S_TABLE_8 = {
    "Top-Prior Network": _line(_PRIOR, "16×16", 480, 512, 512, 20, 8, 5, 0.1, 20, 166664),
    "Bottom-Prior Network": _line(_BOTTOM, "32×32", 128, 512, 512, 20, 0, 5, 0.1, 20, 156250),
    "VQ-VAE": _line(_VQVAE, "128×128", "16×16, 32×32", 0.25, 128, 128, 64, 2, 512, 64, 3, 4, 156250),
}
S_TABLE_9 = {
    "Top-Prior Network": _line(_PRIOR, "32×32", 128, 512, 512, 20, 0, 5, 0.1, 20, 187500),
    "Bottom-Prior Network": _line(_BOTTOM, "64×64", 128, 128, 128, 16, 0, 5, 0.1, 20, 125000),
    "VQ-VAE": _line(_VQVAE, "256×256", "32×32, 64×64", 0.25, 128, 128, 64, 2, 512, 64, 3, 4, 156250),
}
S_TABLE_10 = {
    "Top-Prior Network": _line(_PRIOR, "32×32", 128, 512, 512, 20, 0, 5, 0.1, 20, 20625),
    "Bottom-Prior Network": _line(_BOTTOM, "64×64", 128, 128, 128, 16, 0, 5, 0.1, 20, 42187),
    "VQ-VAE": _line(_VQVAE, "512×512", "32×32, 64×64", 0.25, 128, 128, 64, 3, 512, 64, 3, 4, 23437),
}

# The tables of architectures by number, each with our preset of it and which of that preset's experiments it is.
ARCHITECTURES = {
    4: (S_TABLE_4, "paper-celeba-64", "oracle experiment"),
    5: (S_TABLE_5, "paper-lsun-64-8", "one code map"),
    6: (S_TABLE_6, "paper-lsun-64-16", "one code map"),
    7: (S_TABLE_7, "paper-128", "one code map"),
    8: (S_TABLE_8, "paper-128", "two code maps"),
    9: (S_TABLE_9, "paper-celeba-256", "two code maps"),
    10: (S_TABLE_10, "paper-celebahq-512", "two code maps"),
}
