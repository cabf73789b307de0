# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Image completion
#
# Hide a part of an image, and let the prior draw what could have been there. For an autoregressive prior this needs no
# training of its own: it is sampling that starts later. The paper shows it in one figure. Here it is more than a
# picture: each row of codes that is given is a row that the prior need not draw, so completion is a dial for *how far
# a prior has to go on from its own samples*, which is what RAL is meant to improve.
#
# After this notebook you can
# * say which codes are known when pixels are hidden, and measure what the encoder tells of the hidden ones;
# * reproduce Figure 7;
# * complete what raster order cannot, by sampling-importance resampling, and tell from the effective sample size when
#   not to trust it;
# * test by a number whether RAL helps more, the more has to be generated, and what it costs in diversity.
#
# **Paper:** section 5.5 and Figure 7; section 4.3 for partial generation. **Before:** [02_pixelcnn](02_pixelcnn.ipynb),
# [04_ral](04_ral.ipynb), [06_partial](06_partial.ipynb).

# %% tags=["parameters"]
preset = "quick"  # smoke, quick, deep or gpu
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # the weights in data/pretrained/ where they fit; False trains them here (README: how long)

# %%
# %matplotlib inline
import numpy as np
import torch
from IPython.display import Markdown

from ralkit.course import plots, widgets
from ralkit.course.claims import claim
from ralkit.course.faces import FACTORS
from ralkit.course.record import Record
from ralkit.course.significance import direction, noise_over_seeds, over, spread
from ralkit.course.study import Study
from ralkit.course.trainer import in_batches
from ralkit.course.workers import train_together
from ralkit.course.world import World
from ralkit.metrics import frechet_distance
from ralkit.sampling import complete, sample_levels
from ralkit.training import seeded
from ralkit.vqvae import to_float

world = World(preset, dataset, seed, levels=2, pretrained=pretrained)
study, record = Study(world), Record(world)
print(record.about("07_completion"))

# %% [markdown]
# Two levels of codes, and four pairs of priors. **MLE** is where the others start. **MLE continued** is the control:
# trained on by maximum likelihood for about as long as RAL intermediate takes. **RAL intermediate** makes whole maps; **RAL partial** makes
# parts, and half of the time goes on from real codes (section 4.3), in twice as many updates. Pictures and section 4.1 are of the
# first seed, the rest of section 4 has all.

# %%
first = study.seeds[0]
methods = ("MLE", "MLE continued", "RAL intermediate", "RAL partial")
train_together((study, methods, study.seeds))  # side by side on a CPU with several cores; loaded, where they are there
priors = {method: study.generator(method, first) for method in methods}
real, decode = world.codes["test"], world.decode
(H, W), (H_bottom, W_bottom) = world.shapes
S = world.config.size
k = S // H  # pixel rows of a row of top codes
print(f"{S}x{S} pixels, {H}x{W} top codes, {H_bottom}x{W_bottom} bottom codes, {len(real[0])} test images")

# %% [markdown]
# ## 1. What is given
#
# ### 1.1 The conditional
#
# One level first. In raster order the codes before $t_0$ are given, the rest is not:
#
# $$p(c_{t_0} \dots c_{T-1} \mid c_0 \dots c_{t_0-1}) = \prod_{t=t_0}^{T-1} G(c_t \mid c_0 \dots c_{t-1})$$
#
# These are the factors that sampling multiplies anyway. So the sampler takes the given codes as they are and draws
# from $t_0$ on: an exact sample of the conditional, at less than the cost of a whole map. With two levels the top
# prior does this first, then the bottom prior, which sees the whole top map:
#
# $$p(c) = \prod_t G_\text{top}(c^\text{top}_t \mid c^\text{top}_{<t}) \;
# \prod_t G_\text{bottom}(c^\text{bottom}_t \mid c^\text{bottom}_{<t}, c^\text{top})$$
#
# A row of top codes stands for `S / H` rows of pixels and two rows of bottom codes.


# %%
def rows_kept(rows):
    """Which places (H, W) of the top map are given: its first `rows` rows."""
    return (torch.arange(H) < rows)[:, None].expand(H, W)


def enlarged(keep, size):
    """A mask (H, W) of the top map as one of (size, size)."""
    n = size // H
    return keep.repeat_interleave(n, 0).repeat_interleave(n, 1)


def hide(images, keep, fill=0.7):
    """Images (N, 3, S, S) in [-1, 1], light grey where the top codes are hidden."""
    return torch.where(enlarged(keep, S).to(images.device), images, fill)


# %%
half = H // 2
some = tuple(c[:8] for c in real)
with seeded(seed):
    codes = sample_levels(priors["MLE"], 8, world.shapes, given=some, given_rows=[half, 2 * half])
with seeded(seed):
    by_ralkit = complete(priors["MLE"], some, rows_kept(half))
assert all(torch.equal(c[:, : len(c[0]) // 2], s[:, : len(s[0]) // 2]) for c, s in zip(codes, some, strict=True))
assert all(torch.equal(a, b) for a, b in zip(codes, by_ralkit, strict=True))
image, completed = decode(*(c[:1] for c in some)), decode(*(c[:1] for c in codes))

# %%
fig, axes = plots.new_figure(1, 5, (1.9, 2.1))
top, bottom = (c[0] for c in some)
plots.picture(axes[0, 0], plots.to_pixels(image)[0], "reconstruction")
plots.picture(axes[0, 1], plots.to_pixels(hide(image, rows_kept(half)))[0], "lower half hidden")
plots.code_map(top, world.vqvae.K, axes[0, 2], "top codes given", known=half * W)
plots.code_map(bottom, world.vqvae.K, axes[0, 3], "bottom codes given", known=2 * half * W_bottom)
plots.picture(axes[0, 4], plots.to_pixels(completed)[0], "completed (MLE)")
record.save_figure("07-01-given", fig, title="Hidden pixels, the codes that are given, and one completion")
fig

# %% [markdown]
# ### 1.2 What the encoder gives away
#
# The paper: "These hidden rows can be simply eliminated by zeroing out their corresponding locations in latent maps".
# So the image is encoded *whole*, and then codes are hidden, not pixels. But a code is computed from a receptive field
# that is larger than its own pixels. The visible codes next to the border have seen hidden pixels. How many of them
# would be other codes if the hidden pixels were others? We replace those, with grey and with another image's, encode
# again and compare.

# %%
n = min(world.config.n_curve, len(real[0]))
images = world.images.test[:n]
fills = {"grey": torch.full_like(images, 128), "another image": images.roll(1, 0)}
visible = enlarged(rows_kept(half), S)
encoded = {name: world.encode(torch.where(visible, images, fill)) for name, fill in fills.items()}
changed = {  # by fill, for each level: the share of codes that change, by row
    name: [(a != b[:n]).float().mean((0, 2)).cpu() for a, b in zip(codes, real, strict=True)]
    for name, codes in encoded.items()
}

# %%
fig, axes = plots.new_figure(1, 2, (3.9, 2.7))
for ax, level, border in zip(axes[0], (0, 1), (half, 2 * half), strict=True):
    for name, shares in changed.items():
        ax.plot(range(border), shares[level][:border], "o-", label=name)
    ax.axvline(border - 0.5, color="black", linewidth=0.8, linestyle=":")
    ax.set(
        xlabel="row of codes, all visible",
        xticks=range(0, border, max(1, border // 4)),
        ylim=(-0.03, 1.03),
        title=("top codes", "bottom codes")[level],
    )
    ax.grid(alpha=0.3)
axes[0, 0].set_ylabel("share that changes")
axes[0, 0].legend(fontsize=8, title="hidden pixels are now", title_fontsize=8)
data = {name: {"top": shares[0].tolist(), "bottom": shares[1].tolist()} for name, shares in changed.items()}
record.save_figure("07-02-leak", fig, title="Visible codes that depend on hidden pixels (border: dotted)", data=data)
fig

# %%
worst = [torch.stack([shares[level] for shares in changed.values()]).amax(0) for level in (0, 1)]
by_top_row = torch.maximum(worst[0], worst[1].view(H, 2).amax(1))[:half]  # of both levels
clean = int((by_top_row < 0.01).long().cumprod(0).sum())
untouched = int((by_top_row == 0).long().cumprod(0).sum())
share = {name: [s[level][: half * (level + 1)].mean().item() for level in (0, 1)] for name, s in changed.items()}
lines = [
    f"* hidden pixels replaced with **{name}**: {t:.0%} of all visible top and {b:.0%} of the bottom codes change; "
    f"in the row at the border {changed[name][0][half - 1]:.0%} and {changed[name][1][2 * half - 1]:.0%}"
    for name, (t, b) in share.items()
]
rest = f"* of the {half} visible rows the first {untouched} never change; in the first {clean}, fewer than 1 % do"
Markdown("\n".join([*lines, f"{rest} (both levels, {n} images)."]))

# %% [markdown]
# (Two fills are a sample: a code that neither changes may still depend on hidden pixels.) So there are three readings
# of "given", each with a price:
#
# * **whole image:** the codes of the whole image. They are what the prior was trained on, but they *leak*: through
#   them it learns of pixels that nobody should have seen.
# * **masked image:** the codes of the image with grey in the hidden part. Nothing leaks, but they say "grey comes
#   next", which no training image ever had.
# * **clean rows:** the codes of the whole image, of the rows only in which (almost) nothing depends on hidden
#   pixels. No leak, but visible pixels are thrown away and drawn anew.
#
# What each does to the completions: root mean square difference to the reconstruction of the whole image (pixels from
# −1 to 1), in the visible part, in the first hidden row of codes, and in the last.

# %%
whole = tuple(c[:n] for c in real)
readings = {
    "whole image": (whole, half),
    "masked image": (encoded["grey"], half),
    f"clean rows ({clean})": (whole, clean),
}
truth, completions = decode(*whole), {}
for name, (codes, rows) in readings.items():
    with seeded(seed):
        completions[name] = decode(*complete(priors["MLE"], codes, rows_kept(rows)))

# %%
bands = {"visible": (0, half), "first hidden row": (half, half + 1), "last hidden row": (H - 1, H)}
rms = lambda a, b: (a - b).square().mean().sqrt().item()  # noqa: E731
rows = [
    {"given codes of": name}
    | {band: rms(x[:, :, a * k : b * k], truth[:, :, a * k : b * k]) for band, (a, b) in bands.items()}
    for name, x in completions.items()
]
title = "Difference of completions to the whole image, by what is given"
Markdown(record.save_table("07-03-readings", rows, title=title, note=f"MLE, {half} of {H} rows visible, {n} images."))

# %%
shown = {"image, decoded": truth[:8], "hidden": hide(truth[:8], rows_kept(half))}
shown |= {f"given: {name}": x[:8] for name, x in completions.items()}
fig = plots.labelled_rows(shown)
record.save_figure("07-04-readings", fig, title="MLE completions of the same images from three kinds of given codes")
fig

# %%
key = "first hidden row"
leaky, masked, safe = (row[key] for row in rows)
start, stop = (k * b for b in bands[key])
squares = [
    (completions[name] - truth)[:, :, start:stop].square().flatten(1).mean(1)
    for name in ("whole image", "masked image")
]
d = (squares[0] - squares[1]).cpu()  # of each image
error = (2 * d.std() / len(d) ** 0.5).item()
clear = "beyond" if abs(d.mean()) > error else "within"
side = "nearer to" if leaky < masked else "farther from"
Markdown(
    f"Just below the border, completions from the whole image's codes are {abs(1 - leaky / masked):.1%} {side} the truth "
    f"than those from the masked image's ({leaky:.3g} and {masked:.3g}; the squares differ by {d.mean():+.2g} ± {error:.2g}, two standard "
    f"errors over {len(d)} images: {clear} the noise): the same pixels are visible, so such a difference is what "
    f"leaks, and what codes that the prior never saw cost. Clean rows give {safe:.3g}; there {half - clean} visible rows "
    f"are drawn anew as well, so that number does not measure the leak. The visible part differs from its reconstruction by {rows[0]['visible']:.3g} (whole image), {rows[1]['visible']:.3g} (masked image) and "
    f"{rows[2]['visible']:.3g} (clean rows)."
)

# %% [markdown]
# From here on we take the **whole image's codes**: it is the paper's reading, the codes are such as the prior was
# trained on, and all methods get the same ones. So comparisons *between methods* are fair. But what is given contains
# more than the visible pixels; no number below should be read as "how well can the hidden part be guessed".
#
# ## 2. Figure 7
#
# Test images, the first ones of the set, not chosen. From left to right more rows are given, two images for each
# number. The MLE completion and the first of RAL use the same random numbers.

# %%
steps = (max(1, H // 8), H // 4, H // 2, 3 * H // 4)  # rows given, for two columns each


def completions_of(method, number):
    """One completion of each of the first test images, two for each number of rows in `steps`."""
    with seeded(number):
        pairs = [tuple(c[2 * i : 2 * i + 2] for c in real) for i in range(len(steps))]
        done = [complete(priors[method], two, rows_kept(r)) for two, r in zip(pairs, steps, strict=True)]
    return decode(*(torch.cat(level) for level in zip(*done, strict=True)))


# %%
x = to_float(world.images.test[: 2 * len(steps)].to(world.device))
masks = [rows_kept(steps[i // 2]) for i in range(len(x))]
shown = {
    "input": x,
    "masked input": torch.cat([hide(x[i : i + 1], mask) for i, mask in enumerate(masks)]),
    "MLE": completions_of("MLE", seed),
    "RAL, once": completions_of("RAL intermediate", seed),
    "RAL, again": completions_of("RAL intermediate", seed + 1),
}
fig = plots.labelled_rows(shown, inch=1.0)
note = f"Rows of top codes given, for two columns each: {', '.join(map(str, steps))} of {H}. RAL: intermediate reward."
record.save_figure("figure-7", fig, title="Image completion, MLE and RAL (the paper's Fig. 7)", note=note)
print(note)
fig

# %% [markdown]
# What to look at: does the drawing go on across the border (colours, outlines)? Is the lower part *one* face, its left
# half like its right? Do the two completions of RAL differ where they may? The given part is not pixel for pixel the
# input: it is decoded codes, and the decoder looks across the border. Few images persuade and prove nothing; the paper
# stops here, we count in section 4.
#
# ## 3. Extension: what is given need not come first
#
# Nothing in `complete` asks for rows: `keep` is any mask of the top map. But raster order only looks *back*. We hide
# the right half, a block, and a stripe across the image; each leaves given codes that come after hidden ones.

# %%
i, j = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
keeps = {
    "lower half": rows_kept(half),
    "right half": j < W // 2,
    "block": ~((i >= H // 2) & (i < 3 * H // 4) & (j >= W // 4) & (j < 3 * W // 4)),
    "stripe": (i - j).abs() > H // 8,
}
shown = {"image, decoded": decode(*some)}
for name in ("right half", "block", "stripe"):
    with seeded(seed):
        drawn = decode(*complete(priors["MLE"], some, keeps[name]))
    shown |= {f"{name} hidden": hide(shown["image, decoded"], keeps[name]), f"{name} drawn": drawn}
fig = plots.labelled_rows(shown)
record.save_figure("07-05-plain", fig, title="Raster-order completion where given codes come after hidden ones (MLE)")
fig

# %% [markdown]
# Does the block know what is below it? We exchange everything that comes after its last hidden code with that of
# another image, keep the random numbers, and draw again.

# %%
keep = keeps["block"]
swapped = []
for c in some:
    hidden = ~enlarged(keep, c.shape[1])
    last = hidden.flatten().nonzero().max()  # the last hidden place in raster order
    after = (torch.arange(hidden.numel()) > last).view_as(hidden).to(c.device)
    swapped.append(torch.where(after, c.roll(1, 0), c))
drawn = []
for given in (some, swapped):
    with seeded(seed):
        drawn.append(complete(priors["MLE"], given, keep))

# %%
different = [
    (a != b)[:, ~enlarged(keep, a.shape[1])].float().mean().item() for a, b in zip(*drawn, strict=True)
]  # among the hidden codes of the top and of the bottom level
assert different[0] == 0
print(f"hidden codes that are others now: {different[0]:.0%} of the top level, {different[1]:.0%} of the bottom level")

# %% [markdown]
# The top level ignores what comes after: not approximately, but exactly, code by code. The bottom level may change,
# since its prior sees the whole top map, and with it those given top codes that stand near. Yet of the given *bottom*
# codes that come after, it knows nothing either.
#
# ### 3.1 Sampling-importance resampling
#
# Let $h$ be the hidden codes of both levels and $k$ the kept ones. What we want is the conditional; what raster order
# draws, with the kept codes put in where they stand, is another distribution:
#
# $$p(h \mid k) \propto \prod_{t \in h} G(c_t \mid c_{<t}) \prod_{t \in k} G(c_t \mid c_{<t}), \qquad
# q(h) = \prod_{t \in h} G(c_t \mid c_{<t})$$
#
# Their ratio is known up to a constant, and it is a product over kept codes:
#
# $$w(h) = \frac{p(h \mid k)}{q(h)} \propto \prod_{t \in k} G(c_t \mid c_{<t})$$
#
# In words: a completion is good if it makes what comes *after* it likely. (Kept codes before the first hidden one
# have the same factor in all tries; it cancels.) So draw $M$ tries $h_1 \dots h_M$ from $q$, and choose one of them
# with probability $w(h_m) / \sum_{m'} w(h_{m'})$. As $M$ grows, the choice becomes a sample of $p(h \mid k)$.


# %%
def tries_of(priors, given, keep, tries):
    """Codes of `tries` raster-order completions of each map, (n * tries, ...), and their log-weights (n, tries)."""
    n, masks = len(given[0]), [enlarged(keep, c.shape[1]) for c in given]
    many = [c.repeat_interleave(tries, 0) for c in given]
    top, bottom = sample_levels(priors, n * tries, world.shapes, given=many, keep=masks)
    with torch.no_grad():
        log_w = in_batches(priors[0].log_prob, top)[:, masks[0]].sum(1)
        log_w += in_batches(priors[1].log_prob, bottom, top)[:, masks[1]].sum(1)
    return (top, bottom), log_w.view(n, tries)


def chosen(codes, log_w):
    """Of each map's tries one, drawn by the weights."""
    m = torch.multinomial(log_w.softmax(1), 1)[:, 0] + log_w.shape[1] * torch.arange(len(log_w), device=log_w.device)
    return tuple(c[m] for c in codes)


# %%
M = 64
everything, choices, pictures = {}, {}, {"image, decoded": decode(*some)}
for name, keep in keeps.items():
    with seeded(seed):
        codes, log_w = tries_of(priors["MLE"], some, keep, M)
        everything[name], choices[name] = log_w.cpu(), chosen(codes, log_w)
    if name != "lower half":
        pictures[f"{name}, 1 try"] = decode(*(c[::M] for c in codes))  # the first try: plain completion
        pictures[f"{name}, {M} tries"] = decode(*choices[name])

# %%
with seeded(seed):
    by_ralkit = complete(priors["MLE"], some, keeps["block"], tries=M)
maps = zip(*choices["block"], *by_ralkit, strict=True)
same = sum(torch.equal(a, c) and torch.equal(b, d) for a, b, c, d in maps)
assert same > len(some[0]) / 2  # a rounded logit may move one draw, and with it the choice
print(f"{same} of {len(some[0])} completions are those of ralkit.sampling.complete(..., tries={M})")

# %%
fig = plots.labelled_rows(pictures)
record.save_figure("07-06-resampled", fig, title=f"Completion by resampling, from 1 try and from {M} (MLE)")
fig

# %% [markdown]
# ### 3.2 How many tries count?
#
# When one weight is much larger than all others, the "choice" is no choice. The **effective sample size** of normalised
# weights $\bar w_m$,
#
# $$\text{ESS} = \frac{1}{\sum_m \bar w_m^2} \in [1, M],$$
#
# says how many tries there are in effect. Its inverse is the chance that two choices from the same tries are the same
# one. Three more numbers: `spread`, the standard deviation of the log-weights; `gained`, how many nats more the kept
# codes get under the chosen try than under an average one; `real`, the same of the codes that were really there.


# %%
def ess(log_w):
    """Effective sample size of each row of log-weights (n, M): (n,)."""
    return 1 / log_w.softmax(1).square().sum(1)


def ess_of(log_w, m):
    """The same of m tries, a mean over the images and over all shares of m of their M tries."""
    return ess(log_w[:, : log_w.shape[1] // m * m].reshape(-1, m)).mean().item()


with torch.no_grad():
    level_logs = [priors["MLE"][0].log_prob(some[0]).cpu(), priors["MLE"][1].log_prob(some[1], some[0]).cpu()]
rows = []
for name, log_w in everything.items():
    at_real = sum(p[:, enlarged(keeps[name], p.shape[1])].sum(1) for p in level_logs)
    size = [int((~enlarged(keeps[name], n)).sum()) for n in (H, H_bottom)]
    row = {"hidden": name, "hidden codes": f"{size[0]} + {size[1]}", "spread": log_w.std(1).mean().item()}
    row |= {f"ESS of {m}": ess_of(log_w, m) for m in (4, 16, M)}
    gained = (log_w.softmax(1) * log_w).sum(1) - log_w.mean(1)
    rows.append(row | {"gained": gained.mean().item(), "real": (at_real - log_w.mean(1)).mean().item()})
note = f"MLE, means over {len(some[0])} images, few; spread, gained and real in nats."
Markdown(record.save_table("07-07-ess", rows, title="Effective sample size of resampling", note=note))

# %%
fig, ((ax,),) = plots.new_figure(size=(4.6, 3.2))
numbers = [2**e for e in range(7)]
for name, log_w in everything.items():
    ax.plot(numbers, [ess_of(log_w, m) for m in numbers], "o-", label=f"{name} hidden")
ax.plot(numbers, numbers, color="black", linewidth=0.8, linestyle=":", label="every try counts")
ax.set(xscale="log", yscale="log", xlabel="tries", ylabel="effective sample size")
ax.grid(alpha=0.3)
ax.legend(fontsize=8)
record.save_figure("07-08-ess", fig, title="Effective sample size along the number of tries")
fig

# %%
key = f"ESS of {M}"
best, least = max(rows, key=lambda row: row[key]), min(rows, key=lambda row: row[key])
below = [row["hidden"] for row in rows if row["gained"] < row["real"]]
first_row = rows[0]
Markdown(
    f"* {M} tries cost {M} times one completion. They count for {best[key]:.1f} with the {best['hidden']} hidden, for "
    f"{least[key]:.1f} with the {least['hidden']} hidden.\n"
    f"* In the latter case two choices from the same tries are the same one with probability "
    f"{ess(everything[least['hidden']]).reciprocal().mean():.2f}.\n"
    f"* The kept codes gain {best['gained']:.1f} and {least['gained']:.1f} nats; the real codes are "
    f"{best['real']:+.1f} and {least['real']:+.1f} nats from an average try. In {len(below)} of {len(rows)} cases the "
    "chosen try stays below the real codes.\n"
    f"* With the lower half hidden the tries count for {first_row[key]:.1f} of {M}, not for {M}: see below."
)

# %% [markdown]
# The trade-off: an ESS near $M$ means that what comes after hardly cared, and plain completion would have done. An ESS
# near 1 means that the result is the least bad of $M$ blind guesses: better than one, but not a sample of
# $p(h \mid k)$, and without diversity. In between resampling does what it promises. How many tries are needed? About
# $\exp(KL(p \| q))$ (Chatterjee and Diaconis): exponentially many in the nats that the kept codes tell about the hidden
# ones. So this is a tool for holes about which little that is kept comes later; their size alone does not decide (compare
# the block, the smallest, with the lower half). For the others the prior itself has to know other orders (order-agnostic
# training, see the references).
#
# **Even rows are not exact with two levels.** The kept bottom codes come after *all* top codes in the order of the
# model, and a bottom code looks at top codes below it. So $p(h \mid k)$ with rows hidden has weights as well: the first
# row of the table. The paper does not mention it. Plain sampling (`tries=1`) is what it describes, and what we measure
# next.
#
# ## 4. A number: does RAL help more, the more has to be generated?
#
# Exposure bias (notebooks 02 and 08): a prior trained by MLE has only seen real codes before each code. With many rows
# given it stands on real codes mostly; with none, on its own alone. If RAL cures this, its advantage should **grow
# with the share that has to be generated**. If RAL only learnt something that helps everywhere, it should not. The sign is
# necessary, not sufficient: sampling colder cures nothing, and may show it too, so MLE at temperature .8 stands beside.
#
# Completions of all test images of the measure, from the same random numbers for all methods, are compared with the
# reconstructions of the same images:
#
# | number | what it means |
# |---|---|
# | FD-faces | Fréchet distance of features to those of the reconstructions: 0 if all is given |
# | 1 − FD / FD of MLE | share of MLE's distance that a method takes away |
# | factors kept | share of the true factors that a classifier finds in the completion (procedural faces only) |
#
# Why a share? The distance falls for every method when more is given, so differences of distances shrink by themselves.
#
# Factors of the faces are independent of each other. So **even a perfect prior cannot keep a factor that is hidden**:
# with nothing given it keeps as many as another face does by chance. Its curve has to rise to that of the
# reconstructions; how fast, the data decide, and a method may lie *above* the truth as well as below.

# %%
counts = [0, H // 4, H // 2, 3 * H // 4]
metric, measured = world.metric, world.n_eval
COLD = "MLE at temperature 0.8"
samplers = {m: (m, 1.0) for m in methods} | {COLD: ("MLE", 0.8)}
results = {  # by seed
    name: [[study.measure_completion(m, s, rows, T) for rows in counts] for s in study.seeds]
    for name, (m, T) in samplers.items()
}
keys = list(results["MLE"][0][0])  # with factors kept, if the data have factors

ends = tuple(tuple(c[:measured] for c in world.codes[split]) for split in ("test", "train"))
given, other = (world.factors_kept(decode(*codes)) for codes in ends)
floors = {
    "all rows given": {metric: 0.0} | given,
    "other reconstructions": {metric: world.floors["reconstructions, other ones"][f"{metric} to reconstructed"]}
    | other,
}

# %%
runs = {m: [{"step": counts} | {k: [row[k] for row in rows] for k in keys} for rows in results[m]] for m in samplers}
fig = plots.curves(runs, keys, xlabel=f"rows of top codes given, of {H}")
for ax, key in zip(fig.axes, keys, strict=True):
    for style, (name, values) in zip((":", "--"), floors.items(), strict=True):
        ax.axhline(values[key], color="black", linewidth=1, linestyle=style, label=name)
    ax.set_xticks(counts)
fig.axes[0].legend(handles=[x for x in fig.axes[0].get_lines() if x.get_label() in floors], fontsize=7)
title = "Quality of completions along the rows given: every seed and the mean"
record.save_figure("07-quality", fig, title=title, data={"floors": floors} | runs)
fig


# %%
def by_seed(m, key):
    """One number of a method's completions: (seeds, counts of rows given)."""
    return np.array([[row[key] for row in rows] for rows in results[m]])


shares = {m: 1 - by_seed(m, metric) / by_seed("MLE", metric) for m in samplers}
rows = []
for i, count in enumerate(counts):
    for m in samplers:
        row = {"rows given": count, "method": m} | {key: spread(by_seed(m, key)[:, i]) for key in keys}
        rows.append(row | {"1 - FD / FD of MLE": spread(shares[m][:, i]) if m != "MLE" else ""})
rows += [
    {"rows given": "", "method": name} | {key: f"{v:.4g}" for key, v in values.items()} | {"1 - FD / FD of MLE": ""}
    for name, values in floors.items()
]
title = f"Quality of completions along the rows given, {over(study.seeds)}"
note = f"{measured} test images; distances to the reconstructions of the same images."
Markdown(record.save_table("07-quality-table", rows, title=title, note=note))

# %% [markdown]
# One share by hand, as a check of the table:


# %%
def features_of(method, rows):
    """Features of the first seed's completions, as the table measures them."""
    with seeded(11):
        return world.features(decode(*complete(priors[method], ends[0], rows_kept(rows))))


reference = world.reference_features("reconstructed")
ours, mle = (frechet_distance(reference, features_of(m, counts[2])) for m in ("RAL intermediate", "MLE"))
print(
    f"share with {counts[2]} rows given, seed {first}: {1 - ours / mle:.3f}; in the table {shares['RAL intermediate'][0, 2]:.3f}"
)
assert abs(1 - ours / mle - shares["RAL intermediate"][0, 2]) < 0.05

# %% [markdown]
# Now the test. For each method and each seed: a straight line through its shares, over the part of the image that is
# generated (0 to 1). Its slope is the answer: above 0, the method helps more where more is generated. All seeds complete
# the same test images; what differs is the training. A mean counts if it is beyond chance over seeds (95 %, Student's t).

# %%
part = np.array([1 - count / H for count in counts])
slopes = {m: np.polyfit(part, shares[m].T, 1)[0] for m in samplers if m != "MLE"}  # of each seed


def trend(d):
    """What slopes, one a seed, come to."""
    if len(d) == 1:
        return "one run decides nothing"
    return {
        -1: "it helps **less**, the more is generated",
        0: "no trend beyond chance",
        1: "it helps **more**, the more is generated",
    }[direction(d)]


# %%
lines = []
for m in slopes:
    ends_of = f"{shares[m][:, -1].mean():+.1%} with {counts[-1]} rows given, {shares[m][:, 0].mean():+.1%} with none"
    line = f"* **{m}** takes away of MLE's distance: {ends_of}; slope {spread(slopes[m], '+.3f')}: {trend(slopes[m])}."
    if m.startswith("RAL"):
        for other, whose in (("MLE continued", "the control's"), (COLD, f"that of {COLD}")):
            d = slopes[m] - slopes[other]
            line += f" Beyond {whose}: {spread(d, '+.3f')}: {trend(d)}."
        d = (shares[m] - shares["MLE continued"]).T
        line += " Shares beyond the control's: " + ", ".join(
            f"{spread(x, '+.3f')} ({count} rows given)" for x, count in zip(d, counts, strict=True)
        )
        line += "."
    lines.append(line)
ahead = [direction(d) for d in (shares["RAL partial"] - shares["RAL intermediate"]).T]  # for each number of rows
lines.append(
    f"* **Partial generation** takes away more of MLE's distance than whole maps with {ahead.count(1)} of {len(counts)} "
    f"numbers of rows given, less with {ahead.count(-1)}, not decided with {ahead.count(0)}."
)
Markdown("\n".join(lines) + "\n\n(± is the standard deviation of one seed)")

# %%
d = slopes["RAL intermediate"] - slopes["MLE continued"]
says = "Abstract: exposure bias is addressed (a necessary sign: RAL gains more, the more is generated)"
colder = slopes["RAL intermediate"] - slopes[COLD]
ours = f"slope {spread(d, '+.3f')} beyond the control's, {spread(colder, '+.3f')} beyond that of {COLD}"
row = claim(says, "no number", ours, -d.mean(), noise_over_seeds(d), -d)
Markdown(record.save_table("07-claims", [row], "The paper's claim on exposure bias"))


# %%
def kept_lines():
    """Factors kept, each method beside MLE, with the floors."""
    low, high = (floors[name]["factors kept"] for name in ("other reconstructions", "all rows given"))
    kept = {m: by_seed(m, "factors kept") for m in samplers}
    yield (
        f"Factors kept: {low:.1%} by chance (another face), {high:.1%} in the reconstructions. With MLE "
        + ", ".join(f"{x:.1%} ({count} rows given)" for count, x in zip(counts, kept["MLE"].mean(0), strict=True))
        + "."
    )
    for m in slopes:
        d = (kept[m] - kept["MLE"]).T
        yield f"* **{m}** less MLE: " + ", ".join(
            f"{spread(100 * x, '+.2f')} % ({count} rows)" for x, count in zip(d, counts, strict=True)
        )


Markdown("\n".join(kept_lines()) if "factors kept" in keys else "These data have no known factors.")

# %% [markdown]
# How to read it. A slope above the control's is what the exposure-bias story predicts; a flat or falling one says that
# the gain, if any, comes from elsewhere. A slope is not the whole answer: a method that loses everywhere, but less
# where more is generated, has a slope above 0 too, so look at the shares first. Nor is it a proof: with many rows given
# only the lowest part of the picture is generated, so a gain that sits in the upper part also gives a slope above 0.
# Notebook 08 compares the *same* rows. The RAL runs were trained on *whole*
# maps (intermediate), or on halves of either kind (partial): the paper says of the second, "mode-1 provides real
# latent codes as context and is useful for the image completion task", which is the last line of the verdict.
#
# ### 4.1 Diversity
#
# A prior that always completes in the same good way gets a fine picture and loses the point of sampling. For each of
# some images we draw 16 completions of the lower half and measure, in the hidden part alone, the root mean square
# difference of two of them; and, for the procedural faces, how many different values of a factor the classifier
# finds among the 16. For scale: 16 *different* real images, which is more than any completion should vary.

# %%
group = min(32, len(real[0]))
pair = torch.triu_indices(16, 16, 1)


def sixteen(method, temperature=1.0):
    """16 completions of the lower half of each of the first test images: (group, 16, 3, S, S)."""
    given = tuple(c[:group].repeat_interleave(16, 0) for c in real)
    with seeded(seed):
        codes = complete(priors[method], given, rows_kept(half), temperature=temperature)
    return decode(*codes).view(group, 16, 3, S, S)


# %%
def varied(images):
    """Of each group (n, 16, 3, S, S): mean difference of two, below the border, and distinct values of a factor."""
    below = images[..., half * k :, :].flatten(2)
    row = {"difference of two": (torch.cdist(below, below)[:, *pair].mean(1) / below.shape[2] ** 0.5).cpu()}
    if world.images.test_factors is not None:
        seen = world.features.factors(images.flatten(0, 1)).view(len(images), 16, -1)
        row["values of a factor"] = torch.tensor([[len(f.unique()) for f in g.T] for g in seen]).double().mean(1)
    return row


# %%
drawn = {m: sixteen(m) for m in methods}
variety = {m: varied(x) for m, x in drawn.items()}
several = len(real[0]) // 16
reals = decode(*(c[: 16 * several] for c in real)).view(several, 16, 3, S, S)[:group]
rows = [{"16 of": m} | {key: v.mean().item() for key, v in row.items()} for m, row in variety.items()]
rows.append({"16 of": "different real images"} | {key: v.mean().item() for key, v in varied(reals).items()})
note = f"Lower half hidden, {group} test images, seed {first}; reconstructions of {len(reals)} times 16 real images."
Markdown(record.save_table("07-diversity-table", rows, title="Diversity of 16 completions of one image", note=note))

# %%
shown = {m: drawn[m][0] for m in methods if m != "MLE continued"}
fig = plots.labelled_rows({"given": hide(decode(*(c[:1] for c in real)), rows_kept(half))} | shown, inch=0.7)
record.save_figure("07-diversity", fig, title="Sixteen completions of one image")
fig


# %%
def against_mle(m, key):
    """How a method's diversity compares with MLE's, over the same images."""
    ours, mle = variety[m][key], variety["MLE"][key]
    change, two = (ours - mle).mean().item(), 2 * ((ours - mle).std() / len(ours) ** 0.5).item()
    verdict = "within the noise" if abs(change) <= two else ("**more** diverse" if change > 0 else "**less** diverse")
    return (
        f"{key} {mle.mean():.3g} → {ours.mean():.3g} ({change / mle.mean():+.1%}, {verdict}: {change:+.2g} ± {two:.2g})"
    )


lines = [f"* **{m}** beside MLE: " + "; ".join(against_mle(m, key) for key in variety[m]) for m in methods[1:]]
Markdown(
    "\n".join([*lines, "", f"(± is two standard errors over images; of seed {first} alone, no word on other seeds)"])
)

# %% [markdown]
# Read this beside the verdict above: a method that comes nearer and loses diversity may have bought one with the
# other, which the MLE prior can do as well, by its temperature (exercise 3).
#
# ## 5. Play: rows, temperature, method


# %%
def explore(rows=half, temperature=1.0, method="RAL intermediate", image=0):
    """Eight completions of one test image."""
    given = tuple(c[image : image + 1].expand(8, -1, -1) for c in real)
    with seeded(seed):
        codes = complete(priors[method], given, rows_kept(rows), temperature=temperature)
    picture = decode(*(c[:1] for c in given))
    row = torch.cat([picture, hide(picture, rows_kept(rows)), decode(*codes)])
    title = f"image, what is given, 8 completions: {rows} of {H} rows, temperature {temperature:g}, {method}"
    return plots.image_grid(row, columns=10, title=title)


explore()

# %%
widgets.explore(
    explore, rows=(0, H), temperature=(0.1, 1.5, 0.1), method=list(methods), image=(0, min(31, len(real[0]) - 1))
)

# %% [markdown]
# Draw a mask yourself: a pressed button hides its place of the top map. Each completion is the best of a few tries,
# drawn with the weights of section 3.1.


# %%
def explore_mask(keep=keeps["block"], image=0, tries=8):
    """Six completions of one test image where the mask hides it."""
    given = tuple(c[image : image + 1].expand(6, -1, -1) for c in real)
    with seeded(seed):
        codes = complete(priors["RAL intermediate"], given, keep, tries=tries)
    picture = decode(*(c[:1] for c in given))
    row = torch.cat([picture, hide(picture, keep), decode(*codes)])
    return plots.image_grid(row, columns=8, title=f"image, what is given, 6 completions of {tries} tries each")


explore_mask()

# %%
mask = widgets.Mask(keeps["block"])
widgets.explore(explore_mask, keep=mask, image=(0, min(31, len(real[0]) - 1)), tries=[1, 8, 32])

# %% [markdown]
# ## Readings and deviations
#
# 1. "zeroing out their corresponding locations in latent maps": the image is encoded whole, its codes are hidden.
#    Codes near the border know of hidden pixels (section 1.2). → `sampling.complete`
# 2. "the corresponding location can be approximated by the encoder": $r$ rows of top codes, $2r$ of bottom codes and
#    $rS/H$ rows of pixels belong together. → `sampling.complete`
# 3. "autoregressive models can continue sampling the remaining codes": top codes first, then bottom codes, each after
#    the given ones of its level. That the bottom codes given should also weigh on the top codes is left out, as in the
#    paper (section 3.2). → `complete(tries=1)`
# 4. "We illustrate two modes of the proposed model to show the proposed method can generate diverse samples": read
#    as two completions by the same priors from different random numbers. → `training.seeded`
# 5. "LSUN-bedroom (128×128)": **deviation**, the preset's images; bring your own by the parameter `dataset`. →
#    `data.load`
# 6. (silent on which RAL model): the intermediate reward on whole maps; in section 4 partial generation beside it. →
#    `runs.RUNS`
# 7. (silent on the temperature and on how images were picked): 1, and the first of the test set.
# 8. (no number for completion): Fréchet distance and factors kept. → `Study.measure_completion`
# 9. (rows only): any mask, and resampling, are our **extension**. → `complete(keep, tries)`
#
# ## What to take away
#
# * Completing rows is sampling that starts later: exact with one level; with two, the effective sample size tells how
#   nearly.
# * Hiding codes is not hiding pixels. The encoder looks across the border, and tells.
# * What comes after, raster order ignores. Weights repair that where what comes after tells little; the effective sample
#   size says where.
# * The share that is given is a dial for exposure bias: judge RAL by how its gain depends on it, beside the control.
# * Never judge completions by their looks alone: quality with diversity, and factors that *cannot* be known.
#
# ## Exercises
#
# 1. Which factors does the upper half decide? For each factor compare the share kept with half of the rows given with
#    chance. Which ones should stand at chance, and if they are above it, why? (Faces only.)

# %% tags=["solution"] jupyter={"source_hidden": true}
# Hair, brows and the background are given. Mouth, beard and shirt lie below: independent of the rest, so a perfect
# prior keeps them by chance, and what is above chance (and above noise) came through the border (section 1.2). Eyes and
# glasses lie across it.
if world.images.test_factors is not None:
    with seeded(11):
        completed = decode(*complete(priors["MLE"], whole, rows_kept(half)))
    shares = []
    for x in (completed, decode(*(c[:n] for c in world.codes["train"]))):
        seen = world.features.factors(x)
        shares.append((seen == world.images.test_factors[: len(seen)]).double().mean(0).tolist())
    for name, kept, chance in zip(FACTORS, *shares, strict=True):
        print(f"{name:12} kept {kept:.0%}, by chance {chance:.0%}")

# %% [markdown]
# 2. Turn the task round: hide the *upper* half and give the lower. What does plain completion condition on, and how many
#    of 64 tries count?

# %% tags=["solution"] jupyter={"source_hidden": true}
# The top codes condition on nothing: all that is given comes after them. Each try is a whole new upper half, and hardly
# any fits; the weights of many kept codes differ by many nats.
with seeded(seed):
    codes, log_w = tries_of(priors["MLE"], some, ~rows_kept(half), M)
print(f"ESS {ess(log_w).mean():.2f} of {M}; log-weights spread by {log_w.std(1).mean():.1f} nats")
rows = {"1 try": decode(*(c[::M] for c in codes)), f"{M} tries": decode(*chosen(codes, log_w))}
plots.labelled_rows({"given": hide(decode(*some), ~rows_kept(half))} | rows)

# %% [markdown]
# 3. Temperature as the opponent. Complete half of the rows by the MLE priors at temperature 0.8. Where do distance and
#    diversity stand, beside RAL?

# %% tags=["solution"] jupyter={"source_hidden": true}
# Whatever RAL gains has to be more than what sharper MLE priors give for nothing, at the same diversity.
with seeded(11):
    x = decode(*complete(priors["MLE"], ends[0], rows_kept(half), temperature=0.8))
cool = frechet_distance(reference, world.features(x)), varied(sixteen("MLE", 0.8))["difference of two"].mean()
print(f"{'MLE at 0.8':17} {metric} {cool[0]:.4g}, difference of two {cool[1]:.3g}")
for m in methods:
    print(
        f"{m:17} {metric} {results[m][0][2][metric]:.4g}, difference of two {variety[m]['difference of two'].mean():.3g}"
    )

# %% [markdown]
# ## References
#
# * The paper: Ak et al., *Incorporating Reinforced Adversarial Learning in Autoregressive Image Generation*, ECCV
#   2020.
# * van den Oord et al., *Pixel recurrent neural networks*, [1601.06759](https://arxiv.org/abs/1601.06759): completions
#   by an autoregressive model.
# * Razavi et al., *Generating diverse high-fidelity images with VQ-VAE-2*,
#   [1906.00446](https://arxiv.org/abs/1906.00446).
# * Rubin, *Using the SIR algorithm to simulate posterior distributions*, 1988 (sampling-importance resampling); Kong et
#   al., *Sequential imputations and Bayesian missing data problems*, 1994 (effective sample size).
# * Chatterjee and Diaconis, *The sample size required in importance sampling*,
#   [1511.01437](https://arxiv.org/abs/1511.01437).
# * Bengio et al., *Scheduled sampling*, [1506.03099](https://arxiv.org/abs/1506.03099): exposure bias.
# * Uria et al., *A deep and tractable density estimator*, [1310.1757](https://arxiv.org/abs/1310.1757); Jain et al.,
#   *Locally masked convolution for autoregressive models*, [2006.12486](https://arxiv.org/abs/2006.12486): other orders.
