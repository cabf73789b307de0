# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · RAL on images: one map of codes and two
#
# Notebook 03 asked whether RAL helps where the truth is known. Now we ask the paper's own question (section 5.3). The
# images are no longer drawn by an oracle, so nobody knows their probability. We judge by distances between sets of
# features instead. The images are also larger, so one map of codes is not enough. **VQ-VAE-2** keeps a coarse *top* map
# and a fine *bottom* map, and each of them has a prior of its own.
#
# After this notebook you can
# * say what each level of a VQ-VAE-2 holds, and sample both with exact caches;
# * build a PixelSNAIL prior: gated residual blocks, causal attention, a condition from the level above;
# * read a Fréchet distance with its floors, and tell fidelity from coverage;
# * test a number with known damage before you trust it, and say what it sees;
# * run the paper's Table 2, with the noise that it leaves out.
#
# *Before:* [04 · RAL step by step](04_ral.ipynb). *After:*
# [06 · partial generation, two levels, and what matters](06_partial.ipynb).

# %% tags=["parameters"]
preset = "deep"  # its weights are in data/pretrained/; or smoke, quick (all trained within the hour) or gpu
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
import copy
import inspect
import time

import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

# %%
from ralkit.course import paper, plots, widgets
from ralkit.course.claims import PRICE, REJECTED, claim
from ralkit.course.exercises import check
from ralkit.course.record import Record, markdown_table
from ralkit.course.significance import direction, noise_over_seeds, over, side, spread
from ralkit.course.study import Study
from ralkit.course.validity import DAMAGES, nearest_faces
from ralkit.course.workers import train_together
from ralkit.course.world import World
from ralkit.metrics import fidelity, frechet_distance
from ralkit.prior import Attention, PixelSNAIL, SnailBlock
from ralkit.sampling import sample_levels, sample_naive
from ralkit.training import device_name, seeded
from ralkit.vqvae import to_float

one, two = (Study(World(preset, dataset, seed, levels=n, pretrained=pretrained)) for n in (1, 2))
record = Record(two.world, max(one.seeds, two.seeds, key=len))
print(record.about("05_images"))

# %% [markdown]
# ## 1 · Two levels of codes
#
# The encoder goes down to the bottom map, then one stage further to the top map. The top codes are chosen first. The
# bottom codes are then chosen from the encoder's features *and* the decoded top codes, so they need not say again what
# the top has said. The decoder sees both maps.
#
# The next figure shows what each level holds. The first three rows are real images and what one level and two levels
# keep of them. In the last two rows, one of the two maps is taken from the next image in the row.

# %%
images = two.world.images.test[:8]
top, bottom = (c[:8] for c in two.world.codes["test"])
rows = {
    "real": images,
    "one level": one.world.decode(one.world.codes["test"][0][:8]),
    "two levels": two.world.decode(top, bottom),
    "top of the next": two.world.decode(top.roll(-1, 0), bottom),
    "bottom of the next": two.world.decode(top, bottom.roll(-1, 0)),
}
figure = plots.labelled_rows(rows)
record.figure("05-01-levels", figure, "What each level holds: one level swapped with the next image's")

# %% [markdown]
# One level loses small things such as a mouth or the frame of glasses. Two levels keep most of them. In the last two
# rows the drawing follows the *bottom* map, with the outline, the hair and the expression. The top map shifts the
# colours of large areas, and the colours that come out often belong to neither image. So the levels do not split the
# work into parts that one could exchange, because the decoder reads both together. The next lines put numbers on it.


# %%
def error(study):
    """Mean squared error of the decoded test images, pixels in [-1, 1]."""
    world = study.world
    n = min(len(world.images.test), 1000)
    decoded = world.decode(*(c[:n] for c in world.codes["test"]))
    return F.mse_loss(decoded.cpu(), to_float(world.images.test[:n])).item()


swapped = {
    name: F.mse_loss(rows[name], rows["two levels"]).item() for name in ("top of the next", "bottom of the next")
}
codes = {study.world.levels: sum(h * w for h, w in study.world.shapes) for study in (one, two)}
Markdown(
    f"One level: {codes[1]} codes an image, error {error(one):.4f}. Two levels: {codes[2]} codes, error "
    f"{error(two):.4f}. Swapping the top map changes the picture by {swapped['top of the next']:.3f}, swapping the "
    f"bottom map by {swapped['bottom of the next']:.3f}: here the "
    f"{'top' if swapped['top of the next'] > swapped['bottom of the next'] else 'bottom'} map decides more."
)

# %% [markdown]
# ## 2 · PixelSNAIL
#
# The prior of both maps factorises as
#
# $$p(c^\text{top}, c^\text{bottom}) = \prod_t G_\text{top}(c^\text{top}_t \mid c^\text{top}_{<t}) \;
# \prod_t G_\text{bottom}(c^\text{bottom}_t \mid c^\text{bottom}_{<t}, c^\text{top}).$$
#
# PixelSNAIL, as we build it, keeps the two streams of notebook 02 (reading 2). It changes what a layer is. Each layer
# is a **gated residual block**, which adds to its input what two convolutions find and a gate lets through. This is the
# block of the horizontal stream:

# %%
Markdown(f"```python\n{inspect.getsource(SnailBlock.right)}```")

# %% [markdown]
# After every group of blocks comes an **attention** layer. By attention, a place looks at all places before it at once,
# however far away they are. Each place has a *query*, and each earlier place offers a *key* and a *value*. The place
# takes in a mean of the values, in which a value counts more if its key fits the query better.
#
# A place may look only at what is strictly before it. So the code moves the keys and values on by one place, and puts a
# key of zeros before the first.

# %%
Markdown(f"```python\n{inspect.getsource(Attention.forward)}```")

# %% [markdown]
# Does it work? The next figure shows which codes have a say in the logits of one place, the red square. The colours are
# logarithmic, and a brighter code has more influence. Grey codes have exactly none.


# %%
def seen(prior, H=8, W=8):
    """How much each earlier code sways the logits of the place in the middle of the last row but one: (H, W)."""
    at = (H - 2, W // 2)
    embedded = prior.embedding(torch.zeros(1, H, W, dtype=torch.long)).detach().requires_grad_()
    hook = prior.embedding.register_forward_hook(lambda *_: embedded)
    (g,) = torch.autograd.grad(prior(torch.zeros(1, H, W, dtype=torch.long))[0, *at].square().sum(), embedded)
    hook.remove()
    return g[0].abs().sum(-1), at


# %%
figure, (axes,) = plots.new_figure(1, 3, (2.6, 2.8))
variants = {"1 block": (1, 0), "2 blocks": (2, 0), "2 blocks, attention": (2, 1)}
with seeded(0):
    for ax, (name, (blocks, attentions)) in zip(axes, variants.items(), strict=True):
        prior = PixelSNAIL(16, 32, blocks, k=3, attention_layers=attentions, heads=4)
        plots.receptive_field(*seen(prior), ax, name)
sight, (i, j) = seen(prior)  # of the last one
assert (sight.flatten()[: 8 * i + j] > 0).all() and not sight.flatten()[8 * i + j :].any()
record.figure("05-02-attention", figure, "What a place sees: attention reaches every earlier place")

# %% [markdown]
# One block sees a small window, and two blocks see a larger one, but neither sees the first row. With attention the
# place sees every earlier place, also the far ones. Nothing after the red square has a colour, so no prior cheats.
#
# One detail: the right edge is dark in the last panel. The last code of a row stands to the left of no other code, so
# attention cannot find it in its own row. It comes in only through the rows below, as far as the convolutions reach.
# Two blocks of 3x3 reach it from the place in the figure, and one block would not. From the very left of the next row,
# two blocks do not reach it either.
#
# In the paper the bottom prior has no attention, as in VQ-VAE-2, because its maps are long and the top codes already
# tell it about far places. A **conditioning network** reads the top map. Each of its features belongs to 2 x 2 places
# of the bottom map, and there it enters every block before the gate.
#
# ## 3 · Sampling both levels
#
# The cache of notebook 02 works for both levels, because attention can keep its keys and values. We check it in the way
# that matters: the same random numbers must give the same codes as full forward passes do. The check is in double
# precision, so that rounding decides nothing.

# %%
priors = two.generator("MLE", seed)
exact, shapes = [copy.deepcopy(prior).double() for prior in priors], [(2, 4), (4, 8)]
fast = sample_levels(exact, 4, shapes, generator=torch.Generator(two.world.device).manual_seed(0))
dice = torch.Generator(two.world.device).manual_seed(0)
slow_top = sample_naive(exact[0], 4, shapes[0], generator=dice)
slow_bottom = sample_naive(exact[1], 4, shapes[1], slow_top, generator=dice)
same = [(a == b).float().mean().item() for a, b in zip(fast, (slow_top, slow_bottom), strict=True)]
print(f"codes that agree: top {same[0]:.0%}, bottom {same[1]:.0%}")
assert min(same) == 1

# %%
began = time.monotonic()
codes = two.world.sample(priors, 64, seed=0)
_ = codes[-1].cpu()  # a GPU may still be at work when a call returns
took = time.monotonic() - began
places = sum(h * w for h, w in two.world.shapes)
each = f"{took / 64 / places * 1e6:.0f} microseconds a code"
print(f"64 images of {places} codes: {took:.2f} s, {each}, {device_name(two.world.device)}")

# %% [markdown]
# How much does the top map decide? In the next figure each column has one top map. The three rows are three bottom maps
# that were drawn for it.

# %%
top = codes[0][:8]
rows = {}
for k in range(3):
    with seeded(k):
        bottom = sample_levels(priors, 8, two.world.shapes, given=(top, codes[1][:8]), given_rows=(top.shape[1], 0))[1]
    rows[f"bottom {k + 1}"] = two.world.decode(top, bottom)
figure = plots.labelled_rows(rows)
record.figure("05-03-bottoms", figure, "One top map in each column, three bottoms drawn for it")

# %% [markdown]
# In most columns the background and the shirt stay the same, while skin, hair, eyes and expression change. So the top
# map settles the colours of large areas, and the bottom map draws the face. Many of these faces are broken. For
# example, the two eyes differ, or hair runs into the face. The priors for two levels are small here, and this is what
# RAL starts from.
#
# ## 4 · How images are judged, and the floors
#
# A **Fréchet distance** (FD) compares the means $\mu$ and the covariances $C$ of features of two sets of images, $a$
# and $b$:
#
# $$d^2 = \|\mu_a - \mu_b\|^2 + \operatorname{tr}\bigl(C_a + C_b - 2\,(C_a C_b)^{1/2}\bigr).$$
#
# Lower is better. But a value means nothing alone, because it depends on three other things. The first is the feature
# network, so the name says which. *FD-faces* uses a small network that recognises the factors of our faces, such as
# hair and glasses (notebook 01). *FID* uses Inception, a network that was trained on photos. The second is the number
# of images. The third is how good the VQ-VAE is, which no prior can mend.
#
# So we need *floors*, which are distances of images that no prior made. We take two such sets, other real images and
# reconstructions of other real images, and they also stand below Table 2. The *other* images are training images. The
# VQ-VAE has seen them and, for faces, so has the network behind the distance.

# %%
floors = {study.world.levels: study.world.floors for study in (one, two)}
table = [
    {"codes": {1: "one level", 2: "two levels"}[n], "set": name} | {k: round(v, 3) for k, v in row.items()}
    for n, f in floors.items()
    for name, row in f.items()
]
theirs = ", ".join(f"{row['FID']} for {row['data']}" for row in paper.S_TABLE_12)
note = (
    f"{one.world.n_eval} images a set. The paper's ({theirs}) are of another network and another number of images, so "
    "they are not comparable."
)
title = "S-Table 12: reconstructions against real images, and other floors"
record.table("s-table-12", table, title, note, paper=paper.S_TABLE_12)

# %% [markdown]
# Look at the row *reconstructions, other ones* first. With one level it is far from real images, so most of a distance
# to real images is the fault of the VQ-VAE there. With two levels the row is much lower. Its distance to
# *reconstructed* images is small on both levels, and that is the floor that a prior can reach. The row *real images,
# other ones* is a floor only in the column *to real*. In the other columns it says how far real images are from
# reconstructions.
#
# More numbers tell *how* sets differ. **Precision** is the share of the generated images that lie among the real ones.
# We draw a *ball* around each real image, up to its $k$-th nearest neighbour, and an image is among the real ones if it
# lies in a ball. **Recall** is the share of the real images that lie among the generated ones. **Density** and
# **coverage** are their sturdier successors. Density counts in how many real balls a generated image lies, and coverage
# is the share of real images that have a generated one in their ball. A model that turns down its variety should gain
# precision and density, and lose recall and coverage. Section 8 asks whether it is so. We take all four against
# reconstructions, because these are the best that a prior of codes can reach.
#
# The distance also has a bias. With fewer images it is larger, even when both sets have the same distribution. The next
# figure shows how much larger.

# %%
a, b = one.world.reference_features("reconstructed"), one.world.reference_features("reconstructed, others")
sizes = [n for n in (125, 250, 500, 1000, 2000, 4000, 8000) if n <= len(a)] or [len(a) // 2, len(a)]
bias = [frechet_distance(a[:n], b[:n]) for n in sizes]
figure, ((ax,),) = plots.new_figure()
ax.plot(sizes, bias, "o-")
ax.set(xlabel="images in each set", ylabel=one.world.metric, xscale="log", ylim=(0, None))
ax.set_title("reconstructions of test and of training images", fontsize=9)
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
record.figure("05-04-bias", figure, "The distance of equal distributions, by the number of images", data=bias)

# %%
Markdown(
    f"Reconstructions of test and of training images have nearly one distribution. But {one.world.metric} between them "
    f"is {bias[0]:.2f} with {sizes[0]} images, and {bias[-1]:.2f} with {sizes[-1]}. So compare only distances that "
    f"were taken with as many images. Curves below are drawn with {one.world.config.n_curve} images, and tables are "
    f"made with {one.world.n_eval}, so a value of a curve must not be compared with one of a table."
)

# %% [markdown]
# ### Which number sees which damage?
#
# A number can be trusted only for faults that it notices. So we do known damage to reconstructions, and ask each number
# whether it notices. We blur images, or warp them smoothly (*melted*). We also give images the right half of another
# (*halves of two*), or drop kinds of hair from the set (*fewer kinds of hair*). The last one damages no image, but the
# set loses variety.
#
# We try one more number. The **distance to a face** asks how far an image is from the nearest face that our program can
# draw. The network that recognises factors guesses those of the image. Gradient descent through the drawing then finds
# pose and light. The distance is the root mean squared difference of the pixels, which are from 0 to 1. A wrongly
# guessed factor can only make it larger.
#
# The first figure shows the damage at full strength. Its last two rows show the nearest faces that were found for two
# of the rows above.


# %%
LOOK = one.world.config.n_curve // 10  # images for which the nearest face is searched, which takes long
ours = one.world.images.test_factors is not None  # only of our own faces it is known how they are drawn
clean = one.world.decode(*one.world.test_codes(min(one.world.n_eval, 1000)))


def to_faces(study, images):
    """The mean distance of some images to the nearest faces that can be drawn."""
    return nearest_faces(images[:LOOK], study.world.features.factor_net)[1].mean().item()


# %%
if ours:
    factors = one.world.images.test_factors[: len(clean)]
    shown = {"reconstructions": clean[:10]}
    shown |= {name: damage(clean, factors, 1.0)[:10] for name, damage in DAMAGES.items()}
    for name in ("reconstructions", "halves of two"):
        shown |= {f"{name}: nearest": nearest_faces(shown[name], one.world.features.factor_net)[0]}
    figure = plots.labelled_rows(shown)
    title = "Known damage at full strength, and the nearest faces that can be drawn"
    display(record.figure("05-04b-damage", figure, title))

# %% [markdown]
# The first three kinds of damage are plain to see. At full strength, *fewer kinds of hair* leaves only bald heads, and
# each of them alone is a fine face. The nearest faces of reconstructions mostly have the right hair and background. But
# glasses, eye colour or mouth are sometimes wrong, so part of the distance is the network's wrong guess. The nearest
# face of two halves cannot follow both, so it stays far from the image.
#
# The next figure shows each number as the damage grows. For *blurred* and *melted*, strength is how far pixels are
# moved or mixed. For *halves of two* it is the share of images, and for *fewer kinds of hair* the share of kinds. Look
# for lines that go the wrong way. The distances should rise. Precision, recall and coverage are shares, and should
# fall.


# %%
STRENGTHS, SHARES = (0.0, 0.5, 1.0), ("precision", "recall", "coverage")


def judged(images):
    """Every number of a set of images, beside as many other reconstructions."""
    features, others = one.world.features(images), one.world.reference_features("reconstructed, others")[: len(images)]
    shares = fidelity(others, features)
    numbers = {one.world.metric: frechet_distance(others, features)} | {k: shares[k] for k in SHARES}
    return numbers | {"distance to a face": to_faces(one, images)}


if ours:
    untouched = judged(clean)
    seen = {name: [judged(f(clean, factors, s)) if s else untouched for s in STRENGTHS] for name, f in DAMAGES.items()}

# %%
if ours:
    figure, (axes,) = plots.new_figure(1, len(untouched), (2.4, 2.7))
    for ax, key in zip(axes, untouched, strict=True):
        for name, rows in seen.items():
            ax.plot(STRENGTHS, [row[key] for row in rows], "o-", label=name)
        ax.set(title=key, xlabel="strength", ylim=(0, 1.05) if key in SHARES else (0, None))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    title = "What each number says of known damage, by its strength"
    display(record.figure("05-04c-seen", figure, title, data=seen))

# %% [markdown]
# Compare the right ends of the lines. FD jumps for a blur and for missing hair, but it rises little for melted faces
# and for halves of two. Precision notices the blur only. The distance to a face rises most for halves of two, where FD
# rises least. The line of missing hair hardly moves in it, and it ends below where it began. The next table says the
# same in words.


# %%
def reaction(key, rows):
    """What a number does with damage at full strength."""
    share = key in SHARES
    least = 0.02 if share else 0.1 * rows[0][key]  # a share's noise, a tenth of a distance
    change = (rows[0][key] - rows[-1][key]) * (1 if share else -1)
    return "notices" if change > least else "**praises**" if change < -least else "does not notice"


if ours:
    reactions = [{"number": key} | {name: reaction(key, rows) for name, rows in seen.items()} for key in untouched]
    title = "What each number does with damage at full strength"
    display(record.table("05-04d-reactions", reactions, title))

# %% [markdown]
# *Notices* means a change the right way, by more than .02 for a share and more than a tenth for a distance. *Praises*
# means as large a change the wrong way. A number that praises damage must not be read alone.
#
# * **Precision** praises halves of two and fewer kinds of hair. It asks whether an image has real ones near it *in
#   features*. These are averaged over the image, so they hardly know where things are. And it does not ask for variety.
# * **The distance to a face** praises fewer kinds of hair, because the heads that are left are bald. A bald head is
#   easy. It has no hair that the VQ-VAE could blur or the drawing could miss, so it is nearer to a face than the others
#   are. This number looks at each image alone, so it cannot see that all other hair is gone.
# * **Recall** notices all four. But its fall to the bottom for missing hair is partly an accident. The bald heads are
#   repeated to fill the set, so the nearest neighbours of an image are copies of it, and its ball has no size.
#
# So when we compare methods below, we read the distance to a face for what is wrong inside an image, and recall for
# what is missing. An easy set lowers the distance to a face, also when nothing in it got better.
#
# ## 5 · MLE, the control, and RAL
#
# A *roll-out* is one sample that the prior draws from the first code to the last. With two levels it is a pair of maps,
# which decode to one picture. Each level gets its own rewards, up-sampled to the size of its map. Each level also has
# its own returns and its own policy gradient, and one optimiser moves both priors (`ral.ral_iteration`, the same
# function as in notebook 04).
#
# As in notebook 03, the *control* is MLE that trains on, for about as long as RAL takes. It makes three updates for
# each of RAL's, with as many maps and the same learning rate.

# %%
METHODS = ("MLE", "MLE continued", "RAL single", "RAL intermediate")
train_together((two, METHODS, two.seeds), (one, METHODS, one.seeds))  # side by side on a CPU's cores, or loaded
measured = {
    (study.world.levels, m): [study.measure(m, s) for s in study.seeds] for study in (one, two) for m in METHODS
}

# %% [markdown]
# What do the curves below show? The names of the logged numbers mean this:
#
# | number | is | look for |
# |---|---|---|
# | FD-… / FID-… | distance to reconstructed real images, few samples | falling below its first value by more than its noise |
# | NLL_test | $-\log G$ of codes of test images, all levels, nats per image | rising: they become less likely; read recall and coverage beside it |
# | AUC | chance that the critic ranks a real image above a generated one; .5 is blind | well above .5; it falls if G catches up, and rises if the critic learns faster |
# | SNR | length of the policy gradient over its standard error; 1 is noise only | above 1. Near 1, noise hides the signal of one update, but a signal that is the same in all updates adds up |
#
# In the figures a thin line is one run, and a thick one is the mean over seeds.

# %%
runs = {m: [one.history(m, s) for s in one.seeds] for m in METHODS[2:]}
keys = (one.world.metric, "NLL_test", "AUC", "SNR")
figure = plots.curves(runs, keys)
record.figure("05-05-curves-one", figure, "RAL on one level: every run and the mean", data=runs)

# %% [markdown]
# On one level, the mean of FD falls a little, but the thin lines cross each other and differ more than the means move.
# NLL_test rises in every run, so test images become less likely. AUC stays a little above .5, so the critic sees little
# that it could teach. SNR is above 1, so an update has some signal in its noise.

# %%
runs = {m: [two.history(m, s) for s in two.seeds] for m in METHODS[2:]}
keys = (two.world.metric, "NLL_test", "AUC", "SNR top", "SNR bottom")
figure = plots.curves(runs, keys)
record.figure("05-06-curves-two", figure, "RAL on two levels: every run and the mean", data=runs)

# %% [markdown]
# On two levels FD falls a long way, and further with intermediate rewards. Again NLL_test rises. AUC stays well above
# .5, so the critic sees much. SNR is near 1 on both levels, so a single update is mostly noise. Yet FD falls, because a
# weak signal that is the same in all updates adds up. This is one run, so nothing here has a spread. The next lines
# have the numbers.


# %%
def bare(values, mean=".4g"):
    """Mean ± spread over seeds; of a single seed only its value, where the sentence says that it is one run."""
    return spread(values, mean).removesuffix(" (one run)")


def diagnosis(study, method):
    """How the critic's AUC and the distance go along the runs of a method, and their SNR, in one line."""
    runs, levels = [study.history(method, s) for s in study.seeds], study.world.levels
    keys = [k for k in ("AUC", study.world.metric) if all(k in h for h in runs)]  # curves may be of another network
    ways = [f"{k} {bare([h[k][0] for h in runs])} → {bare([h[k][-1] for h in runs])}" for k in keys]
    snr = [f"{k} {bare([np.mean(h[k]) for h in runs])}" for k in runs[0] if k.startswith("SNR")]
    name = f"{levels} level{'s' * (levels > 1)}, {method}{' (one run)' * (len(runs) == 1)}"
    return f"* {name}: {', '.join(ways + snr)}."


lines = [diagnosis(study, m) for study in (one, two) for m in METHODS[2:]]
Markdown(
    "The distance and the AUC are given at the first point of the curves and at the last. SNR is the mean of all "
    "points, with as many roll-outs as an update has "
    f"({one.world.config.ral.rollouts} and {two.world.config.ral.rollouts}), but no more than a point has "
    f"({one.world.config.n_curve}). Mean ± spread over seeds:\n\n" + "\n".join(lines)
)

# %% [markdown]
# ## 6 · Table 2
#
# Now the paper's own comparison. The number after ± is the standard deviation over seeds. All seeds share the VQ-VAE,
# the feature network and the test images. Each seed has its own MLE priors, and all its other runs start from these. So
# we compare methods seed by seed. A change is *decided* if its mean is beyond chance (95 %, Student's t). With three
# seeds the mean must then be 2.5 standard deviations from 0. In brackets, *lower* and *higher* mean a decided change.
# Runs on two maps take long, so the pretrained world has one of each, which decides nothing.


# %%
def cell(study, method):
    levels, metric = study.world.levels, study.world.metric
    rows = measured[levels, method]
    keys = (f"{metric} to real", f"{metric} to reconstructed", "precision", "recall", "density", "coverage")
    numbers = {k: spread([r[k] for r in rows]) for k in (*keys, "NLL_test")}
    return {"codes": {1: "one level", 2: "two levels"}[levels], "method": method, "runs": len(rows)} | numbers


table = [cell(study, m) for study in (one, two) for m in METHODS]
for study in (one, two):
    for name, row in study.world.floors.items():
        table.append({"codes": table[4 * study.world.levels - 1]["codes"], "method": f"floor: {name}", "runs": ""} | {
            k: f"{row[k]:.4g}" if k in row else "" for k in list(table[0])[3:]})  # fmt: skip


# %%
def with_side(d, mean="+.2f", more=""):
    """Changes as mean ± spread and, in brackets, on which side of 0 they lie; that there is one run is said once."""
    return f"{bare(d, mean)} ({side(d)}{more})"


def change(study, method, against, key):
    """Of each seed, how much `key` of a method differs from that of another."""
    mine, theirs = ([r[key] for r in measured[study.world.levels, m]] for m in (method, against))
    return np.array(mine) - np.array(theirs)


def verdict(study, method, against):
    """One line: how much a method changes the distances, beside their spread over seeds."""
    levels, metric = study.world.levels, study.world.metric
    changes = {where: change(study, method, against, f"{metric} to {where}") for where in ("reconstructed", "real")}
    said = [f"to {where} {with_side(d)}" for where, d in changes.items()]
    return f"* {levels} level{'s' * (levels > 1)}: **{method}** against {against}: {', '.join(said)}."


against = [(m, base) for m in METHODS[2:] for base in METHODS[:2]]
verdicts = "\n".join(verdict(study, *pair) for study in (one, two) for pair in against)
title = f"Table 2: {one.world.metric} of {one.world.n_eval} samples; "
title += f"one map: {over(one.seeds)}, two maps: {over(two.seeds)}"
record.table("table-2", table, title, note=verdicts, paper=paper.TABLE_2)

# %% [markdown]
# On one level the four methods lie close together. RAL has the lower mean distances, but only few of its changes are
# decided. Every method is further from real images than from reconstructions, because the VQ-VAE loses so much. The
# floor *reconstructions, other ones* shows how much of the distance to real images this is.
#
# On two levels RAL lies clearly below MLE in both distances, but there is one run of each. All four are far above the
# floor *to reconstructed*. Their recall is far below that of other reconstructions, too, so all four leave much to wish
# for. The next table has every run.

# %%
every = [
    {"levels": n, "method": m, "seed": s} | row
    for (n, m), rows in measured.items()
    for s, row in zip((one, two)[n - 1].seeds, rows, strict=True)
]
record.table("table-2-runs", every, "Table 2, every run")

# %% [markdown]
# In the table of all runs, compare RAL with MLE of the same seed. On one level RAL has the lower distances in every
# seed, but seeds differ more than methods do. That is why we compare seed by seed.
#
# ### Is it a face at all? Two numbers disagree
#
# The next table gives the distance to a face. Beside the methods stand the reconstructions, which are the best that a
# prior can reach. MLE sampled colder stands there too, since it costs no training. *Colder* means that the logits are
# divided by a temperature below 1, so that likely codes are drawn more often (notebook 02).


# %%
def faces_of(study, method, T=1.0):
    """The mean distance to a face of each seed's samples."""
    priors, n = [study.generator(method, s) for s in study.seeds], study.world.levels
    drawn = (study.world.sample(of_seed, LOOK, 5, temperatures=[T] * n) for of_seed in priors)
    return np.array([to_faces(study, study.world.decode(*codes)) for codes in drawn])


# %%
rows, faces_by_level = [], {}
for study in (one, two) if ours else ():
    level = {1: "one level", 2: "two levels"}[study.world.levels]
    best = to_faces(study, study.world.decode(*study.world.test_codes(LOOK)))
    rows.append({"codes": level, "method": "reconstructions", "distance to a face": f"{best:.4f}", "less MLE's": ""})
    far = {method: faces_of(study, method) for method in ("MLE", *METHODS[2:])}
    far["MLE at temperature 0.8"] = faces_of(study, "MLE", 0.8)
    faces_by_level[study.world.levels] = far
    for method, d in far.items():
        less = with_side(d - far["MLE"], "+.4f") if method != "MLE" else ""
        rows.append({"codes": level, "method": method, "distance to a face": spread(d, ".4f"), "less MLE's": less})
if ours:
    title = f"Is it a face? The mean distance of {LOOK} samples to the nearest face that can be drawn"
    display(record.table("05-06b-faces", rows, title))

# %% [markdown]
# On both levels the order is the same. Reconstructions are nearest to a face, then comes colder MLE, then MLE, and both
# kinds of RAL come last. The next lines set this beside FD, each against MLE and seed by seed.

# %%
lines = []
for n, far in faces_by_level.items():
    study, where = (one, two)[n - 1], f"{one.world.metric} to reconstructed"
    for m in METHODS[2:]:
        of_sets, of_images = change(study, m, "MLE", where), far[m] - far["MLE"]
        word = "disagree" if of_sets.mean() * of_images.mean() < 0 else "agree"
        lines.append(
            f"* {n} map{'s' * (n > 1)}, **{m}** against MLE: {where} {with_side(of_sets)}, distance to a face "
            f"{with_side(of_images, '+.4f')}. By their means, the two numbers {word}."
        )
Markdown("\n".join(lines))

# %% [markdown]
# **The two numbers disagree about RAL.** In the committed run RAL has a lower FD than MLE, with both rewards and on one
# level as on two. So by FD, RAL is better. But its samples are further from a face than MLE's, so by the distance to a
# face, RAL is worse. Few of these changes are decided, and on two levels there is one run of each.
#
# Each number sees something else. **FD** compares two *sets*, by features that are averaged over each image. So it sees
# which parts and textures there are, how sharp they are, and how varied the set is. Above, it rose far less for halves
# of two faces than for a blur, so it hardly sees whether the parts of one image fit together. **The distance to a
# face** takes each image *alone* and compares its pixels with one whole face. So it sees parts that do not fit. But it
# does not see variety, and a set of easy images lowers it, as the bald heads did.
#
# These numbers cannot tell why they disagree. RAL may bring the set as a whole nearer to the data while single images
# become less whole. It may draw fewer of the easy faces. Or the network may guess more factors wrongly in its samples.
# In each case we cannot say that RAL draws better faces, because one number says so and the other says the opposite.
#
# ### Was MLE at its end?
#
# The control tells, because it is the same model after further training. Where its NLL_test falls, part of what any
# further training gains is owed to the training alone. So we compare RAL with the control and not with MLE.

# %%
lines = []
for study in (one, two):
    n, d = study.world.levels, change(study, "MLE continued", "MLE", "NLL_test")
    of = np.mean([r["NLL_test"] for r in measured[n, "MLE"]])
    nats, share = bare(d, "+.2f"), bare(100 * d / of, "+.2f")
    once = " (one run)" * (len(d) == 1)
    lines.append(f"* {n} map{'s' * (n > 1)}{once}: further training changes NLL_test by {nats} nats, {share} %.")
Markdown("\n".join(lines))

# %% [markdown]
# The change is a small part of NLL_test, so MLE was nearly at its end, and the control hardly differs from it.
#
# Next, is precision at its ceiling, which is the precision of other reconstructions? (Its noise has two parts, the
# spread over seeds and the chance in a share of so many images.) And do the numbers of diversity agree with each other?

# %%
lines = []
for n, study in ((1, one), (2, two)):
    floor, said = study.world.floors["reconstructions, other ones"]["precision"], []
    for m in METHODS:
        d = np.array([row["precision"] for row in measured[n, m]]) - floor
        noise = np.hypot(noise_over_seeds(d), 2 * (floor * (1 - floor) / study.world.n_eval) ** 0.5)
        word = "at it" if abs(d.mean()) <= noise else "below" if d.mean() < 0 else "above"
        said.append(f"{m} {d.mean():+.3f}" + (f", noise {noise:.3f}: {word}" if len(d) > 1 else ""))
    maps = f"{n} map{'s' * (n > 1)} of codes{' (one run)' * (len(study.seeds) == 1)}"
    lines.append(f"* {maps}, precision from its ceiling of {floor:.3f}: {'; '.join(said)}.")
    for m in METHODS[2:]:
        several = {k: change(study, m, "MLE continued", k) for k in ("recall", "coverage", "density", "NLL_test")}
        said = ", ".join(f"{k} {with_side(d, '+.3g')}" for k, d in several.items())
        lines.append(f"* {n} map{'s' * (n > 1)}, **{m}** against MLE continued: {said}.")
Markdown("\n".join(lines))

# %% [markdown]
# Precision stands above its ceiling for every method, so it can tell nothing more about them. NLL_test and recall both
# rise under RAL. A rising NLL_test looks like less diversity, and a rising recall like more. They can rise together
# because they ask different things. NLL_test asks what the prior thinks of every test map. Recall asks whether test
# images have samples near them, and better samples raise it as well as more varied ones. So a recall far below that of
# reconstructions is first of all a sign of bad samples.
#
# The next table sets the paper's claims beside our changes against the control.


# %%
def checked(study, where, method, column, theirs):
    """The paper's claim on a column of Table 2, beside our change of a distance against the control, in percent."""
    levels, key = study.world.levels, f"{study.world.metric} to {where}"
    d = change(study, method, "MLE continued", key)
    number = lambda row: float(row[column].split(" ")[where == "reconstructed"].strip("()"))  # noqa: E731
    to = {"real": "real images", "reconstructed": "reconstructions"}[where]
    says = f"Table 2: {method} lowers the distance to {to}, {levels} map{'s' * (levels > 1)} of codes ({column})"
    before = np.mean([r[key] for r in measured[levels, "MLE continued"]])
    ours = f"{bare(100 * d / before, '+.1f')} %{' (one run)' * (len(d) == 1)}"
    change_there = f"{100 * (number(theirs) / number(paper.TABLE_2[0]) - 1):+.1f} %"
    return claim(says, change_there, ours, d.mean(), noise_over_seeds(d), 100 * d / before)


# %%
rows = [
    checked(study, where, method, column, theirs)
    for study, where, column in (
        (one, "real", "CelebA 64"),
        (two, "real", "CelebA 128"),
        (two, "reconstructed", "CelebA 128"),
    )
    for method, theirs in zip(METHODS[2:], paper.TABLE_2[1:], strict=True)
]
record.table("05-claims", rows, "The paper's claims on images")

# %% [markdown]
# All our changes have the paper's sign, but none is decided. On one level they are within the noise, and on two levels
# there is one run. The sizes of the changes cannot be compared, because data, networks and features differ.
#
# The distances to real and to reconstructed images need not agree. The distance to real images contains what the VQ-VAE
# loses (the row *reconstructions, other ones*). No prior can mend this loss, but other samples may make up for it in
# the distance, and section 8 has an example. The distance to reconstructions asks about the prior alone. The paper
# calls it *"more meaningful for comparison"*, and gives it for some of its columns.
#
# This is the paper's Table 2, on Inception's features of CelebA and LSUN. The distance to reconstructions stands in
# parentheses:

# %%
Markdown(markdown_table(paper.TABLE_2))

# %% [markdown]
# RAL is lower than MLE in every column of the paper's, and which reward is better changes from column to column. The
# paper gives one number for each, without a spread.
#
# S-Tables 1 to 3 of the supplement make the same comparison for other sizes of codes, against reconstructions only.
# S-Tables 1 and 2 have one map of codes, and S-Table 3 has two. We set our runs with as many maps beside them.

# %%
shown = []
theirs = {1: ("CelebA", paper.S_TABLE_1), 2: ("LSUN", paper.S_TABLE_2), 3: ("CelebA-HQ", paper.S_TABLE_3)}
for number, study in ((1, one), (2, one), (3, two)):
    world = study.world
    shape, key = " + ".join(f"{h}x{w}" for h, w in world.shapes), f"{world.metric} to reconstructed"
    images = f"{world.images.name}, {world.config.size}x{world.config.size}"
    rows = [{"images": images, "codes": shape, "method": m, key: cell(study, m)[key]} for m in METHODS]
    data, table = theirs[number]
    note = (
        f"Ours are for {images}, the paper's for {data}. To compare them, run with `--dataset` and the path of {data}."
    )
    title = f"S-Table {number}: distance to reconstructions, {len(world.shapes)} map(s) of codes, {over(study.seeds)}"
    shown.append(f"{title}\n\n" + record.table(f"s-table-{number}", rows, title, note, paper=table))
Markdown("\n\n".join(shown))

# %% [markdown]
# Our half of S-Tables 1 and 2 is the same, because both have one map and we have one data set. In the paper, too, RAL
# is lower than MLE in every column.
#
# ## 7 · What it looks like
#
# No sample is picked. The figures show the first samples of seed 5 (Figures 5 and 6), 6 (Figure 1) and 8 (S1, S2), with
# the same random numbers for every method. Figures 1, S1 and S2 show the RAL method with the lower mean distance on two
# levels. The first figure has two levels. Look at eyes and hair, and at whether the two sides of a face fit.


# %%
def sheet(study, methods, n=10):
    world = study.world
    return {m: world.decode(*world.sample(study.generator(m, seed), n, seed=5)) for m in methods}


figure = plots.labelled_rows(
    {"real, decoded": two.world.decode(*(c[:10] for c in two.world.codes["test"]))} | sheet(two, METHODS)
)
record.figure("figure-5", figure, "Figure 5: MLE and RAL, two levels, the same random numbers")

# %% [markdown]
# Decoded real images are whole faces, and samples are not. In all four rows of samples, eyes differ from each other or
# are missing, and hair runs into the face. The rows share their random numbers, so most backgrounds agree down a
# column. It is hard to name the best row from these pictures, although FD told the methods apart. Now the same with one
# level.

# %%
figure = plots.labelled_rows({"real, decoded": one.world.decode(one.world.codes["test"][0][:10])} | sheet(one, METHODS))
record.figure("figure-6", figure, "Figure 6: MLE and RAL, one level, the same random numbers")

# %% [markdown]
# With one level nearly all samples are whole faces, but they are as blurred as the decoded real images. The VQ-VAE is
# the limit here. The prior has a much shorter map to get right. Again the rows look alike.

# %%
key = f"{two.world.metric} to reconstructed"
best = min(METHODS[2:], key=lambda m: np.mean([r[key] for r in measured[2, m]]))
figure = plots.image_grid(two.world.decode(*two.world.sample(two.generator(best, seed), 32, seed=6)), 16)
record.figure("figure-1", figure, f"Figure 1: samples of {best}, two levels, not picked")

# %%
for name, study in (("figure-s1", two), ("figure-s2", one)):
    world = study.world
    rows = {m: world.decode(*world.sample(study.generator(m, seed), 24, seed=8)) for m in ("MLE", best)}
    figure = plots.labelled_rows(rows, inch=0.5)
    title = f"Figure {name[7:].upper()}: more samples, {world.levels} level(s), not picked"
    display(record.figure(name, figure, title))

# %% [markdown]
# The larger sheets say the same. Figures 1 and S1 have two levels and many broken faces, for RAL as for MLE. Figure S2
# has one level and blurred but mostly whole faces. So the numbers of Table 2 compare sets of faulty images, and a lower
# distance does not mean good faces.
#
# ## 8 · Temperature, the free knob
#
# Sampling MLE colder needs no training, as notebook 03 showed. So we call the temperature a *free knob*, and RAL should
# do better than what this knob gives for nothing. The next table has MLE at six temperatures. With two levels both
# priors have the same temperature.

# %%
temperatures = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6)
tempered = {
    study.world.levels: {
        s: [{"temperature": T} | study.measure("MLE", s, T) for T in temperatures] for s in study.seeds
    }
    for study in (one, two)
}

# %%
metric = one.world.metric
numbers = (f"{metric} to reconstructed", f"{metric} to real", "precision", "recall", "density", "coverage")
rows = [
    {"maps": n, "temperature": T} | {k: spread([rows[i][k] for rows in curves.values()]) for k in numbers}
    for n, curves in tempered.items()
    for i, T in enumerate(temperatures)
]
expected = {"precision": "higher", "density": "higher", "recall": "lower", "coverage": "lower"}
came = []
for k, way in expected.items():
    for n, curves in tempered.items():
        d = [rows[-1][k] - rows[0][k] for rows in curves.values()]
        came.append(f"{k}, {n} map{'s' * (n > 1)}: {with_side(d, more=f'; expected: {way}')}")
title = f"MLE by temperature; one map: {over(one.seeds)}, two maps: {over(two.seeds)}"
note = f"From {temperatures[0]:g} to {temperatures[-1]:g}: {'; '.join(came)}."
record.table("05-09-temperature", rows, title, note=note)

# %% [markdown]
# On one level the distance to reconstructions hardly changes at first, and it grows when sampling gets colder still. On
# two levels it falls to a minimum and then grows again. The distance to real images has its minimum at a colder
# temperature on two levels, so the two distances disagree about the best temperature.
#
# Precision is near 1 at every temperature and shows nothing. On two levels recall *rises* as sampling gets colder,
# though we expected it to fall. So bad samples kept it low, and not a lack of variety. Such a recall is no measure of
# diversity alone. Coverage falls, as expected.
#
# The other free knob is **rejection** (notebook 08). We draw several samples of MLE, and let a critic throw away those
# that look least real. The critic here was trained against this MLE model, which stood still, for five times as long as
# RAL's critic warms up. It keeps one sample of four.
#
# Where does RAL lie beside these two knobs? In the next figure, lower is closer to the data's mean and covariance, and
# further right is more recall. A black curve is one seed of MLE at all temperatures, and a *1* marks its plain samples.
# The two panels have different scales.

# %%
rejected = {study.world.levels: [study.measure_rejection(s, PRICE) for s in study.seeds] for study in (one, two)}
key = f"{metric} to reconstructed"


def beside_knobs(ax, n):
    """The plane of recall and distance with n maps: MLE's curves, the other methods, rejection."""
    for i, (s, rows) in enumerate(tempered[n].items()):
        marker, first = "os^Dv"[i % 5], s == seed
        label = f"MLE, temperature {temperatures[0]:g} to {temperatures[-1]:g}" if first else None
        ax.plot([r["recall"] for r in rows], [r[key] for r in rows], f"{marker}-", color="black", lw=0.8, label=label)
        ax.annotate(f"  {temperatures[0]:g}", (rows[0]["recall"], rows[0][key]), fontsize=8)
        for m, row in ({m: measured[n, m][i] for m in METHODS[1:]} | {REJECTED: rejected[n][i]}).items():
            style = {"color": plots.COLOURS.get(m, "#8C564B"), "label": m if first else None}
            ax.plot(row["recall"], row[key], marker, markersize=8, markeredgecolor="white", linestyle="none", **style)
    ax.set(xlabel="recall", ylabel=key, title=f"{n} map{'s' * (n > 1)} of codes")


# %%
figure, (axes,) = plots.new_figure(1, 2, (4.6, 3.8))
for ax, n in zip(axes, tempered, strict=True):
    beside_knobs(ax, n)
style = {"loc": "outside lower center", "ncols": 5, "fontsize": 8}
figure.legend(*axes[0].get_legend_handles_labels(), **style, title="one shape of marker for each seed")
title = "Distance against recall, beside MLE by temperature and by rejection"
data = {
    name: {"MLE": tempered[n], REJECTED: rejected[n]} | {m: measured[n, m] for m in METHODS[1:]}
    for n, name in ((1, "one map"), (2, "two maps"))
}
record.figure("05-07-temperature", figure, title, data=data)

# %% [markdown]
# On one level (left), each seed's RAL lies a little lower and further right than its plain MLE. Rejection goes further
# the same way, so it does better than RAL. On two levels (right) RAL and rejection lie below the whole curve of MLE.
# RAL with intermediate rewards has the lowest distance there, close to rejection, but it is one run. The next lines
# compare RAL with MLE at its best temperature, and then with rejection.

# %%
lines = []
for n, curves in tempered.items():
    for k in numbers[:2]:
        distances = np.array([[row[k] for row in rows] for rows in curves.values()])  # by seed and temperature
        best = distances.mean(0).argmin()
        for m in METHODS[2:]:
            d = np.array([row[k] for row in measured[n, m]]) - distances[:, best]
            word = {-1: "RAL is ahead of the free knob", 1: "the free knob does better"}.get(direction(d), side(d))
            each = f" ({', '.join(f'{v:+.2f}' for v in d)}, seed by seed)" * (len(d) > 1)
            lines.append(
                f"* {n} map{'s' * (n > 1)}, {k}: **{m}** at temperature 1 against MLE at {temperatures[best]:g}"
                f"{', the coldest tried' if best == len(temperatures) - 1 else ''}: {d.mean():+.2f}{each}: {word}."
            )
Markdown(
    "\n".join(lines) + "\n\n(MLE is taken at the temperature with the lowest mean. This favours MLE a little, since it "
    "is chosen on these numbers. Decided is what is beyond chance over seeds, 95 %, Student's t.)"
)

# %%
lines = []
for study in (one, two):
    n = study.world.levels
    for k in numbers[:2]:
        for m in METHODS[2:]:
            d = np.array([row[k] for row in measured[n, m]]) - [row[k] for row in rejected[n]]
            word = {-1: "RAL is ahead of rejection", 1: "rejection does better"}.get(direction(d), side(d))
            lines.append(f"* {n} map{'s' * (n > 1)}, {k}: **{m}** less rejection: {bare(d, '+.2f')}: {word}.")
Markdown("\n".join(lines))

# %% [markdown]
# On one level no method is decided to be ahead of the free knob, and rejection does better than RAL in most lines. On
# two levels RAL is below MLE's best temperature, but one run decides nothing. So on images, too, RAL must be compared
# with what costs no policy gradient.
#
# ## 9 · Play: a temperature for each level
#
# The picture shows MLE above and RAL below, with the same random numbers. Turn down one level, then the other. Which of
# them takes away variety, and which only detail? The committed figure has a cold top map.


# %%
def explore(top=1.0, bottom=1.0, method="RAL intermediate", dice=5):
    """Ten samples of MLE and of a RAL method, each level at its own temperature."""
    draw = lambda m: two.world.sample(two.generator(m, seed), 10, dice, temperatures=(top, bottom))  # noqa: E731
    return plots.labelled_rows({m: two.world.decode(*draw(m)) for m in ("MLE", method)})


figure = explore(top=0.7)
record.figure("05-08-cold-top", figure, "The top map at temperature 0.7, the bottom map at 1")

# %% [markdown]
# Compare with Figure 5, which has the same random numbers and no cold map. Many backgrounds are the same. Eyes and hair
# are still broken, because the bottom map draws them, and it is as warm as before. So a cold top map alone does not
# mend the faces. Exercise 4 has numbers for both levels.

# %%
widgets.explore(
    explore, top=(0.1, 1.3, 0.1), bottom=(0.1, 1.3, 0.1), method=["RAL single", "RAL intermediate"], dice=(1, 50)
)

# %% [markdown]
# ## Readings and deviations
#
# 1. *"Similar to VQ-VAE-2, we use PixelCNN with self-attention layers to model top-priors"* (section 5.1): PixelSNAIL's
#    blocks and attention. `prior.PixelSNAIL`
# 2. *(one stream after the input in PixelSNAIL)*: **deviation**: both streams run through all blocks, so a prior
#    without attention has no blind spot either. `prior.SnailBlock`
# 3. *"Attention layers 8"* (S-Tables 6 to 8): read as 8 heads; one attention after each of four groups of blocks
#    (the paper's presets; those for small machines have fewer). `SnailConfig.attention_layers`, `.heads`
# 4. (silent on what the first place may look at): a key and a value of zeros stand before it, and every place may look
#    at them.
#    `prior.Attention`
# 5. *(silent on the return of two levels)*: each level has its own rewards and returns, over its own codes.
#    `ral.ral_iteration`
# 6. *"we finetune the pixelcnn model with the MLE loss with the same number of iterations"* (supplement): MLE
#    continued. `Study.generator`
# 7. *"FID scores outside/inside parenthesis"* (Table 2): two columns; fidelity against reconstructions.
#    `World.compare`
# 8. **Deviation**: on the embedded faces the distance is taken on a classifier of their factors, FD-faces, not on
#    Inception. For real images put the weights in `data/`; the metric's name changes with them. `ralkit.inception`
# 9. **Deviation**: in the presets for small machines, loss, norm, rewards and roll-outs are notebook 04's, not section
#    4.4's. `RalConfig`
# 10. *"Image samples on LSUN-bedroom"* (Fig. 6, S2), of two levels: **deviation**: the same data with one map of codes.
#
# ## What to take away
#
# * Two levels share the work; the bottom prior sees the top map and its own past.
# * A distance without its network, its number of images and its floors is not a result.
# * Do known damage to images before you trust a number. FD sees sets, and the distance to a face sees single images.
#   About RAL they disagree.
# * AUC says whether the critic sees anything; SNR says whether the update does.
# * One run is an anecdote: the spread over runs belongs beside every difference.
#
# ## Exercises
#
# **1.** *(Easy, 5 minutes.)* Two sets have a single feature. In set $a$ it has the mean 0 and the standard deviation 1,
# and in set $b$ the mean 3 and the standard deviation 2. What is $d^2$, by the equation of section 4?

# %%
answer = None
check(answer, (0 - 3) ** 2 + 1**2 + 2**2 - 2 * (1**2 * 2**2) ** 0.5, within=0.01)

# %% tags=["solution"] jupyter={"source_hidden": true}
# With one feature, C is the variance. Then d^2 = (mu_a - mu_b)^2 + (sigma_a - sigma_b)^2 = 9 + 1 = 10.
a = torch.tensor([[-1.0], [0.0], [1.0]])  # mean 0, standard deviation 1
print(f"{frechet_distance(a, 3 + 2 * a):.2f}")

# %% [markdown]
# **2.** *(Easy, 5 minutes.)* We give the bottom prior the top map of *another* image, so its NLL of the bottom map
# grows. Is this growth what the prior saves by seeing the right top map, compared with seeing none? Answer True or
# False.

# %%
answer = None
check(answer, False)

# %% tags=["solution"] jupyter={"source_hidden": true}
# False. A wrong map misleads the prior, and that costs more than knowing none.
n = min(200, len(two.world.codes["test"][0]))
top, bottom = (c[:n] for c in two.world.codes["test"])
with torch.no_grad():
    right, wrong = (-priors[1].log_prob(bottom, t).sum((1, 2)).mean().item() for t in (top, top.roll(1, 0)))
print(f"its own top map: {right:.1f} nats an image; another's: {wrong:.1f}; the difference: {wrong - right:.1f}")

# %% [markdown]
# **3.** *(Medium, 15 minutes.)* Write precision yourself, for features `real` (N, D) and `fake` (M, D). It is the share
# of fakes that lie in the ball of at least one real row. The ball of a row reaches to its $k$-th nearest other row. Two
# calls of `torch.cdist` are enough. Then think: which way do precision and recall move as $k$ grows?


# %%
def own_precision(real, fake, k):
    return None  # your code


dice = torch.Generator().manual_seed(0)
real, fake = torch.randn(20, 2, generator=dice), 2 * torch.randn(20, 2, generator=dice)
check(own_precision(real, fake, 3), fidelity(real, fake, 3)["precision"], within=0.01)


# %% tags=["solution"] jupyter={"source_hidden": true}
def precision(real, fake, k):
    radii = torch.cdist(real, real).topk(k + 1, largest=False).values[:, k]  # a row's nearest is itself
    inside = torch.cdist(fake, real) <= radii  # (M, N): a row for each fake, a radius for each column
    return inside.any(1).double().mean().item()


check(precision(real, fake, 3), fidelity(real, fake, 3)["precision"], within=0.01)
# Larger balls hold more, so both can only rise with k. On MLE's samples:
features = one.world.features(one.world.decode(*one.world.sample(one.generator("MLE", seed), 500, 7)))
for k in (3, 5, 10):
    row = fidelity(one.world.reference_features("reconstructed")[:500], features, k)
    print(f"k = {k:2d}: precision {row['precision']:.3f}, recall {row['recall']:.3f}")

# %% [markdown]
# **4.** *(Hard, 20 minutes.)* Sample one map cold and the other at temperature 1, and then the other way round. Which
# map's temperature moves recall more, `"top"` or `"bottom"`? Guess first, from the figures of sections 1 and 3. Then
# measure with `shares_at`, for example at 0.7. And which way does recall move, and why?


# %%
def shares_at(top, bottom):
    """Precision, recall, density and coverage of MLE's samples, with a temperature for each level."""
    sampled = two.world.decode(*two.world.sample(priors, min(500, two.world.n_eval), 9, temperatures=(top, bottom)))
    return fidelity(two.world.reference_features("reconstructed")[:500], two.world.features(sampled))


# %%
answer = None
plain, cold = shares_at(1.0, 1.0), {"top": shares_at(0.7, 1.0), "bottom": shares_at(1.0, 0.7)}
check(answer, max(cold, key=lambda level: abs(cold[level]["recall"] - plain["recall"])))

# %% tags=["solution"] jupyter={"source_hidden": true}
# The bottom map draws the face, so a cold bottom map mends more of it. Recall then rises, because better samples come
# nearer to the test images (section 8).
for name, row in ({"both at 1": plain} | {f"{level} at 0.7": row for level, row in cold.items()}).items():
    print(f"{name}: recall {row['recall']:.3f}, coverage {row['coverage']:.3f}")

# %% [markdown]
# ## References
#
# * Ak, Xu, Lin, Wang: *Incorporating Reinforced Adversarial Learning in Autoregressive Image Generation*, ECCV 2020.
# * Razavi, van den Oord, Vinyals: *Generating Diverse High-Fidelity Images with VQ-VAE-2*, NeurIPS 2019.
# * Chen, Mishra, Rohaninejad, Abbeel: *PixelSNAIL: An Improved Autoregressive Generative Model*, ICML 2018.
# * Heusel et al.: *GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium*, NeurIPS 2017.
# * Kynkäänniemi et al.: *Improved Precision and Recall Metric for Assessing Generative Models*, NeurIPS 2019.
# * Naeem et al.: *Reliable Fidelity and Diversity Metrics for Generative Models*, ICML 2020.
# * Chong, Forsyth: *Effectively Unbiased FID and Inception Score*, CVPR 2020 (the bias in the number of images).
