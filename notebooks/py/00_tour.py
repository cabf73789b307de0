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
# **Paper:** all of it, from above (sections 3 to 5).
#
# | notebook | what it teaches | paper | `ralkit` |
# |---|---|---|---|
# | 00_tour | this: one picture of every stage | 1, 4 | `world`, `study`, `plots` |
# | [01_vqvae](01_vqvae.ipynb) | images to codes and back | 3, stage 1 | `vqvae`, `data`, `faces` |
# | [02_pixelcnn](02_pixelcnn.ipynb) | the prior: likelihood, exact sampling | 3, stage 2 | `prior`, `sampling`, `cache` |
# | [03_oracle](03_oracle.ipynb) | does RAL work? Table 1, Fig. 4, controls | 5.2 | `metrics`, `training` |
# | [04_ral](04_ral.ipynb) | RAL step by step: critic, rewards, returns, policy gradient | 4 | `critic`, `ral` |
# | [05_images](05_images.ipynb) | RAL on images, with one level of codes or two | 5.3 | `study`, `vqvae`, `prior` |
# | [06_partial](06_partial.ipynb) | partial generation, ablations | 4.3, 5.4 | `ral`, `sampling` |
# | [07_completion](07_completion.ipynb) | completing images | 5.5 | `sampling` |
# | [08_critical](08_critical.ipynb) | what RAL really bought | not in it | `metrics` |
# | [09_report](09_report.ipynb) | everything beside the paper's numbers | all | `report`, `paper` |

# %% tags=["parameters"]
preset = "deep"  # its weights are in data/pretrained/; or smoke, quick (all trained within the hour) or gpu
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
study, record = Study(world), Record(world)
print(record.about("00_tour"))


# %%
def draw(prior, n, number, temperature=1.0):
    """n code maps sampled from a prior; `number` chooses the random numbers."""
    return world.sample((prior,), n, number, temperatures=[temperature])[0]


# %% [markdown]
# **Loading or training.** With `pretrained = True` above, the networks of this notebook are loaded from
# `data/pretrained/`, and the whole notebook takes about a minute. With `False`, or where no file there fits, each cell
# trains what it shows and prints how far it is. All notebooks keep what they trained in `runs/`. So a later run loads
# it, and a run that was interrupted goes on where it stopped. Where the text says what a figure shows, it speaks of the
# committed run, with the preset `deep` and its pretrained weights.
#
# ## Images
# Unless you bring your own images, they are cartoon faces that a program draws, so nothing has to be downloaded. The
# *factors* of each face (hair, glasses, mouth ...) are known, so the faces can also be measured.

# %%
images = world.images.test[:16]
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
# The reconstructions keep the outline, the background and the place of the eyes. But hair gets blurred, mouths and
# glasses become faint, and green or purple eyes lose their colour. Every later stage works on codes, so no generator in
# this notebook can draw what the codes have lost.

# %%
fig = plots.code_maps(codes[:4], world.vqvae.K, images[:4], inch=2.0)
record.figure("00-03-codes", fig, title="Images and their code maps")

# %% [markdown]
# Each colour stands for one code. A plain background takes a few codes again and again, and the face takes many
# different ones. The numbers are only names, so codes with near numbers need not look alike.
#
# ## Prior
# The PixelCNN $G$ reads the code map row by row, from left to right. It gives the distribution of each code from the
# codes before it, $G(c_t | c_0 \dots c_{t-1})$. To sample, we draw one code after the other. To train, we raise the
# probability of real code maps.
#
# **The oracle idea.** How can one tell whether samples got *better*? Nobody knows the probability of a real image. So
# the paper trains one prior, the **oracle**, on the real codes, and from then on takes *it* for the truth. A second,
# smaller prior, the **generator**, learns from the oracle's samples as if they were real data. All that follows happens
# in this world.
#
# Now the truth is known, so quality can be measured exactly. `NLL_oracle` is a negative log-likelihood. It is minus the
# natural logarithm of the probability that the oracle gives to a generator's sample, averaged over samples. It says how
# much a sample surprises the oracle, so lower is better. Its unit is called the *nat*. The critic never sees this
# number.
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
# may look right, but the regions do not fit together. RAL is meant to repair this.
#
# ## Critic, rewards, returns
# The **critic** is a network that tells real images from samples. Its **score map** holds one score for each of a few
# regions, and a high score means that the image looks real from there. (A score may see more than its own region. In
# the small images of `deep` each score sees the whole image, as notebook 04 shows.) We divide all scores by the
# largest of their absolute values, so they lie between −1 and 1. Then we up-sample the score map to the size of the
# code map, so every code gets a score, and this score is its **reward**. The code drawn in step $t$ of $T$ is called
# $a_t$. Its reward has the number $r_{t+1}$, because it comes after that step.
#
# The **return** of a code adds up its own reward and the later ones:
#
# $$Q(s_t, a_t) = \sum_{k=t+1}^{T} \gamma^{k-t-1} r_k$$
#
# Here $s_t$ are the codes before $a_t$. The factor $\gamma$ is at most 1, and each step of delay multiplies a reward by
# it.
#
# The next cell runs RAL with these rewards, which are called *intermediate*. For later it also runs RAL with a *single*
# reward for the whole image, and a control without RAL. Then it takes the critic from the end of the run with
# intermediate rewards, and shows it real images and MLE samples. It prints the critic's **AUC**, which is the chance
# that the critic scores a real image above a generated one. The figure after it has one MLE sample in each column. Blue
# stands for numbers above 0, and red for numbers below 0.

# %%
methods = ("MLE continued", "RAL single", "RAL intermediate")
train_together((study, methods, [first]))  # side by side, on a CPU with several cores
cfg = world.config.ral
(prior,), critic = study.ral("RAL intermediate", first)
n = world.config.n_curve
several = {"real": oracle_codes[:n], "MLE samples": draw(G, n, seed + 1)}
with torch.no_grad():
    real_map, many_map = (in_batches(lambda c: critic(decode(c)), c) for c in several.values())
    fake = decode(mle_codes)
    fake_map = critic(fake)
scores = ral.normalise(fake_map, real_map, cfg.normalise)
r = ral.rewards(scores, shape, "intermediate")
Q = ral.returns(r, cfg.gamma)
print(f"on {len(real_map)} real and {len(many_map)} generated images the critic's AUC is "
      f"{auc(image_score(real_map), image_score(many_map)):.2f} (0.5 is chance, 1 is perfect)")  # fmt: skip

# %%
fig, axes = plots.new_figure(3, 4, (2.3, 1.9))
limits = [x[:4].abs().max().item() for x in (scores, r, Q)]  # the same colours in all of a row
for i, (top, middle, bottom) in enumerate(axes.T):
    plots.score_overlay(fake[i], scores[i], top, f"score map, mean {scores[i].mean():+.2f}", limits[0])
    fig.colorbar(top.images[1], ax=top, shrink=0.75).ax.tick_params(labelsize=6)
    plots.value_map(r[i].view(H, W), middle, "rewards r", limits[1])
    plots.value_map(Q[i].view(H, W), bottom, f"returns Q, $\\gamma$ = {cfg.gamma:g}", limits[2])
record.figure("00-05-rewards", fig, title="From score maps to rewards and returns, of four MLE samples")

# %% [markdown]
# Read each column from top to bottom. The rewards are the few scores, spread smoothly over the places of the code map.
# The returns are largest at the top left, because an early code has most rewards still to come. Nearly all maps are
# blue, so a code that merely has a positive return is nothing special. What counts is the difference between samples.
# For example, the codes of the first sample have higher returns than those of the third in the same places.
#
# ## Policy gradient
# Reinforcement learning calls the codes so far the *state* $s_t$, and the code that is drawn the *action* $a_t$. The
# **advantage** $A_t$ of a code is its return less the mean return of the other samples in the same place. (The paper
# takes the return itself.) The update follows the gradient
#
# $$\nabla_\theta J \propto \mathbf{E}[\nabla_\theta \log G(a_t | s_t)\, A_t]$$
#
# where $\theta$ are the prior's parameters and $J$ is the expected return. A code whose return is above that of the
# other samples becomes more likely, and a code whose return is below it becomes less likely. No gradient goes through
# the critic, the decoder or the sampling, so it does not matter that codes are whole numbers. The figure shows samples
# before and after many such updates, drawn with the same random numbers.

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
# * *MLE continued* is the control. It trains on by MLE, and makes three updates for each of RAL's.
# * *RAL single* gives one reward for the whole image, at the last code.
# * *RAL intermediate* gives a reward to each code.
#
# `NLL_oracle` measures **quality**: how much the generator's samples surprise the oracle. `NLL_test` measures
# **diversity**: how much fresh data of the oracle surprise the generator. Lower is better in both. A method that only
# repeats its best samples wins the first and loses the second. The dotted line is the oracle itself. (A generator that
# lies below it in `NLL_oracle` is no better than the truth. It only draws the oracle's favourites too often.)

# %%
runs = {method: [in_updates(method, study.history(method, first))] for method in methods}
fig = plots.curves(runs, ("NLL_oracle", "NLL_test"), "updates of RAL", world.own_numbers)
data = {method: {key: h[key] for key in ("step", "NLL_oracle", "NLL_test")} for method, (h,) in runs.items()}
record.figure(
    "00-07-curves", fig, title="Quality (left) and diversity (right) along the updates, first seed", data=data
)

# %% [markdown]
# On the left both RAL curves fall and then level off, and the control stays where it began. On the right both RAL
# curves rise a little. So RAL buys quality and pays with diversity. The two rewards can hardly be told apart here, and
# every curve is still far from the oracle. The next cell has the numbers.

# %%
lines = [
    f"* **{method}**: NLL_oracle {h['NLL_oracle'][0]:.1f} → {h['NLL_oracle'][-1]:.1f} "
    f"(± {2 * h['NLL_oracle_se'][-1]:.1f}), NLL_test {h['NLL_test'][0]:.1f} → {h['NLL_test'][-1]:.1f}"
    for method, (h,) in runs.items()
]
units = "The numbers are nats per image, and ± is two standard errors. Notebook 03 has all seeds and the verdict."
Markdown("\n".join([*lines, "", units]))

# %% [markdown]
# ## The whole pipeline in one picture, from the data above
#
# The upper row shows how the VQ-VAE and the prior are made. The bars at its end are the probabilities that the prior
# gives to all codes in one place of the map. The lower row is one round of RAL, from a sample of the prior to the
# returns of its codes.

# %%
code_map = lambda ax, values, title: plots.code_map(values, G.K, ax, title)  # noqa: E731


def shown(draw, values, title):
    """A stage of the pipeline: draw(axes, values, title) when the figure asks for it."""
    return lambda ax: draw(ax, values, title)


def bars(ax, values, title):
    ax.bar(range(len(values)), values, width=1.0, color="#0072B2")
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)


def heat(ax, values, title):
    plots.picture(ax, values, title, cmap="RdBu", vmin=-(reach := abs(values).max()), vmax=reach)


# %%
pixels = plots.to_pixels(torch.cat([to_float(images[:1].to(world.device)), decode(codes[:1]), fake[:1]]))
with torch.no_grad():
    policy = G(codes[:1]).softmax(-1)[0, H // 2, W // 2].cpu()
several = torch.cat([codes[:4].view(2, 2, H, W)[i].movedim(1, 0).flatten(1) for i in range(2)])
r_map, Q_map = (x[0].view(H, W).cpu() for x in (r, Q))
first_row = [
    ("", shown(plots.picture, pixels[0], "image x")),
    ("encode", shown(code_map, codes[0], "codes c")),
    ("decode", shown(plots.picture, pixels[1], "reconstruction")),
    ("", shown(code_map, several, "codes of many images")),
    ("MLE", shown(bars, policy, r"prior $G(\cdot\,|\,s_t)$")),
]
second_row = [
    ("sample G", shown(code_map, mle_codes[0], "actions $a_t$")),
    ("decode", shown(plots.picture, pixels[2], r"image $\tilde x$")),
    ("critic", shown(heat, scores[0].cpu(), "score map S")),
    ("up-sample", shown(heat, r_map, "rewards $r_{t+1}$")),
    ("Eq. 3", shown(heat, Q_map, "returns Q")),
]

# %%
rows = [("1  VQ-VAE, then the prior of its codes by maximum likelihood", first_row), ("2  RAL", second_row)]
fig = plots.chain(rows, back="policy gradient: codes whose return is above the others' become more likely")
record.figure("00-pipeline", fig, title="The pipeline, from real intermediate data")

# %% [markdown]
# The arrow below the last row closes the loop. The returns change the prior, the new prior draws new actions, and the
# round begins again. The critic also learns in every round, from these samples and from real images, which the picture
# leaves out. Only the prior and the critic change in RAL. The VQ-VAE stays as it is.
#
# ## Play: temperature
# The prior's outputs are *logits*, which are log-probabilities up to a constant. They are divided by the
# **temperature** before a code is drawn. At a temperature below 1, called *colder*, the prior keeps to its likeliest
# codes. This is an easy way to better-looking and less varied samples. A gain that RAL claims has to be more than that,
# so notebook 03 measures the MLE generator at several temperatures.
#
# Below are samples of both generators at a temperature below 1. Move the temperature down to 0.3, and then up to 1.3.
# At which temperature does MLE look as clean as RAL does at 1? Are its faces then still as varied?


# %%
def explore(temperature=1.0, number=1):
    """Samples of both generators at a temperature; `number` chooses the random numbers."""
    draws = {"MLE": G, "RAL": prior}
    return plots.labelled_rows({k: decode(draw(p, 8, number, temperature=temperature)) for k, p in draws.items()})


explore(0.7)

# %%
widgets.explore(explore, temperature=(0.1, 1.5, 0.1), number=(1, 20))

# %% [markdown]
# ## What to take away
# * Codes make images short enough to be generated one decision at a time.
# * MLE trains on real codes. RAL trains on samples, and a critic that only sees images judges them.
# * No gradient goes through the sampling, because the advantages only weight log-probabilities.
# * Judge by quality *and* diversity, beside a control, over several seeds.
#
# ## Readings and deviations
# 1. In the paper "real images are also their reconstructed version". Here the real data are the oracle's codes,
#    decoded (`OracleWorld.oracle_codes`).
# 2. The paper's units of NLL cannot be right as printed. Ours are nats per image (`metrics.oracle_metrics`).
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
# | roll-out | one sampled code map: all decisions from first to last |
# | critic, score map | the network that tells real from fake; its scores, one a region |
# | reward, return $Q$ | the score of a code; the sum of its reward and the later ones |
# | gamma | the factor by which each step of delay lowers a reward |
# | baseline, advantage | what the other roll-outs get on average; the return less that |
# | NLL, nat | minus the natural logarithm of a probability, how surprising something is; its unit |
# | NLL_oracle | how much samples of $G$ surprise the oracle: quality |
# | NLL_test | how much the oracle's data surprise $G$: diversity |
# | entropy | how much samples of $G$ surprise $G$ itself |
# | temperature | what logits are divided by before a code is drawn; below 1, likely codes come more often |
# | AUC | chance that the critic ranks a real image above a fake one |
# | FD-faces | Fréchet distance on features of a small network that knows the faces' factors |
#
# ## Exercises
# Put your answer in place of `None` and run the cell, which says whether it is right. The solution is folded below it.
#
# **1.** *(Easy, 5 minutes.)* How many bits does it take to write down a code map, if every code may be any of the $K$?
# The section on codes prints the sizes.

# %%
answer = None
check(answer, H * W * math.log2(world.vqvae.K), within=1)

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
# decode `swap_top_halves(codes[:2])`, and look for changes *below* the middle of the images.


# %%
def swap_top_halves(codes):
    """Two code maps (2, H, W), each with the top half of the other one."""
    return None  # your code


swapped = swap_top_halves(torch.arange(8).view(2, 2, 2))
check(swapped if swapped is None else swapped.tolist(), [[[4, 5], [2, 3]], [[0, 1], [6, 7]]])


# %% tags=["solution"] jupyter={"source_hidden": true}
# Mostly. The lower halves stay almost the same, but the seam is soft, because every code also reaches its neighbours
# through the decoder's convolutions.
def swap_top_halves(codes):
    """Two code maps (2, H, W), each with the top half of the other one."""
    swapped, half = codes.clone(), codes.shape[1] // 2
    swapped[:, :half] = codes[[1, 0], :half]
    return swapped


whole, mixed = decode(codes[:2]), decode(swap_top_halves(codes[:2]))
changed = (mixed - whole).abs().amax((0, 1, 3)) > 0.1  # for each row of pixels; they go from -1 to 1
below = changed[len(changed) // 2 :]
print(f"Of {len(below)} rows of pixels below the middle, {int(below.sum())} change by more than 5 % of the range.")
plots.labelled_rows({"whole": whole, "top halves swapped": mixed})

# %% [markdown]
# **3.** *(Medium, 10 minutes.)* Does a cold generator repeat itself? Guess how many different maps there are among 200
# samples of the MLE generator at temperature 0.3. Then count them. `draw(G, 200, seed, temperature=0.3)` draws them.

# %%
answer = None
cold = draw(G, 200, seed, temperature=0.3)
check(answer, float(len(cold.unique(dim=0))), within=2)

# %% tags=["solution"] jupyter={"source_hidden": true}
# A few likely values for each code already make very many different maps. So counting exact repeats cannot show that a
# generator has become narrow. NLL_test shows it, because it rises where real maps become improbable.
for temperature in (1.0, 0.3):
    drawn = draw(G, 200, seed, temperature=temperature)
    print(f"temperature {temperature}: {len(drawn.unique(dim=0))} different maps of {len(drawn)}")

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
# The maps are the advantages of the four samples above. Codes in blue become more likely and codes in red less likely.
# In each place the advantages of all samples add up to 0, so what one sample wins, the others lose.
def advantages_of(r, gamma):
    """Rewards r_1 .. r_T of n samples, (n, T) -> advantages A_0 .. A_{T-1}, (n, T)."""
    T = r.shape[1]
    Q = torch.stack([sum(gamma ** (k - t) * r[:, k] for k in range(t, T)) for t in range(T)], 1)  # r[:, k] is r_{k+1}
    others = (Q.sum(0) - Q) / (len(Q) - 1)
    return Q - others


assert torch.allclose(advantages_of(short, 0.5), right)
A = advantages_of(r, cfg.gamma)[:4]
maps = {f"advantages, sample {i}": a.view(H, W) for i, a in enumerate(A, 1)}
plots.value_maps(maps, limit=A.abs().max().item())

# %% [markdown]
# ## How to go on
# Read the notebooks in their order: [01_vqvae](01_vqvae.ipynb) → [02_pixelcnn](02_pixelcnn.ipynb) →
# [03_oracle](03_oracle.ipynb) → [04_ral](04_ral.ipynb) → [05_images](05_images.ipynb) →
# [06_partial](06_partial.ipynb) → [07_completion](07_completion.ipynb) → [08_critical](08_critical.ipynb) →
# [09_report](09_report.ipynb). If you are in a hurry, read 04, which explains what was new in the paper. The command
# `python -m ralkit reproduce` runs everything without a browser.
#
# ## References
# * The paper: Ak et al., *Incorporating Reinforced Adversarial Learning in Autoregressive Image Generation*, ECCV
#   2020.
# * van den Oord et al., *Neural discrete representation learning* (VQ-VAE),
#   [1711.00937](https://arxiv.org/abs/1711.00937).
# * van den Oord et al., *Conditional image generation with PixelCNN decoders*,
#   [1606.05328](https://arxiv.org/abs/1606.05328).
