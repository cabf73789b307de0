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
# Hide a part of an image, and let the prior draw what could have been there. For an autoregressive prior, which draws
# one code after the other, this needs no training of its own. It is sampling that starts later. The paper shows it in
# one figure, but here it is more than a picture. Each row of codes that is given is a row that the prior need not draw.
# So completion is a dial for *how far a prior has to go on from its own samples*, and this is what RAL is meant to
# improve.
#
# After this notebook you can
# * say which codes are known when pixels are hidden, and measure what the encoder tells of the hidden ones;
# * reproduce Figure 7;
# * complete what raster order (row by row, from left to right) cannot, by sampling-importance resampling, and tell from
#   the *effective sample size*, the number of tries that really count, when not to trust it;
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
# We use two levels of codes and compare four pairs of priors, each with one prior for the top codes and one for the
# bottom codes.
#
# * **MLE** is where the others start.
# * **MLE continued** is the control. It trains on by maximum likelihood for about as long as RAL intermediate takes.
# * **RAL intermediate** gives a reward to each code, and makes whole maps.
# * **RAL partial** uses *partial generation* (section 4.3), so it makes only parts of maps. Half of the time it goes on
#   from real codes. It makes twice as many updates.
#
# The pictures and section 4.1 show the first seed. The rest of section 4 has all seeds.

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
# We begin with one level of codes. In raster order the codes before $t_0$ are given, and the rest is not:
#
# $$p(c_{t_0} \dots c_{T-1} \mid c_0 \dots c_{t_0-1}) = \prod_{t=t_0}^{T-1} G(c_t \mid c_0 \dots c_{t-1})$$
#
# These are the factors that sampling multiplies anyway. So the sampler takes the given codes as they are, and draws
# from $t_0$ on. The result is an exact sample of the conditional, at less than the cost of a whole map. With two levels
# the top prior does this first. Then the bottom prior does it, and it sees the whole top map:
#
# $$p(c) = \prod_t G_\text{top}(c^\text{top}_t \mid c^\text{top}_{<t}) \;
# \prod_t G_\text{bottom}(c^\text{bottom}_t \mid c^\text{bottom}_{<t}, c^\text{top})$$
#
# A row of top codes stands for `S / H` rows of pixels and for two rows of bottom codes. Here `S` is the height of the
# image in pixels, and `H` is the number of rows of the top map.
#
# The next cells complete the lower half of some images. The figure shows one of them, from left to right: the
# reconstruction, the visible pixels, the given codes of both levels, and the completed image. Grey stands for what is
# hidden.


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
record.figure("07-01-given", fig, title="Hidden pixels, the codes that are given, and one completion")

# %% [markdown]
# ### 1.2 What the encoder gives away
#
# The paper says: "These hidden rows can be simply eliminated by zeroing out their corresponding locations in latent
# maps". So the image is encoded *whole*, and then codes are hidden, not pixels. But a code is computed from a receptive
# field that is larger than its own pixels. So the visible codes next to the border have seen hidden pixels.
#
# How many of them would be other codes if the hidden pixels were others? To find out, we replace the hidden pixels with
# grey, and then with those of another image. Each time we encode again and count the codes that change. In the next
# figure, the horizontal axis is the row of codes, from the top of the image down to the dotted border. The vertical
# axis is the share of codes that change. There is one panel for each level. Look at how far above the border codes
# still change.

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
record.figure("07-02-leak", fig, title="Visible codes that depend on hidden pixels (border: dotted)", data=data)

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
# (Two fills are only a sample, so a code that neither of them changes may still depend on hidden pixels.) What "given"
# means can therefore be read in three ways, and each has a price:
#
# * **whole image:** we give the codes of the whole image. The prior was trained on such codes, but they *leak*, because
#   through them it learns of pixels that nobody should have seen.
# * **masked image:** we give the codes of the image with grey in the hidden part. Nothing leaks, but these codes say
#   "grey comes next", which no training image ever had.
# * **clean rows:** we give codes of the whole image, but only of the rows in which (almost) nothing depends on hidden
#   pixels. Nothing leaks, but visible pixels are thrown away and drawn anew.
#
# What does each reading do to the completions? The next table compares them with the reconstruction of the whole image.
# The number is the root mean square difference of the pixels, which go from −1 to 1, so 0 means no difference. It is
# taken in the visible part, in the first hidden row of codes, and in the last. The pictures follow below the table,
# with one column for each image.

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
record.table("07-03-readings", rows, title=title, note=f"MLE, {half} of {H} rows visible, {n} images.")

# %%
shown = {"image, decoded": truth[:8], "hidden": hide(truth[:8], rows_kept(half))}
shown |= {f"given: {name}": x[:8] for name, x in completions.items()}
fig = plots.labelled_rows(shown)
record.figure("07-04-readings", fig, title="MLE completions of the same images from three kinds of given codes")

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
# From here on we take the **whole image's codes**. This is the paper's reading, the prior was trained on such codes,
# and all methods get the same ones. So comparisons *between methods* are fair. But what is given contains more than the
# visible pixels. So no number below should be read as "how well can the hidden part be guessed".
#
# ## 2. Figure 7
#
# The next figure shows the first images of the test set, which were not chosen. From left to right more rows are given,
# with two images for each number of rows. From top to bottom are the input, what is visible of it, one completion by
# MLE, and two by RAL. The MLE completion and the first one of RAL use the same random numbers. The cell prints how many
# rows are given.
#
# Three questions help in looking. Does the drawing go on across the border, in its colours and outlines? Is the lower
# part *one* face, with a left half like its right? Do the two completions of RAL differ where they may?

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
print(note)
record.figure("figure-7", fig, title="Image completion, MLE and RAL (the paper's Fig. 7)", note=note)

# %% [markdown]
# The given part is not the input pixel for pixel, because it is decoded from codes, and the decoder looks across the
# border. A few images persuade and prove nothing. The paper stops here, but we count in section 4.
#
# ## 3. Extension: what is given need not come first
#
# The function `complete` does not ask for rows, because `keep` may be any mask of the top map. But raster order only
# looks *back*. We now hide the right half, a block, and a stripe across the image. Each of them leaves given codes that
# come after hidden ones. The first row of the next figure has the whole images. Then each mask has two rows, the images
# with the hidden part in grey and, below them, what MLE draws there. Check whether what is drawn fits what is given
# around it, and above all what is given below it.

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
record.figure("07-05-plain", fig, title="Raster-order completion where given codes come after hidden ones (MLE)")

# %% [markdown]
# Does the block know what is below it? To find out, we take everything that comes after its last hidden code, and
# exchange it with that of another image. We keep the random numbers and draw again. Then we count the hidden codes that
# are now others.

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
# The top level ignores what comes after. This is not approximate but exact, code by code. The bottom level may change,
# because its prior sees the whole top map, and with it the given top codes that stand near. But it, too, knows nothing
# of the given *bottom* codes that come after.
#
# ### 3.1 Sampling-importance resampling
#
# The remedy is to draw several completions and to choose one that fits. Let $h$ be the hidden codes of both levels, and
# $k$ the kept ones. What we want is the conditional $p(h \mid k)$. But what raster order draws, with the kept codes put
# in where they stand, is another distribution $q(h)$:
#
# $$p(h \mid k) \propto \prod_{t \in h} G(c_t \mid c_{<t}) \prod_{t \in k} G(c_t \mid c_{<t}), \qquad
# q(h) = \prod_{t \in h} G(c_t \mid c_{<t})$$
#
# Their ratio is called the *weight* $w(h)$. It is known up to a constant, and it is a product over the kept codes:
#
# $$w(h) = \frac{p(h \mid k)}{q(h)} \propto \prod_{t \in k} G(c_t \mid c_{<t})$$
#
# In words, a completion is good if it makes what comes *after* it likely. (Kept codes before the first hidden one have
# the same factor in all tries, so it cancels.) So we draw $M$ tries $h_1 \dots h_M$ from $q$, and choose one of them
# with probability $w(h_m) / \sum_{m'} w(h_{m'})$. As $M$ grows, the choice becomes a sample of $p(h \mid k)$. This
# method is called **sampling-importance resampling**.
#
# The next cells do it for each mask, and check the result against `ralkit.sampling.complete`. The figure then shows,
# for each mask, the completion from one try above the one chosen from many. Check whether the second fits what is given
# after it better than the first.


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
record.figure("07-06-resampled", fig, title=f"Completion by resampling, from 1 try and from {M} (MLE)")

# %% [markdown]
# ### 3.2 How many tries count?
#
# If one weight is much larger than all others, the "choice" is no choice. The **effective sample size** (ESS) of
# normalised weights $\bar w_m$,
#
# $$\text{ESS} = \frac{1}{\sum_m \bar w_m^2} \in [1, M],$$
#
# says how many tries there are in effect. Its inverse is the chance that two choices from the same tries are the same
# one.
#
# The next table gives the ESS for each mask and for several numbers of tries. It has three more columns, in *nats*, the
# unit of natural logarithms:
#
# * `spread` is the standard deviation of the log-weights;
# * `gained` says how many nats more the kept codes get under the chosen try than under an average one;
# * `real` says the same of the codes that were really there, instead of the chosen try.
#
# In the figure after the table, the horizontal axis is the number of tries and the vertical axis is the ESS. On the
# dotted line every try counts. Look at how far below it each mask stays.


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
record.table("07-07-ess", rows, title="Effective sample size of resampling", note=note)

# %%
fig, ((ax,),) = plots.new_figure(size=(4.6, 3.2))
numbers = [2**e for e in range(7)]
for name, log_w in everything.items():
    ax.plot(numbers, [ess_of(log_w, m) for m in numbers], "o-", label=f"{name} hidden")
ax.plot(numbers, numbers, color="black", linewidth=0.8, linestyle=":", label="every try counts")
ax.set(xscale="log", yscale="log", xlabel="tries", ylabel="effective sample size")
ax.grid(alpha=0.3)
ax.legend(fontsize=8)
record.figure("07-08-ess", fig, title="Effective sample size along the number of tries")

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
# So there is a trade-off, and the ESS says where one stands.
#
# * If the ESS is near $M$, then what comes after hardly cared, and plain completion would have done.
# * If the ESS is near 1, then the result is the least bad of $M$ blind guesses. It is better than one guess, but it is
#   not a sample of $p(h \mid k)$, and it has no diversity.
# * In between, resampling does what it promises.
#
# How many tries are needed? About $\exp(KL(p \| q))$, where the KL divergence measures how far $q$ is from $p$
# (Chatterjee and Diaconis). So their number grows exponentially with the nats that the kept codes tell about the hidden
# ones. This makes resampling a tool for holes about which little that is kept comes later. The size of a hole alone
# does not decide. For example, compare the block, which is the smallest, with the lower half. For the other holes the
# prior itself has to know other orders than raster order (order-agnostic training, see the references).
#
# **Even rows are not exact with two levels.** In the order of the model, the kept bottom codes come after *all* top
# codes, and a bottom code looks at top codes below it. So $p(h \mid k)$ has weights also if only rows are hidden, as
# the first row of the table shows. The paper does not mention it. It describes plain sampling (`tries=1`), and this is
# what we measure next.
#
# ## 4. A number: does RAL help more, the more has to be generated?
#
# A prior trained by MLE has only seen real codes before each code, but in sampling it has to go on from its own. This
# is called *exposure bias* (notebooks 02 and 08). With many rows given the prior stands mostly on real codes, and with
# none it stands on its own alone. If RAL cures exposure bias, its advantage should **grow with the share that has to be
# generated**. If RAL only learnt something that helps everywhere, the advantage should not grow.
#
# This sign is necessary, but not sufficient. The *temperature* shows why. It divides the logits before a code is drawn,
# and below 1 the prior keeps to likely codes. Such colder sampling cures nothing and may still show the sign. So MLE at
# temperature .8 stands beside the other methods.
#
# We complete all test images that are measured, with the same random numbers for all methods. Then we compare the
# completions with the reconstructions of the same images, by three numbers:
#
# | number | what it means |
# |---|---|
# | FD-faces | Fréchet distance of features to those of the reconstructions: 0 if all is given |
# | 1 − FD / FD of MLE | share of MLE's distance that a method takes away |
# | factors kept | share of the true factors that a classifier finds in the completion (procedural faces only) |
#
# The second number is a share for a reason. When more is given, the distance (FD) falls for every method, so
# differences of distances shrink by themselves.
#
# The third number needs care. A procedural face is drawn by a program from factors, for example hair or glasses, which
# are independent of each other. So **even a perfect prior cannot keep a factor that is hidden**. With nothing given, it
# keeps as many factors as another face does by chance. As more rows are given, its curve has to rise to that of the
# reconstructions. How fast it rises depends on the data, and a method may lie *above* the truth as well as below.
#
# In the next figure, the horizontal axis is the number of rows given, and the vertical axes are FD-faces, where lower
# is better, and factors kept. There is one curve for each method. The horizontal lines are the values with all rows
# given, and those of other reconstructions. Look at where the curves of the methods lie apart, and where they meet. The
# table after it has the same numbers and the shares.

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
record.figure("07-quality", fig, title=title, data={"floors": floors} | runs)


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
record.table("07-quality-table", rows, title=title, note=note)

# %% [markdown]
# The next cell computes one share by hand, as a check of the table.


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
# Now comes the test. For each method and each seed we fit a straight line to its shares, along the part of the image
# that is generated (0 to 1). Its slope is the answer. If it is above 0, the method helps more where more is generated.
# All seeds complete the same test images, so they differ only in the training. A mean counts if it is beyond chance
# over seeds (95 %, Student's t).

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
record.table("07-claims", [row], "The paper's claim on exposure bias")


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
# How should one read this? A slope above the control's is what the exposure-bias story predicts. A flat or falling one
# says that the gain, if there is any, comes from elsewhere. But a slope alone is not the whole answer. For example, a
# method that loses everywhere, but loses less where more is generated, also has a slope above 0. So look at the shares
# first.
#
# Nor is the slope a proof. With many rows given, only the lowest part of the picture is generated, so a gain that sits
# in the upper part also gives a slope above 0. Notebook 08 therefore compares the *same* rows.
#
# The two RAL runs also differ in their training. RAL intermediate was trained on *whole* maps, and RAL partial on
# halves of either kind. The paper says of the second, "mode-1 provides real latent codes as context and is useful for
# the image completion task". The last line of the verdict, above the claims table, is about this.
#
# ### 4.1 Diversity
#
# A prior that always completes in the same good way makes a fine picture, but it loses the point of sampling. So we
# draw 16 completions of the lower half for each of some images, and measure two numbers. The first is the root mean
# square difference of two completions, in the hidden part alone. The second is for the procedural faces only. It says
# how many different values of a factor the classifier finds among the 16. Higher means more diverse in both. For scale,
# the last row of the table has 16 *different* real images, which vary more than any completions should. The figure
# after it shows the 16 completions of one image, with one row for each method.

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
record.table("07-diversity-table", rows, title="Diversity of 16 completions of one image", note=note)

# %%
shown = {m: drawn[m][0] for m in methods if m != "MLE continued"}
fig = plots.labelled_rows({"given": hide(decode(*(c[:1] for c in real)), rows_kept(half))} | shown, inch=0.7)
record.figure("07-diversity", fig, title="Sixteen completions of one image")


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
# Read this beside the verdict above. A method that comes nearer and loses diversity may have bought one with the other.
# The MLE prior can do this as well, by its temperature (exercise 3).
#
# ## 5. Play: rows, temperature, method
#
# Choose an image, a method, the number of rows given, and the temperature. You see the image, what is given of it, and
# eight completions.


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
# Here you can draw a mask yourself. A pressed button hides its place of the top map. Each completion is chosen from a
# few tries, with the weights of section 3.1.


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
# 1. "zeroing out their corresponding locations in latent maps": the image is encoded whole, and then its codes are
#    hidden. So codes near the border know of hidden pixels (section 1.2). → `sampling.complete`
# 2. "the corresponding location can be approximated by the encoder": $r$ rows of top codes, $2r$ of bottom codes and
#    $rS/H$ rows of pixels belong together. → `sampling.complete`
# 3. "autoregressive models can continue sampling the remaining codes": top codes are drawn first and then bottom codes,
#    each after the given ones of its level. The given bottom codes should also weigh on the top codes, but this is left
#    out, as in the paper (section 3.2). → `complete(tries=1)`
# 4. "We illustrate two modes of the proposed model to show the proposed method can generate diverse samples": read as
#    two completions by the same priors from different random numbers. → `training.seeded`
# 5. "LSUN-bedroom (128×128)": **deviation**, because we use the preset's images. You can bring your own by the
#    parameter `dataset`. → `data.load`
# 6. (silent on which RAL model): we take the intermediate reward on whole maps, and in section 4 partial generation
#    beside it. → `runs.RUNS`
# 7. (silent on the temperature and on how images were picked): the temperature is 1, and the images are the first of
#    the test set.
# 8. (no number for completion): we add the Fréchet distance and the factors kept. → `Study.measure_completion`
# 9. (rows only): any mask, and resampling, are our **extension**. → `complete(keep, tries)`
#
# ## What to take away
#
# * Completing rows is sampling that starts later. It is exact with one level, and with two the effective sample size
#   tells how nearly.
# * Hiding codes is not hiding pixels. The encoder looks across the border, and its codes tell what it saw.
# * Raster order ignores what comes after. Weights repair that where what comes after tells little, and the effective
#   sample size says where.
# * The share that is given is a dial for exposure bias. So judge RAL by how its gain depends on this share, beside the
#   control.
# * Never judge completions by their looks alone. Look at quality together with diversity, and at factors that *cannot*
#   be known.
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
# 2. Turn the task round: hide the *upper* half and give the lower. What does plain completion condition on, and how
#    many of 64 tries count?

# %% tags=["solution"] jupyter={"source_hidden": true}
# The top codes condition on nothing: all that is given comes after them. Each try is a whole new upper half, and hardly
# any fits; the weights of many kept codes differ by many nats.
with seeded(seed):
    codes, log_w = tries_of(priors["MLE"], some, ~rows_kept(half), M)
print(f"ESS {ess(log_w).mean():.2f} of {M}; log-weights spread by {log_w.std(1).mean():.1f} nats")
rows = {"1 try": decode(*(c[::M] for c in codes)), f"{M} tries": decode(*chosen(codes, log_w))}
plots.labelled_rows({"given": hide(decode(*some), ~rows_kept(half))} | rows)

# %% [markdown]
# 3. Temperature as the opponent: complete half of the rows by the MLE priors at temperature 0.8. Where do distance and
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
#   *Locally masked convolution for autoregressive models*, [2006.12486](https://arxiv.org/abs/2006.12486): other
#   orders.
