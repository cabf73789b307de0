# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tour: reinforced adversarial learning, one picture for every stage
#
# A **VQ-VAE** turns an image into a small map of codes, which are whole numbers, and turns such a map back into an
# image. A **prior**, here a PixelCNN, learns by maximum likelihood (MLE) how probable each code map is. We sample a
# code map from the prior and decode it, and this gives a new image. But in training the prior always continues real
# codes, and when it samples, it has to continue its own. This mismatch is called *exposure bias*. It can do harm,
# because the prior has never learnt how to go on after a mistake of its own.
#
# **RAL** (reinforced adversarial learning) therefore trains the prior on its own samples. A **critic** scores how real
# the decoded samples look, and the scores become **rewards** of the codes. The **policy gradient** then makes codes
# with good rewards more likely. The critic and the prior are trained in turns.
#
#     images -> VQ-VAE -> codes -> prior (MLE) -> sampler -> decoder -> critic
#            -> rewards -> policy gradient -> prior (RAL) -> metrics
#
# After this notebook you have seen a picture of every stage, know what each is called, and where it is taught.
# **Paper:** an overview of sections 1 and 3 to 5.
#
# | notebook | what it teaches | paper | `ralkit` |
# |---|---|---|---|
# | 00_tour | this: one picture of every stage | 1, 3 to 5 | `world`, `study`, `plots` |
# | [01_vqvae](01_vqvae.ipynb) | images to codes and back | 3, stage 1 | `vqvae`, `data`, `faces` |
# | [02_pixelcnn](02_pixelcnn.ipynb) | the prior: likelihood, exact sampling | 3, stage 2 | `prior`, `sampling`, `cache` |
# | [03_oracle](03_oracle.ipynb) | does RAL work? Table 1, Fig. 4, controls | 5.2 | `metrics`, `training` |
# | [04_ral](04_ral.ipynb) | RAL step by step: critic, rewards, returns, policy gradient | 4 | `critic`, `ral` |
# | [05_images](05_images.ipynb) | RAL on images, with one level of codes or two | 5.3 | `study`, `vqvae`, `prior` |
# | [06_partial](06_partial.ipynb) | partial generation, ablations | 4.3, 5.4 | `ral`, `sampling` |
# | [07_completion](07_completion.ipynb) | completing images | 5.5 | `sampling` |
# | [08_critical](08_critical.ipynb) | what RAL really bought | not in it | `metrics` |
# | [09_report](09_report.ipynb) | everything beside the paper's numbers | all | `report`, `paper` |
# | [10_ablations](10_ablations.ipynb) | appendix: what each setting is worth | not in it | `runs`, `study` |
# | [11_gradient](11_gradient.ipynb) | appendix: is the gradient right, and above its noise? | 4.1, 4.2 | `diagnostics`, `ral` |
#
# The last column names modules of the package `ralkit`, or of its part `ralkit.course`, in which to find the code
# behind each notebook.

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
import math

import torch
from IPython.display import Markdown

from ralkit import ral
from ralkit.course import plots, widgets
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record
from ralkit.course.runs import in_updates
from ralkit.course.study import Study
from ralkit.course.trainer import in_batches
from ralkit.course.workers import train_together
from ralkit.critic import image_score
from ralkit.metrics import auc
from ralkit.vqvae import to_float

world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
study = Study(world)  # has the trained generators
record = Record(world)  # saves each figure, with what it was made from
print(record.about("00_tour"))


# %%
def draw(prior, n, number, temperature=1.0):
    """n code maps sampled from a prior; `number` chooses the random numbers."""
    return world.sample((prior,), n, number, temperatures=[temperature])[0]


# %% [markdown]
# **Loading or training.** A *preset* is a set of sizes and lengths, for example how large the networks are and how long
# they train. With `pretrained = True` above, the networks of this notebook are loaded from `data/pretrained/`, and the
# whole notebook takes about a minute or less. The files there are for the preset `deep` with the faces. With another
# preset, other images or another seed, or with `False`, each cell trains what it shows and prints how far it is. All
# notebooks keep what they trained in `runs/`. So a later run loads it, and a run that was interrupted goes on where it
# stopped. Where the text says what a figure shows, it speaks of the committed run, with the preset `deep` and its
# pretrained weights.
#
# ## Images
# Unless you bring your own images, they are cartoon faces that a program draws, so nothing has to be downloaded. The
# *factors* of each face (hair, glasses, mouth ...) are known, so the faces can also be measured.

# %%
images = world.images.first("test", 16)
fig = plots.image_grid(images, columns=8)
record.figure("00-01-images", fig, title="Images of the test set")

# %% [markdown]
# The faces differ in skin, hair, glasses, eyes, mouth, shirt and background. A good generator has to draw each of these
# well. It also has to make them fit together, for example with hair of the same colour on both sides of a head.
#
# ## Codes
# The encoder turns an image into a map of vectors. The **codebook** is a list of $K$ learned vectors. Each vector of
# the map is replaced with the nearest vector of the codebook, and the number of that vector is the **code**. The
# decoder turns the map into an image again, the *reconstruction*. The first figure shows images above their
# reconstructions. The second shows images and their code maps, with the codes written in.

# %%
(codes,) = world.encode(images)
shape = tuple(codes.shape[1:])
H, W = shape
fig = plots.labelled_rows({"image": images[:10], "decoded again": world.decode(codes[:10])})
print(f"{world.images.size}x{world.images.size} pixels -> {H}x{W} codes, each one of {world.vqvae.K}")
record.figure("00-02-reconstructions", fig, title="Images and their reconstructions from codes")

# %% [markdown]
# The reconstructions keep the background, the place of the eyes and the rough shape of a head. But fine shapes are
# lost. For example, the spiked hair of the eighth face becomes a round cap. Hair gets blurred, mouths and glasses
# become faint, and green or purple eyes become grey or bluish. Every later stage works on codes, so no generator in
# this notebook can draw what the codes have lost.

# %%
fig = plots.code_maps(codes[:4], world.vqvae.K, images[:4], inch=2.0)
record.figure("00-03-codes", fig, title="Images and their code maps")

# %% [markdown]
# Each number is one code, and equal codes have equal colours. Different codes may have colours that look alike, because
# there are more codes than colours that the eye can tell apart. A plain background takes some codes again and again,
# for example 92, 27, 94 and 125 in the second map, and the face takes many different ones. The numbers are only names,
# so codes with near numbers need not look alike when they are decoded.
#
# ## Prior
# The PixelCNN $G$ reads the code map row by row, from left to right. It gives the distribution of each code from the
# codes before it, $G(c_t | c_0 \dots c_{t-1})$. The product of these probabilities, one for each code, is the
# probability of the whole map, so it can be computed exactly. To sample, we draw one code after the other. To train, we
# raise the probability of real code maps.
#
# **The oracle idea.** How can one tell whether samples got *better*? Nobody knows the probability of a real image. So
# the paper trains one large prior, the **oracle**, on the real codes. From then on the oracle counts as the truth. A
# second, smaller prior, the **generator**, learns from the oracle's samples as if they were real data. From here on,
# $G$ is this generator. Images, VQ-VAE, oracle and the oracle's samples together are called a *world*.
#
# Now the truth is known, so quality can be measured exactly. We take a sample of the generator and ask the oracle for
# its probability. Minus the natural logarithm of this probability, averaged over samples, is called `NLL_oracle`, where
# NLL stands for negative log-likelihood. It says how much a sample surprises the oracle, so lower is better. Its unit
# is the *nat*. The critic never sees this number.
#
# The next figure compares decoded real codes, samples of the oracle, and samples of the MLE generator.

# %%
first = study.seeds[0]
(G,) = study.generator("MLE", first)
decode, (oracle_codes,) = world.decode, world.oracle_codes["test"]
mle_codes = draw(G, 10, seed)
fig = plots.labelled_rows(
    {
        "image, decoded": decode(codes[:10]),
        "oracle's samples": decode(oracle_codes[:10]),
        "MLE samples": decode(mle_codes),
    }
)
record.figure("00-04-samples", fig, title="Real images, samples of the oracle and of the MLE generator")

# %% [markdown]
# The oracle's samples look much like the decoded images, and most of their faces are of one piece. The MLE samples are
# worse, because hair changes its colour in the middle, outlines are torn, and some faces fall apart. Each small region
# may look right, but the regions do not fit together. Exposure bias need not be the only reason, because the generator
# is also a smaller network than the oracle. (Notebook 08 measures exposure bias by itself.) RAL is meant to get better
# samples from the same network.
#
# ## Critic, rewards, returns
# The **critic** is a network that tells real images from samples. It gives each image a **score map**, in `deep` of 2x2
# scores, so each score belongs to a quarter of the image. A high score means that the critic takes this quarter for
# real. (It may look at more than the quarter for that. In `deep` each score depends on the whole image, as notebook 04
# shows.)
#
# The scores become rewards in two steps. First we divide them by the largest absolute score among real and generated
# images, so they lie between −1 and 1. Then we up-sample the score map to the size of the code map, so every code gets
# a score. This score is the **reward** of the code.
#
# A code map has $T$ codes. The code that is drawn in step $t$, from 0 to $T-1$, was called $c_t$ above. From now on it
# is called $a_t$, because drawing it is a decision. Its reward is called $r_{t+1}$, because it comes after step $t$.
#
# The **return** of a code adds up its own reward and the later ones:
#
# $$Q(s_t, a_t) = \sum_{k=t+1}^{T} \gamma^{k-t-1} r_k$$
#
# Here $s_t$ are the codes before $a_t$. The factor $\gamma$ is at most 1, and each step of delay multiplies a reward by
# it.
#
# The next cell runs RAL with these rewards, which are called *intermediate*. It also runs two other trainings, which
# the section "Did it help?" explains. Then it takes the critic from the end of the run with intermediate rewards, and
# shows it real images and MLE samples. Here "real" means decoded samples of the oracle, because the oracle is our
# truth. The cell prints the critic's **AUC**, which is the chance that the critic scores a real image above a generated
# one.
#
# The cell after that draws a figure. Each column has one of the ten MLE samples from above, and below it its scores
# (after the division), its rewards and its returns. The return of the first code adds up the rewards of the whole
# sample, so the samples are ordered by it, and four of them are shown. The left column has the sample with the lowest,
# and the right column the one with the highest. The two columns between are from the middle of the ten. Blue stands
# for numbers above 0, and red for numbers below 0.

# %%
methods = ("MLE continued", "RAL single", "RAL intermediate")
train_together((study, methods, [first]))  # side by side on a CPU's cores, or loaded
cfg = world.config.ral
(prior,), critic = study.ral("RAL intermediate", first)
n = world.config.n_curve
real, generated = oracle_codes[:n], draw(G, n, seed + 1)  # for the AUC, real ones also for the largest score
with torch.no_grad():
    real_map, many_map = (in_batches(lambda c: critic(decode(c)), c) for c in (real, generated))
    fake = decode(mle_codes)  # the ten MLE samples of the last figure
    fake_map = critic(fake)
scores = ral.normalise(fake_map, real_map, cfg.normalise)
r = ral.rewards(scores, shape, "intermediate")
Q = ral.returns(r, cfg.gamma)
print(f"on {len(real_map)} real and {len(many_map)} generated images the critic's AUC is "
      f"{auc(image_score(real_map), image_score(many_map)):.2f} (0.5 is chance, 1 is perfect)")  # fmt: skip

# %%
# Four that stand for all ten: the lowest and the highest return of the first code, and two between.
picks = Q[:, 0].argsort()[[0, 3, 6, 9]].tolist()
limits = [x[picks].abs().max().item() for x in (scores, r, Q)]  # the same colours in all of a row
fig, axes = plots.new_figure(4, 4, (2.3, 1.9))
for i, (top, *below) in zip(picks, axes.T, strict=True):
    plots.picture(top, plots.to_pixels(fake[i : i + 1])[0], "MLE sample")
    titles = f"scores, mean {scores[i].mean():+.2f}", "rewards r", f"returns Q, $\\gamma$ = {cfg.gamma:g}"
    maps = scores[i], r[i].view(H, W), Q[i].view(H, W)
    for ax, values, title, limit in zip(below, maps, titles, limits, strict=True):
        plots.value_map(values, ax, title, limit)
print(f"mean return of the first code, over all {len(Q)} samples: {Q[:, 0].mean():+.1f}")
record.figure("00-05-rewards", fig, title="From score maps to rewards and returns, of four MLE samples")

# %% [markdown]
# The AUC of 0.81 is well above chance, so the critic sees faults in MLE's samples. But it was last trained to tell
# RAL's samples from real images. How well it does that, this number does not say.
#
# Now read each column of the figure from top to bottom. In the left one the face falls apart, and its scores are by far
# the lowest of the four. The rewards are the few scores, spread smoothly over the places of the code map. A return adds
# up a code's own reward and all later ones, so most returns are largest in size at the top, where most rewards are
# still to come. Here $\gamma$ is 1, so each later reward counts in full.
#
# At the top of the map of returns the left sample is red and the right one is blue. But the sign of a return does not
# tell whether a code was good, because it depends on where the zero of the critic's scores happens to lie. What counts
# is the difference between samples in the same place. So the next section takes the mean of the other samples away. In
# these ten samples the mean happens to be close to 0, as the line above the figure says.
#
# ## Policy gradient
# Reinforcement learning calls the codes so far the *state* $s_t$, and the code that is drawn the *action* $a_t$. The
# distribution from which it is drawn is called the *policy*, and here it is the prior's, $G(a_t | s_t)$. A whole
# sampled map, from its first action to its last, is a *roll-out*. The **advantage** $A_t$ of a code is its return less
# the mean return of the other roll-outs in the same place, and this mean is called the *baseline*. (The paper has no
# baseline and takes the return itself.) The update follows the **policy gradient**
#
# $$\nabla_\theta J \propto \mathbf{E}\Big[\sum_{t=0}^{T-1} \nabla_\theta \log G(a_t | s_t)\, A_t\Big]$$
#
# where $\theta$ are the prior's parameters, $J$ is the expected return of a roll-out, which is the return of its first
# code, and $\mathbf{E}$ is the mean over roll-outs. On average the baseline does not change this gradient, but it makes
# the gradient less noisy. Notebook 04 shows why. In `deep` an update takes the mean over 768 roll-outs, so its baseline
# is far steadier than one of ten.
#
# A code whose return is above the mean return of the other roll-outs becomes more likely, and a code whose return is
# below this mean becomes less likely. No gradient goes through the critic, the decoder or the sampling, so it does not
# matter that codes are whole numbers. The figure shows samples before and after many such updates, drawn with the same
# random numbers.

# %%
ral_codes = draw(prior, 10, seed)
fig = plots.labelled_rows({"MLE": decode(mle_codes), "RAL": decode(ral_codes)})
record.figure("00-06-before-after", fig, title="Samples before and after RAL, same random numbers")

# %% [markdown]
# Compare the rows as a whole. A column need not show the same face twice, because one code that changes early changes
# all the codes after it. In the lower row fewer heads are torn or of two colours, but some still are. Ten samples
# cannot show how much was gained, nor what was lost. So we measure it.
#
# ## Did it help?
# We go on from the same MLE generator in three ways, each for about the same time and with one seed:
#
# * *MLE continued* is the control. It trains on by MLE, and makes three updates for each of RAL's. In the figure its
#   curve is drawn along RAL's updates, so each update on the axis stands for three of its own.
# * *RAL single* gives one reward for the whole image, at the last code. Because $\gamma$ is 1, all codes of a map then
#   have the same return.
# * *RAL intermediate* gives a reward to each code.
#
# `NLL_oracle` measures **quality**: how much the generator's samples surprise the oracle. `NLL_test` measures
# **diversity**: how much fresh data of the oracle surprise the generator. Lower is better in both. A generator that
# only repeats its best samples has a low `NLL_oracle` and a high `NLL_test`, so we need both numbers.
#
# The dotted line is what the oracle itself would get. It has the same height in both panels, because in both the oracle
# would judge its own samples. A generator could get below this line in `NLL_oracle`, if it drew only what the oracle
# likes best. That would make it narrower than the truth, and not better. The curve of *RAL intermediate* is dashed, so
# that it does not hide the one of *RAL single*.

# %%
runs = {method: [in_updates(method, study.history(method, first))] for method in methods}
fig = plots.curves(runs, ("NLL_oracle", "NLL_test"), "updates of RAL", world.own_numbers)
low, high = min(ax.get_ylim()[0] for ax in fig.axes), max(ax.get_ylim()[1] for ax in fig.axes)
for ax, what in zip(fig.axes, ("quality", "diversity"), strict=True):
    ax.set_ylim(low, high)  # one scale, because both are nats: a small rise has to look small
    ax.set_title(f"{ax.get_title()}: {what}, lower is better", fontsize=10)
    for line in ax.lines:
        if line.get_label() == "RAL intermediate":
            line.set_linestyle("--")  # because one reward would hide the other
fig.axes[0].legend(fontsize=8)  # again, now with the dashes
data = {method: {key: h[key] for key in ("step", "NLL_oracle", "NLL_test")} for method, (h,) in runs.items()}
record.figure(
    "00-07-curves", fig, title="Quality (left) and diversity (right) along the updates, first seed", data=data
)

# %% [markdown]
# On the left both RAL curves fall by about 26 nats in the first 50 updates and then nearly level off, and the control
# stays where it began. The level part does not show that RAL can go no further, because over the second half of the
# updates the learning rate falls to 0. On the right both RAL curves rise a little, by about 4 nats. So RAL buys quality
# and pays with diversity. The two rewards can hardly be told apart here, and every curve is still far above the dotted
# line, which is at about 111 nats.
#
# The generator starts at 225 nats on the left, but at only 142 on the right. These are two different measures. The
# right one is what MLE lowers, because the loss of MLE is the surprise of $G$ at the oracle's samples that it trains
# on. The left one is no part of this loss, because MLE never draws a sample of $G$. The next cell has the numbers of
# the curves.

# %%
lines = [
    f"* **{method}**: NLL_oracle {h['NLL_oracle'][0]:.1f} → {h['NLL_oracle'][-1]:.1f} "
    f"(± {2 * h['NLL_oracle_se'][-1]:.1f}), NLL_test {h['NLL_test'][0]:.1f} → {h['NLL_test'][-1]:.1f}"
    for method, (h,) in runs.items()
]
units = (
    "The numbers are nats per image. ± is two standard errors over the samples, so it does not say how much another "
    "seed would differ. Notebook 03 has all seeds and the verdict."
)
Markdown("\n".join([*lines, "", units]))

# %% [markdown]
# ## The whole pipeline in one picture, from the data above
#
# The upper row shows how the VQ-VAE and a prior are made. The bars at its end are the probabilities that $G$ gives to
# each of the $K$ codes at one place in the middle of the map, when it has seen the codes before this place. (A prior of
# real images learns from their codes, as the row shows. In our world only the oracle does so, and $G$ learns from the
# oracle's samples.) The lower row is one round of RAL, from a sample of $G$ to the returns of its codes. It is the
# sample in the last column of the figure of scores, rewards and returns. Its colours are darker here, because each of
# its three maps has a scale of its own, and there the four samples shared a scale in each row. Blue is above 0. The
# next two cells are folded, because they only prepare the pictures.


# %% jupyter={"source_hidden": true}
def shown(paint, values, title):
    """A stage of the pipeline: paint(axes, values, title), as soon as the figure has axes for it."""
    return lambda ax: paint(ax, values, title)


def code_map(ax, values, title):
    plots.code_map(values, G.K, ax, title)


def bars(ax, values, title):
    ax.bar(range(len(values)), values, width=1.0, color="#0072B2")
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)


def heat(ax, values, title):
    reach = values.abs().max()  # as far below 0 as above, so that white is 0
    plots.picture(ax, values, title, cmap="RdBu", vmin=-reach, vmax=reach)


# %% jupyter={"source_hidden": true}
best = picks[-1]  # the sample in the last column of the figure of scores, rewards and returns
pixels = plots.to_pixels(torch.cat([to_float(images[:1].to(world.device)), decode(codes[:1]), fake[best : best + 1]]))
with torch.no_grad():
    policy = G(codes[:1]).softmax(-1)[0, H // 2, W // 2].cpu()
tiled = torch.cat([torch.cat([codes[0], codes[1]], 1), torch.cat([codes[2], codes[3]], 1)])  # four maps as one
r_map, Q_map = (x[best].view(H, W).cpu() for x in (r, Q))
first_row = [
    ("", shown(plots.picture, pixels[0], "image x")),
    ("encode", shown(code_map, codes[0], "codes c")),
    ("decode", shown(plots.picture, pixels[1], "reconstruction")),
    ("", shown(code_map, tiled, "codes of many images")),
    ("MLE", shown(bars, policy, r"prior $G(\cdot\,|\,s_t)$")),
]
second_row = [
    ("sample G", shown(code_map, mle_codes[best], "actions $a_t$")),
    ("decode", shown(plots.picture, pixels[2], r"image $\tilde x$")),
    ("critic", shown(heat, scores[best].cpu(), "score map S")),
    ("up-sample", shown(heat, r_map, "rewards $r_{t+1}$")),
    ("add later ones", shown(heat, Q_map, "returns Q")),
]

# %%
rows = [("1  VQ-VAE, then the prior of its codes by maximum likelihood", first_row), ("2  RAL", second_row)]
fig = plots.chain(rows, back="policy gradient: codes whose return is above the others' become more likely")
record.figure("00-pipeline", fig, title="The pipeline, from real intermediate data")

# %% [markdown]
# The arrow below the last row closes the loop. The returns change the prior, the changed prior draws new actions, and
# the round begins again. The picture does not show that the critic also learns in every round, from new samples and
# from real images. Only the prior and the critic change in RAL. The VQ-VAE stays as it is.
#
# ## Play: temperature
# The prior's outputs are *logits*, which are log-probabilities up to a constant. They are divided by the
# **temperature** before a code is drawn. At a temperature below 1, called *colder*, the prior keeps to its likeliest
# codes. This is an easy way to better-looking and less varied samples. A gain that RAL claims has to be more than that,
# so notebook 03 measures the MLE generator at several temperatures.
#
# Below, the upper row shows samples of MLE at a temperature that you choose, and the lower row shows samples of RAL at
# temperature 1. At first the temperature is 0.7, and the lower row has the first eight RAL samples of the figure that
# compares samples before and after RAL. If you run the notebook, move the slider of the temperature down to 0.3, and
# then up to 1.3. Without a slider, call `explore(temperature=0.3)` in a cell of its own. At which temperature does the
# upper row look as clean as the lower one? Does it then still show as many colours of hair, skin and background? The
# eye alone cannot decide this, so notebook 03 measures it.


# %%
def explore(temperature=0.7, number=1):
    """Samples of MLE at a temperature, above those of RAL at 1; `number` chooses the random numbers."""
    mle, after = draw(G, 8, number, temperature=temperature), draw(prior, 8, number)
    return plots.labelled_rows({f"MLE at {temperature:g}": decode(mle), "RAL at 1": decode(after)})


explore()

# %%
widgets.explore(explore, temperature=(0.1, 1.5, 0.1), number=(1, 20))

# %% [markdown]
# ## What to take away
# * Codes make images short enough to be generated one decision at a time.
# * MLE trains on real codes. RAL trains on samples, and a critic that only sees images judges them.
# * No gradient goes through the sampling, because the advantages only weight log-probabilities.
# * Judge by quality *and* diversity, beside a control, over several seeds.
# * Compared with plain MLE and with the control, RAL helps: its samples surprise the oracle less, though some diversity
#   is lost. Compared with the same MLE generator sampled colder, the answer depends on the measure. At equal NLL_test
#   the colder samples surprise the oracle less. But by a distance between two sets of images, RAL is nearer to the
#   oracle's images than MLE at every temperature that we tried. *Rejection* is a third rival. There a critic that was
#   trained for longer throws away three of four MLE samples. What it keeps is nearer still by this distance, but each
#   kept sample costs four draws. This tour measures only the first comparison. Notebooks 03 and 08 make the others.
#
# ## Readings and deviations
# These are places where the paper can be read in more than one way, or where we do otherwise.
#
# 1. In the paper "real images are also their reconstructed version". Here the critic's real images are the oracle's
#    codes, decoded (`OracleWorld.oracle_codes`).
# 2. The NLL in the paper's Table 1 is 7.55 for MLE, without a unit. For 64 codes that is far too little. For one code
#    it is too much, because one of 128 equally likely codes costs only $\ln 128 = 4.85$ nats, or 7 bits. Notebook 03
#    says more. Ours is in nats per image (`metrics.oracle_metrics`).
# 3. Presets scale sizes and lengths down and change some of RAL's settings. Notebook 04 lists them (`ral.RalConfig`).
#
# ## Glossary
# | word | meaning |
# |---|---|
# | code, codebook | the number of a vector; the $K$ vectors that there are |
# | MLE | maximum likelihood: training that makes the training data as probable as it can |
# | exposure bias | the prior trains on real codes, but has to continue its own when it samples |
# | prior, logits | the PixelCNN over code maps; its unnormalised log-probabilities |
# | oracle, generator | the prior that is taken for the truth; the one that learns from its samples |
# | world | images, VQ-VAE, oracle and the oracle's samples together |
# | action, roll-out | a code that is drawn; one sampled code map, from its first action to its last |
# | policy | the distribution from which an action is drawn, here that of the prior |
# | critic, score map | the network that tells real from fake; its scores, one for each part of the image |
# | reward, return $Q$ | the score of a code; the sum of its reward and the later ones |
# | gamma | the factor, at most 1, by which each step of delay multiplies a reward |
# | baseline, advantage | what the other roll-outs get on average; the return less that |
# | NLL, nat | minus the natural logarithm of a probability, how surprising something is; its unit |
# | NLL_oracle | how much samples of $G$ surprise the oracle: quality |
# | NLL_test | how much the oracle's data surprise $G$: diversity |
# | temperature | what logits are divided by before a code is drawn; below 1, likely codes come more often |
# | control | a run to compare with, here MLE continued for about the same time as RAL |
# | AUC | chance that the critic ranks a real image above a fake one |
#
# ## Exercises
# Put your answer in place of `None` and run the cell, which says whether it is right. The solution is folded below it.
# The folded cell right here only prepares the checks.

# %% jupyter={"source_hidden": true}
# Folded, so that the checks below do not show what they ask for.
right_bits = float((world.vqvae.K ** (H * W) - 1).bit_length())  # of the last map's number, when they count from 0
right_count = float(len(draw(G, 200, seed, temperature=0.3).unique(dim=0)))

# %% [markdown]
# **1.** *(Easy, 5 minutes.)* How many bits does it take to write down a code map, if every code may be any of the $K$?
# The section on codes prints the sizes.

# %%
answer = None
check(answer, right_bits, within=1)

# %% tags=["solution"] jupyter={"source_hidden": true}
bits, size = H * W * math.log2(world.vqvae.K), world.images.size
Markdown(
    f"{bits:.0f} bits, because each of the {H * W} codes takes the logarithm of {world.vqvae.K} to the base 2, which "
    f"is {math.log2(world.vqvae.K):g}. The image has {size * size} pixels of three bytes, so {size * size * 24} bits. "
    f"The code map is {size * size * 24 / bits:.0f} times shorter."
)

# %% [markdown]
# **2.** *(Medium, 10 minutes.)* Does a code change the image only where it stands? Write a function that swaps the top
# halves of two code maps. The check tries it on the maps `[[0, 1], [2, 3]]` and `[[4, 5], [6, 7]]`. When it is right,
# run the following line in a cell of its own, and look for changes *below* the middle of the images:
#
#     plots.labelled_rows({"whole": decode(codes[:2]), "swapped": decode(swap_top_halves(codes[:2]))})


# %%
def swap_top_halves(codes):
    """Two code maps (2, H, W), each with the top half of the other one."""
    return None  # your code


swapped = swap_top_halves(torch.arange(8).view(2, 2, 2))
check(swapped if swapped is None else swapped.tolist(), [[[4, 5], [2, 3]], [[0, 1], [6, 7]]])


# %% tags=["solution"] jupyter={"source_hidden": true}
# No. The bottom of the images hardly changes, but the change reaches several rows of pixels past the middle, because
# the decoder's convolutions spread every code over its neighbours. In `deep` a row of codes is four rows of pixels.
def swap_top_halves(codes):
    """Two code maps (2, H, W), each with the top half of the other one."""
    swapped, half = codes.clone(), codes.shape[1] // 2
    swapped[:, :half] = codes[[1, 0], :half]
    return swapped


whole, mixed = decode(codes[:2]), decode(swap_top_halves(codes[:2]))
changed = (mixed - whole).abs().amax((0, 1, 3)) > 0.1  # for each row of pixels; they go from -1 to 1
below = changed[len(changed) // 2 :]
print(f"Of {len(below)} rows of pixels below the middle, {int(below.sum())} have a pixel, in one of the two images,")
print("that changes by more than 5 % of the range.")
plots.labelled_rows({"whole": whole, "top halves swapped": mixed})

# %% [markdown]
# **3.** *(Medium, 10 minutes.)* Does a cold generator repeat itself? Write down a guess first: how many different maps
# are there among 200 samples of the MLE generator at temperature 0.3? Then draw them with
# `draw(G, 200, seed, temperature=0.3)`, count them, and put the count, and not the guess, in place of `None`.

# %%
answer = None
check(answer, right_count, within=2)

# %% tags=["solution"] jupyter={"source_hidden": true}
# A few likely values for each code already make very many different maps. So counting exact repeats cannot show that a
# generator has become narrow. It helps more to count the codes in which two samples differ, because the fewer there
# are, the more alike the samples are. NLL_test shows it best, because it rises where real maps become improbable.
for temperature in (1.0, 0.3):
    drawn = draw(G, 200, seed, temperature=temperature)
    # The factor leaves out the pairs of a sample with itself, which never differ.
    differ = (drawn[:, None] != drawn).float().mean().item() * len(drawn) / (len(drawn) - 1)
    print(f"temperature {temperature}: {len(drawn.unique(dim=0))} different maps of {len(drawn)}")
    print(f"  two of them differ in {differ:.0%} of their codes")

# %% [markdown]
# **4.** *(Harder, 20 minutes.)* Compute advantages from rewards. First take the returns $Q$, by the equation in the
# section on the critic. Then subtract from each return the mean return of the *other* samples in the same place. The
# check compares your function with `ralkit`'s on three short samples.


# %%
def advantages_of(r, gamma):
    """Rewards r_1 .. r_T of n samples, (n, T) -> advantages A_0 .. A_{T-1}, (n, T)."""
    return None  # your code


short = torch.tensor([[1.0, 0.0, 4.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
right = ral.advantages(ral.returns(short, 0.5), "leave-one-out")
A = advantages_of(short, 0.5)
check(A if A is None else torch.allclose(A, right), True)


# %% tags=["solution"] jupyter={"source_hidden": true}
# The maps are the advantages of the four samples in the figure of scores, rewards and returns. Codes in blue become
# more likely and codes in red less likely. They look much like the returns, because the mean return of these ten
# samples is close to 0. In each place the advantages of all ten samples add up to 0, so some samples always gain and
# others lose.
def advantages_of(r, gamma):
    """Rewards r_1 .. r_T of n samples, (n, T) -> advantages A_0 .. A_{T-1}, (n, T)."""
    T = r.shape[1]
    Q = torch.stack([sum(gamma ** (k - t) * r[:, k] for k in range(t, T)) for t in range(T)], 1)  # r[:, k] is r_{k+1}
    others = (Q.sum(0) - Q) / (len(Q) - 1)
    return Q - others


assert torch.allclose(advantages_of(short, 0.5), right)
A = advantages_of(r, cfg.gamma)[picks]
maps = {f"advantages, column {i}": a.view(H, W) for i, a in enumerate(A, 1)}
plots.value_maps(maps, limit=A.abs().max().item())

# %% [markdown]
# ## How to go on
# Read the notebooks in their order: [01_vqvae](01_vqvae.ipynb) → [02_pixelcnn](02_pixelcnn.ipynb) →
# [03_oracle](03_oracle.ipynb) → [04_ral](04_ral.ipynb) → [05_images](05_images.ipynb) → [06_partial](06_partial.ipynb)
# → [07_completion](07_completion.ipynb) → [08_critical](08_critical.ipynb) → [09_report](09_report.ipynb). Two
# appendices, [10_ablations](10_ablations.ipynb) and [11_gradient](11_gradient.ipynb), go deeper where you want to. If
# you are in a hurry, read 04, which explains what was new in the paper. The command `python -m ralkit reproduce` runs
# the notebooks without a browser. (Notebook 10 takes many hours, so most presets leave it out.)
#
# ## References
# * The paper: Ak et al., *Incorporating Reinforced Adversarial Learning in Autoregressive Image Generation*, ECCV
#   2020.
# * van den Oord et al., *Neural discrete representation learning* (VQ-VAE),
#   [1711.00937](https://arxiv.org/abs/1711.00937).
# * van den Oord et al., *Conditional image generation with PixelCNN decoders*,
#   [1606.05328](https://arxiv.org/abs/1606.05328).
