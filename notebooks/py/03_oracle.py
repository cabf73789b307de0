# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · The oracle experiment: does RAL help, when the truth is known?
#
# For photographs nobody knows the true distribution, so nobody can say what a sample's probability *should* be. The
# paper's section 5.2 makes a world in which the truth is known. One trained prior is declared to be the truth and is
# called the **oracle**. A lighter prior, the **generator**, learns from the oracle's samples.
#
# After this notebook you can
# * measure a generator against a known distribution, in both directions, and say what each direction punishes;
# * run the paper's Table 1 and Figure 4, with the error bars that the paper leaves out;
# * judge whether a gain comes from the reward, from more updates, or only from a narrower distribution.
#
# *Before:* [02 · PixelCNN priors](02_pixelcnn.ipynb). *After:* [04 · RAL step by step](04_ral.ipynb). This notebook
# only runs RAL, and 04 takes it apart. Section 3 says in a few sentences what RAL does. (Where the text says what a
# figure or table shows, it speaks of the committed run, with the preset `deep`.)

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
import numpy as np
import torch
from IPython.display import Markdown, display

from ralkit.course import paper, plots, widgets
from ralkit.course.claims import claim
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record
from ralkit.course.runs import METHODS, in_updates
from ralkit.course.significance import beyond, direction, noise_over_seeds
from ralkit.course.study import Study
from ralkit.course.trainer import in_batches
from ralkit.course.workers import train_together
from ralkit.metrics import map_log_prob, oracle_metrics

world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
study, record = Study(world), Record(world)
print(record.about("03_oracle"))

# %% [markdown]
# ## 1 · A world whose truth is known
#
# The VQ-VAE of notebook 01 turns each image into a map of codes. The PixelCNN of notebook 02 learns the distribution of
# these maps. We now *call* that PixelCNN the truth, $G_\text{oracle}$. Everything that follows is trained on its
# samples, and the decoded samples are the "real images" that the critic sees. The next figure compares them with images
# from the data set.

# %%
oracle, codes = world.oracle, {split: c for split, (c,) in world.oracle_codes.items()}
rows = {
    "real": world.images.first("test", 10),
    "real, through VQ-VAE": world.decode(world.codes["test"][0][:10]),
    "oracle": world.decode(codes["train"][:10]),
}
figure = plots.labelled_rows(rows)
record.figure("03-1-world", figure, "Oracle experiment: real images, their reconstructions, the oracle's samples")

# %% [markdown]
# The second row shows what the codes keep of the images in the first. The third row looks much like it: the faces are
# as blurred, and most are of one piece, but some have hair of two colours.
#
# That does no harm, because the oracle does not have to draw well. It has to be *one fixed distribution*, whose
# log-probabilities can be computed exactly, and which is too rich for the generator. The next cell compares the sizes
# of both. It also prints the oracle's **entropy**, which says how much the oracle's own samples surprise it. It is the
# mean of minus their log-probability, and its unit is the nat, because the logarithm is the natural one. (The first
# line of the cell trains or loads the models of all runs, which section 3 lists.)

# %%
train_together((study, METHODS, study.seeds))  # all runs of this notebook, side by side on a CPU with several cores
(generator,) = study.generator("MLE", seed)
pair = {"oracle": oracle, "generator": generator}
size = {name: sum(p.numel() for p in prior.parameters()) for name, prior in pair.items()}
real_nll = -map_log_prob(oracle, world.codes["test"][0][:2000]).mean().item()
own_nll = world.own_numbers["entropy"]
Markdown(
    f"The oracle has {size['oracle']:,} parameters, and the generator has {size['generator']:,}. So we expect that the "
    "generator cannot copy the oracle, and section 3 shows whether it does. The oracle's entropy is about "
    f"{own_nll:.1f} nats per image, or {own_nll / codes['test'][0].numel():.2f} per code. Real codes, which the oracle "
    f"has not seen in training, surprise it by {real_nll:.1f} nats."
)

# %% [markdown]
# The two numbers of nats per image come from different code maps, because one is of the oracle's own samples and the
# other of real images. They are close, so the oracle finds real codes about as probable as its own samples.
#
# ## 2 · Four numbers, and what each one punishes
#
# The paper reports only one of the four. It is the negative log-likelihood (NLL) of the generator's samples under the
# oracle (Eq. 7), where $c \sim G$ is a code map sampled from the generator $G$:
#
# $$\text{NLL}_\text{oracle} = -\mathbb{E}_{c \sim G}\Big[\sum_{t=0}^{T-1}\log G_\text{oracle}(c_t | c_{0:t-1})\Big]$$
#
# It says how much the generator's samples surprise the truth. The next cell computes it line by line, from samples of
# the generator that was trained by maximum likelihood (MLE).

# %%
(c,) = world.sample((generator,), 500, seed=11)  # c ~ G, (500, H, W)
with torch.no_grad():
    log_g_oracle = oracle.log_prob(c)  # log G_oracle(c_t | c_0 .. c_{t-1}), (500, H, W)
surprises = -log_g_oracle.sum((1, 2))  # of each map, (500,)
nll_oracle, error = surprises.mean(), surprises.std() / len(surprises) ** 0.5
Markdown(
    f"The MLE generator has an NLL_oracle of **{nll_oracle:.1f}** nats per image. Its standard error is {error:.1f}. "
    f"The oracle's own samples would have {own_nll:.1f}. The tables below use {world.config.n_eval:,} samples, so they "
    "show a slightly different number for the same generator."
)

# %% [markdown]
# The next table sets three more numbers beside it. Two of them are *KL divergences*. A KL divergence says how far one
# distribution is from another. It is 0 if they are the same. It changes when the two are swapped, so there are two of
# them. A *mode* is a kind of image, and a mode is missing when the generator never draws it.
#
# | number | is | low means | blind to |
# |---|---|---|---|
# | NLL_oracle | $-\mathbb{E}_{G} \log G_\text{oracle}$ | samples look true (*quality*) | missing modes |
# | NLL_test | $-\mathbb{E}_{G_\text{oracle}} \log G$ | the truth is covered (*diversity*) | a share of nonsense |
# | KL(G‖oracle) | $\mathbb{E}_G \log (G / G_\text{oracle})$ = NLL_oracle − entropy of G | samples look true, and they vary | missing modes, nearly: leaving out half of the truth, by probability, costs only $\ln 2$ |
# | KL(oracle‖G) | $\mathbb{E}_{G_\text{oracle}} \log (G_\text{oracle} / G)$ = NLL_test − entropy of the oracle | as NLL_test | as NLL_test |
#
# * NLL_oracle is lowest for a generator that draws the same perfect face again and again.
# * NLL_test is what MLE minimises. It hardly notices nonsense. For example, let a generator draw nonsense half of the
#   time, and otherwise from the truth. Its NLL_test is at most $\ln 2 \approx 0.7$ nats above that of the truth itself.
# * KL(G‖oracle) subtracts the entropy of G, so a generator that becomes narrow must pay for it. But this price is small
#   beside that of nonsense. For example, a generator pays only $\ln 2$ nats if it draws perfectly from a part of the
#   truth that has half of the probability, and never from the rest. So KL(G‖oracle) can fall while the generator
#   becomes narrower, if the nonsense that it no longer draws had cost more.
# * KL(oracle‖G) is NLL_test less the entropy of the oracle, which is the same for all generators. So these two always
#   rise and fall together.
#
# The next cell computes the other three by hand, from the same samples and from samples of the oracle. Then it checks
# that `ralkit.metrics.oracle_metrics`, which makes the tables below, finds the same.

# %%
true = codes["test"][:500]  # c ~ G_oracle
with torch.no_grad():
    log_g = generator.log_prob(c).sum((1, 2))  # what G itself says of its samples
    log_g_true, log_oracle_true = (prior.log_prob(true).sum((1, 2)) for prior in (generator, oracle))
entropy = -log_g.mean()  # small if G is narrow
ours = {
    "NLL_oracle": nll_oracle,
    "NLL_test": -log_g_true.mean(),  # large if G leaves out what the oracle draws
    "KL(G||oracle)": nll_oracle - entropy,
    "KL(oracle||G)": (log_oracle_true - log_g_true).mean(),
}
library = oracle_metrics(generator, oracle, c, true)
assert all(abs(library[key] - value.item()) < 1e-2 for key, value in ours.items())
Markdown("In nats per image: " + ", ".join(f"{key} {value:.1f}" for key, value in ours.items()) + ".")

# %% [markdown]
# Because NLL_oracle is blind to missing modes, it can be cheated. The simplest way needs no training at all. We sample
# the MLE generator at a **temperature** below 1. Its logits are divided by the temperature before each code is drawn,
# so likely codes are drawn even more often. (The last two columns of the table are distances to decoded samples of the
# oracle, the *oracle data*, and to images of the data set, the *real data*. Less is better, and section 5 explains
# them.)


# %%
def sweep(run):
    """Table 1's numbers of the MLE generator of seed `run` at some temperatures."""
    rows = [{"temperature": tau} | study.measure("MLE", run, tau) for tau in (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)]
    return [{k: v for k, v in row.items() if not k.endswith("_se")} for row in rows]


tempered = {run: sweep(run) for run in study.seeds}
title = f"The MLE generator of seed {seed} at several temperatures, nats per image"
record.table("03-2-temperature", tempered[seed], title)

# %% [markdown]
# Read the table from the bottom to the top, where the generator gets colder. NLL_oracle falls with every step, and so
# does the entropy. KL(G‖oracle) falls as well, because NLL_oracle falls by more than the entropy. NLL_test rises with
# every step, at first hardly and at the end steeply. So the colder generator has better samples, and pays for them with
# diversity. The last two columns behave in another way. Both distances fall at first, are least at 0.7, and rise again
# when the generator gets colder still.
#
# Keep this table in mind. The temperature is a *free knob*, because turning it needs no training. So whatever RAL gains
# in NLL_oracle has to be compared with what the free knob gains. Watch KL(G‖oracle) and NLL_test beside it. In the same
# way, one should ask whether RAL comes nearer to the images than the best temperature does.
#
# ## 3 · The runs
#
# In RAL, the generator draws code maps, the decoder turns them into images, and the critic scores the images. The
# scores become rewards of the codes, and the policy gradient makes codes with good rewards more probable. The critic is
# trained in turns with the generator, and the oracle's decoded samples are its real images. Notebook 00 shows one such
# round, and notebook 04 takes it apart.
#
# For each of several seeds there are four runs.
#
# 1. **MLE**: the generator is trained by maximum likelihood on the oracle's samples.
# 2. **MLE continued**: the control. The same generator is trained on by MLE for about as long as RAL takes. It makes
#    three updates for each of RAL's. The number of code maps in a batch and the learning rate are those of RAL, and not
#    those of run 1. In all four runs of `deep` the generator's learning rate falls to 0 over the second half. Without
#    this control, "RAL is better" could mean "more training is better".
# 3. **RAL single**: the same MLE generator is trained on by RAL, with one reward for the whole image (Eq. 6).
# 4. **RAL intermediate**: the same, but each code has its own reward, from the up-sampled score map.
#
# Every run keeps a diary. AUC and SNR are only in those of RAL, because MLE has no critic. The next table says what its
# entries mean, and what they should look like.
#
# | entry | means | in a healthy run |
# |---|---|---|
# | NLL_oracle, NLL_test, KL, entropy | as above, nats per image | NLL_oracle and KL(G‖oracle) fall, NLL_test hardly rises |
# | AUC | chance that the critic scores a "real" image, which is a decoded sample of the oracle that it was not trained on, above a fresh fake one | clearly above .5; *at* .5 the reward is noise |
# | SNR | signal-to-noise ratio: the length of the policy gradient, which is a mean over samples, divided by the length of its standard error (both are vectors with a number for each weight) | above 1. Without a signal the mean is only noise, which is about as long as its own error, so the SNR is about 1 |

# %%
RAL = [m for m in METHODS if m.startswith("RAL")]  # with both rewards
# The control makes three steps for each update of RAL, so `in_updates` divides its steps to share one axis.
histories = {m: [in_updates(m, study.history(m, s)) for s in study.seeds] for m in METHODS}

# %% [markdown]
# The next figure shows the training of the MLE generators from the end of its first tenth on. Thin lines are seeds, and
# the thick line is their mean. The dotted lines are the numbers that the oracle itself would have. No generator can
# fall below them in NLL_test or in KL(G‖oracle). A generator can fall below the line in NLL_oracle, but then it draws
# the oracle's favourites too often.

# %%
keys = ["NLL_test", "NLL_oracle", "KL(G||oracle)"]
# The point before the training lies so high that all others would look flat beside it.
later = [{key: h[key][1:] for key in ("step", *keys)} for h in histories["MLE"]]
figure = plots.curves({"MLE": later}, keys, "steps", world.own_numbers)
data = dict(zip(study.seeds, histories["MLE"], strict=True))
display(record.figure("03-3-mle", figure, "Pre-training of the generators by MLE, without their start", data=data))
start = ", ".join(f"{key} {np.mean([h[key][0] for h in histories['MLE']]):.0f}" for key in keys)
Markdown(f"Before the training the generators had, on average and in nats per image: {start}.")

# %% [markdown]
# Most is learnt in the first tenth of the training, at whose end the curves begin. After that all three numbers still
# fall, but slowly. NLL_test, which MLE minimises, loses less than ten nats in the last nine tenths, and its seeds can
# hardly be told apart. NLL_oracle loses about thirty, but over more than twenty thousand steps. All three numbers end
# well above the dotted lines. So a gap to the oracle is left, and RAL can try to close it.
#
# ## 4 · Figure 4: NLL along the updates
#
# The left panel below is the paper's figure: do the samples surprise the oracle less and less? The other two panels are
# what the paper leaves out. The middle one, KL(G‖oracle), also charges a generator that becomes narrow. The right one,
# NLL_test, rises when the generator no longer covers the truth. The control makes three updates for each of RAL's, in
# about the same time. All three panels show the same number of nats from bottom to top, so a gain on the left can be
# compared with a price on the right. The oracle itself lies far below, at the number in each title.

# %%
fine_tuned = {m: histories[m] for m in METHODS if m != "MLE"}
keys = ["NLL_oracle", "KL(G||oracle)", "NLL_test"]
figure = plots.curves(fine_tuned, keys, "updates of RAL")
nats = max(np.ptp(ax.get_ylim()) for ax in figure.axes)
for ax, key in zip(figure.axes, keys, strict=True):
    middle = np.mean(ax.get_ylim())
    ax.set(ylim=(middle - nats / 2, middle + nats / 2), title=f"{key} (the oracle: {world.own_numbers[key]:.1f})")
    for line in ax.lines:  # dashes, because one reward would hide the other
        line.set(alpha=1, linestyle="--" if line.get_label() == "RAL intermediate" else "-")
figure.axes[0].get_legend().remove()  # there it would lie on curves
figure.axes[2].legend(fontsize=8, loc="upper right")
record.figure(
    "figure-4",
    figure,
    "Fig. 4: NLL_oracle during fine-tuning, and two numbers that the paper's figure leaves out (thin lines: seeds)",
    data={f"{m} {s}": h for m, hs in fine_tuned.items() for s, h in zip(study.seeds, hs, strict=True)},
)

# %% [markdown]
# On the left and in the middle both RAL curves fall, and level off in the second half. On the right they rise, but by
# much less. The control hardly moves in any panel. So the change comes from RAL, because MLE that trains on for about
# as long, at RAL's learning rate, does not show it. After RAL the samples look truer to the oracle, and they cover less
# of it. The single and the intermediate reward can hardly be told apart. All curves stay far from the oracle's numbers
# in the titles.
#
# RAL can learn only if its reward carries a signal, and the next figure shows whether it does. The entropy of G, on the
# right, says how varied its samples are. The dotted lines in the first and the last panel are again the oracle itself.
# No critic could tell its samples from other samples of it, so the AUC would be .5. The dotted line at an SNR of 1 is
# pure noise.

# %%
ral_runs = {m: histories[m] for m in RAL}
truth = {"AUC": 0.5, "entropy": own_nll}
figure = plots.curves(ral_runs, ["AUC", "SNR", "entropy"], "updates of RAL", truth)
figure.axes[1].axhline(1, color="black", linewidth=1, linestyle=":")
for line in (line for ax in figure.axes for line in ax.lines if line.get_label() == "RAL intermediate"):
    line.set_linestyle("--")  # as in Figure 4
figure.axes[0].get_legend().remove()  # there it would lie on the dotted line
figure.axes[2].legend(fontsize=8, loc=(0.03, 0.25))
title = "What the critics saw (AUC), the gradient's signal to noise, the entropy of G"
record.figure("03-4-signal", figure, title, data=ral_runs)

# %% [markdown]
# The AUC stays well above .5 in every run, and it does not fall towards .5. So a critic that learns along with the
# generator always finds a difference. The SNR is above 1 in every run, but seldom above 2. So the gradient carries a
# signal, but much of it is still noise, although it is the mean over 768 samples. In the second half it is higher with
# the intermediate reward than with the single one, on average over the seeds. But the seeds differ much, and in Figure
# 4 above the intermediate reward did not lower NLL_oracle further. The entropy falls, as it does at a lower
# temperature. It began above the oracle's own entropy, so a narrower generator is not bad in itself. It is bad only if
# it leaves out what the oracle draws, and NLL_test shows whether it does.
#
# ## 5 · Table 1
#
# NLL_test is measured on codes of the oracle that no model was trained on, the same codes for all runs. All other
# numbers are measured on fresh samples, the same number of them for each model. The column *change from MLE* is that of
# NLL_oracle, in percent of the same seed's *MLE*, because the paper compares with its MLE. Further below we also
# compare with *MLE continued*, which trained for about as long as RAL, so there the same effect has slightly different
# numbers. Each ± is the standard deviation over seeds.
#
# Papers judge images by the Fréchet inception distance (FID), which compares two sets of images. A network turns each
# image into features, and the *Fréchet distance* compares the mean and the covariance of the features of both sets. Our
# **FD-faces** does the same with a small network (`ralkit.course.faces.FactorNet`). It was trained to name the factors
# of a face, such as hair or glasses, so nothing has to be downloaded. FD-faces is *not comparable* with FID or with any
# published number. We measure it to two sets of images. *Oracle data* are decoded samples of the oracle, and *real
# data* are test images of the data set. Neither the generator nor the critic was trained on them.
#
# The last three rows are sets that no generator made, each as large as a model's set of samples. For oracle data the
# least that one can hope for is in the row *oracle, other samples*, because they have the right distribution. For real
# data it is in the row *real images, other ones*. No model of these codes can reach that, because the VQ-VAE blurs what
# it decodes. The row *real images, reconstructed* shows what this blur alone costs.

# %%
measured = {m: [study.measure(m, s) for s in study.seeds] for m in METHODS}
FD = ("FD-faces to oracle data", "FD-faces to real data")
COLUMNS = ("NLL_oracle", "KL(G||oracle)", "NLL_test", "entropy", *FD)
codes_per_image = codes["test"][0].numel()
base = np.array([r["NLL_oracle"] for r in measured["MLE"]])


def mean_and_spread(values, digits=1, sign=""):
    """Mean ± standard deviation over seeds."""
    return f"{np.mean(values):{sign}.{digits}f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.{digits}f}"


# %%
table = []
for m in METHODS:
    values = {k: np.array([r[k] for r in measured[m]]) for k in COLUMNS}
    row = {"method": m, "NLL_oracle": mean_and_spread(values["NLL_oracle"])}
    row["per code"] = mean_and_spread(values["NLL_oracle"] / codes_per_image, 3)
    row["change from MLE"] = mean_and_spread(100 * (values["NLL_oracle"] / base - 1)) + " %"
    row |= {k: mean_and_spread(values[k]) for k in COLUMNS[1:4]}
    row |= {k: mean_and_spread(values[k], 2) for k in FD}
    table.append(row)
for name, row in world.floors.items():
    empty = dict.fromkeys(table[0], "")
    table.append(empty | {"method": f"no generator: {name}"} | {k: f"{row[k]:.2f}" for k in FD})

# %% [markdown]
# The next cells also write what the table says, in sentences that are computed from it. (Folded cells, here and below,
# hold the code that only builds such sentences.) Below ours stands the paper's own Table 1. The paper does not say in
# which unit its NLL is, and none of the usual units (nats or bits, per code or per image) is plausible (reading 1
# below). So only the relative change can be compared with ours.

# %%
PAPER = dict(zip(("MLE", *RAL), paper.TABLE_1, strict=True))  # the paper's rows by our names


def change_from_control(method, key, percent=False):
    """The change of `key` from the control in each seed, in its own unit or in percent of the control's."""
    ours, control = (np.array([row[key] for row in measured[m]]) for m in (method, "MLE continued"))
    return 100 * (ours / control - 1) if percent else ours - control


def change_in_paper(method, column):
    """The paper's change of `column` from its MLE, in percent."""
    return 100 * (PAPER[method][column] / PAPER["MLE"][column] - 1)


# %% jupyter={"source_hidden": true}
def finding(method):
    """What Table 1 says of a method, in a few sentences."""
    relative = 100 * np.mean([r["NLL_oracle"] for r in measured[method]]) / base.mean() - 100
    digits = {"NLL_oracle": 1, "KL(G||oracle)": 1, FD[0]: 2, "NLL_test": 1}
    said = ", ".join(f"{key} {mean_and_spread(change_from_control(method, key), n, '+')}" for key, n in digits.items())
    diversity = "No clear loss of diversity."
    if direction(change_from_control(method, "NLL_test")) > 0:
        diversity = "NLL_test rose, so diversity was lost."
    return (
        f"* **{method}** changes NLL_oracle by {relative:+.1f} % against MLE. In the paper it is "
        f"{change_in_paper(method, 'NLL'):+.1f} %. Against *MLE continued*, which trained on for about as long, the "
        f"changes are {said} (NLL and KL in nats per image; mean ± standard deviation over {len(study.seeds)} seeds). "
        f"{diversity}"
    )


# %%
findings = "\n".join(finding(m) for m in RAL)
record.table(
    "table-1",
    table,
    f"Table 1: the oracle experiment, nats per image, mean ± spread over {len(study.seeds)} seeds",
    note=findings,
    paper=paper.TABLE_1,
)

# %% [markdown]
# Compare the rows of RAL with the two rows of MLE. RAL has the lower NLL_oracle, KL(G‖oracle) and entropy, and it comes
# nearer to both sets of images. Only its NLL_test is higher. Its distance to oracle data falls by about half, but other
# samples of the oracle are still much nearer. Its distance to real data falls from 33 to 28. A generator that only
# learns from the oracle's samples can hope for the distance of other such samples, which is 24, and nearly half of the
# way there is left. Even the oracle is that far away, for two reasons. The VQ-VAE blurs, and this alone gives
# reconstructed real images a distance of 16. Besides, the oracle is not a perfect model of the real codes.
#
# Now compare the two rewards. In the paper the intermediate one is a little better in NLL and by FID on real data, and
# worse by FID on oracle data. Here they hardly differ. In every column the difference of their means is smaller than
# the larger of their two spreads over seeds.
#
# ### Would more MLE have done the same?
#
# The curves of MLE still fell a little when its training stopped. So a gain of RAL might only come from more training.
# (The length of MLE in `deep` was chosen so that training for twice as long lowers NLL_test by less than 1 %, see
# `ralkit.course.presets`. But that is not nothing.) So we ask what plain maximum likelihood gains if it goes on for
# about as long as RAL takes. The table shows the seconds that each method trained, and its mean change against the
# *MLE* of the same seed. If more training explains the gain of RAL, the changes in the row *MLE continued* are about as
# large as those of RAL.

# %%
rows = []
for m in METHODS:
    seconds = [study.history(m, s)["seconds"][-1] for s in study.seeds]
    maps = study.recipe(m).rollouts if m in RAL else study.recipe(m).batch
    row = {"method": m, "steps": study.history(m, seed)["step"][-1], "code maps a step": maps}
    row["seconds"] = f"{np.mean(seconds):.0f}"
    for key in ("NLL_test", "NLL_oracle", "KL(G||oracle)"):
        d = np.array([a[key] - b[key] for a, b in zip(measured[m], measured["MLE"], strict=True)])
        row[f"change of {key}"] = mean_and_spread(d, 1, "+") if m != "MLE" else ""
    rows.append(row)
title = "What each method's training took, and its change against MLE, nats per image"
note = "Seconds include the measuring for the curves, and whatever else the computer did meanwhile."
record.table("03-7-at-its-end", rows, title, note=note)

# %% [markdown]
# The changes of *MLE continued* are much smaller than those of RAL, and it took about as long. So training for the same
# time, with the batch and the learning rate of RAL, does not explain what RAL does.
#
# This control is not tuned for MLE. In `deep` its learning rate begins at a twentieth of the one with which the first
# run began. So the control does not say what MLE would gain in the same time with a learning rate of its own.
#
# The next table has one line for each claim of the paper. The paper's change is against its MLE. Ours is against *MLE
# continued*, the control, and where the paper has FID, ours is FD-faces. The last column has the change of each seed,
# in the unit of *ours*. A claim holds here if the mean change over the seeds is below 0 by more than chance explains.
# We judge this by *Student's t-test*. It compares the mean of the changes with their spread, and it demands more when
# there are few seeds. At 95 %, of twenty changes that are only chance about one counts as decided. So with many claims
# some may be decided by chance, and the report of notebook 09 corrects for that.


# %% jupyter={"source_hidden": true}
def checked(method, key, column):
    """The paper's change of `column` against MLE, beside ours of `key` against the control, in percent."""
    what = "NLL under the oracle" if column == "NLL" else column
    theirs, d = f"{change_in_paper(method, column):+.1f} %", change_from_control(method, key, percent=True)
    ours = mean_and_spread(d, 1, "+") + " %"
    return claim(f"Table 1: {method} lowers {what}", theirs, ours, np.mean(d), noise_over_seeds(d), d)


# %%
pairs = (("NLL_oracle", "NLL"), (FD[0], "FID on oracle data"), (FD[1], "FID on real data"))
rows = [checked(m, *pair) for pair in pairs for m in RAL]
for m in RAL:
    d = change_from_control(m, "NLL_test")
    says, ours = f"Abstract: {m} improves diversity (NLL_test falls)", mean_and_spread(d, 1, "+") + " nats"
    rows.append(claim(says, "no number", ours, np.mean(d), noise_over_seeds(d), d))
record.table("03-claims", rows, "The paper's claims on the oracle experiment")

# %% [markdown]
# All claims of Table 1 hold here against the control, for both rewards and for both distances. But these claims are
# about quality. The abstract also speaks of diversity, for which the paper gives no number of its own. We read it as
# NLL_test, and this claim fails, because NLL_test rises in every run of RAL. The rise is decided, so RAL loses to its
# control there. A *yes* in this table does not say that RAL beats colder MLE, which is the question of section 6.
#
# The last table lists every single run, because a mean over a few seeds hides how much they differ.

# %%
every = [{"method": m, "seed": s} | r for m in METHODS for s, r in zip(study.seeds, measured[m], strict=True)]
record.table("table-1-runs", every, "Table 1, every run (se: standard error of the estimate)")

# %% [markdown]
# In NLL_oracle every run of RAL lies far below every run of MLE. But runs of the same method also differ in NLL_oracle,
# and their spread is larger than the standard error of one run (the column `NLL_oracle_se`). So what counts is the
# spread over seeds, and not the error of one measurement. In NLL_test the runs of MLE differ by less than their
# standard errors. This is possible because all runs are measured on the same codes of the oracle. An accident in these
# codes shifts all runs alike, so it hardly changes their differences.
#
# ## 6 · Against the free knob
#
# The free knob is the temperature. The black curves are the MLE generators at several temperatures, with one curve for
# each seed, and they cost no training. A method is worth its training only where its points lie **below and to the
# left** of those curves, because there it has better samples at equal coverage. Each seed has its own marker: circles
# are the first seed, squares the second and triangles the third. (Those of *MLE continued* are hollow, because they lie
# on those of MLE.) The numbers beside the first seed's curve are its temperatures. The lines below the figure say how
# many nats of NLL_oracle each run lies above or below the curve of its own seed, at the same NLL_test. For this the
# curve is a smooth line through its points, which lies a little below the straight lines of the figure. They also say
# whether the sign is decided over the seeds, again by Student's t-test at 95 %.


# %%
def from_curve(method):
    """Nats of NLL_oracle by which each run lies below (-) or above (+) its own seed's MLE curve at equal NLL_test."""
    runs = zip(study.seeds, measured[method], strict=True)
    return np.array([beyond(tempered[run], row, "NLL_test", "NLL_oracle") for run, row in runs])


# %% jupyter={"source_hidden": true}
def beside_curve(method):
    """The same in a sentence."""
    d = from_curve(method)
    side = "below" if d.mean() < 0 else "above"
    each = ", ".join(f"{v:+.1f}" for v in d)
    said = {-1: "So RAL does better.", 0: "So it is not decided.", 1: "So the colder MLE does better."}[direction(d)]
    if np.isnan(d).any():
        said += " (nan: the run lies beside the curve.)"
    return f"* **{method}** lies {abs(d.mean()):.1f} nats {side} the MLE temperature curve ({each} over seeds). {said}"


verdict = "\n".join(beside_curve(m) for m in RAL)

# %%
points = {"MLE": list(tempered.values())} | {m: [[row] for row in measured[m]] for m in METHODS if m != "MLE"}
figure = plots.trade_off(points, "NLL_test", "NLL_oracle")
ax, n = figure.axes[0], len(study.seeds)
for i, line in enumerate(ax.lines):  # of each method those of all seeds, one after another
    line.set_marker("os^Dv"[i % n % 5])
for line in ax.lines[n : 2 * n]:  # MLE continued, around the points of MLE
    line.set(markerfacecolor="none", markersize=10)
for temperature in ax.texts:
    temperature.set_position((-6, -12))  # below the curve
ax.margins(0.1)
ax.lines[0].set_label("MLE at several temperatures")
ax.legend(fontsize=8)
ax.annotate("better", (0.03, 0.03), (0.13, 0.12), "axes fraction", arrowprops={"arrowstyle": "->"})
title = "Quality against diversity: MLE over temperatures (line) and each run"
display(record.figure("03-5-trade-off", figure, title, data=points, note=verdict))
Markdown(verdict)

# %% [markdown]
# Start where all runs start, at the upper left, where the temperature is 1. From there the black curves fall almost
# straight down. So a slightly colder MLE gains much in NLL_oracle, and its NLL_test hardly changes. RAL starts from the
# same points, but it moves to the right while it goes down. *MLE continued* stays where it was.
#
# The plainest comparison needs no curve. MLE of seed 1 at temperature 0.8 has an NLL_oracle of 183.0, a KL(G‖oracle) of
# 58.2 and an NLL_test of 144.2. *RAL single* of the same seed has 198.5, 63.2 and 145.8, so the colder MLE is better in
# all three. In the figure every seed's point at 0.8 lies below and to the left of that seed's points of RAL.
#
# One can also look at equal entropy, because then both are equally narrow. At temperature 0.9 the MLE generator of seed
# 1 has nearly the entropy of *RAL single* of seed 1 (136.6 and 135.2 nats). Its NLL_oracle is then close to that of RAL
# (202.0 and 198.5), and its NLL_test is lower (142.4 and 145.8). So most of what RAL gains in NLL_oracle, a colder MLE
# gains with the same loss of entropy, and it loses less coverage. Notebook 08 makes this comparison for all seeds.
# There both rewards are a little better than colder MLE at equal entropy, but this is decided for *RAL single* only.
#
# ### The same question by a distance
#
# The paper also judges by FID. So we ask the same question by FD-faces: does RAL come nearer to the images than MLE
# does at its best temperature? The next cell picks this temperature among those of the table, for each seed and each
# distance. It picks with hindsight, which favours MLE. But there are only six temperatures, and one between them may be
# better, which favours RAL. A negative number means that RAL is nearer than MLE at that temperature.


# %%
def from_best(method, key):
    """The distance `key` of each run, less the least that its seed's MLE generator has at any of the temperatures."""
    least = [min(row[key] for row in tempered[run]) for run in study.seeds]
    return np.array([row[key] for row in measured[method]]) - least


Markdown(
    "\n".join(
        f"* **{m}**, {key}: {mean_and_spread(from_best(m, key), 2, '+')} against the least of MLE"
        for m in RAL
        for key in FD
    )
)

# %% [markdown]
# ### The verdict, so far
#
# The next cells put both comparisons together. Each is decided only if the difference has the same sign, beyond chance,
# with both rewards. By FD-faces it must have it for both sets of images, too.

# %% jupyter={"source_hidden": true}
by_nll = {
    -1: "**With both rewards, RAL does better than MLE sampled colder.**",
    0: "**Beside MLE sampled colder, it is not decided for both rewards.**",
    1: "**With both rewards, MLE sampled colder does better, and needs no training.**",
}
by_distance = {
    -1: "By FD-faces RAL is nearer to both sets of images than MLE at its best temperature.",
    0: "By FD-faces it is not decided for both rewards and both sets of images.",
    1: "By FD-faces MLE at its best temperature is nearer to both sets of images than RAL.",
}


# %%
def agreed(differences):
    """-1 or 1 if all are decided on the same side of 0, else 0."""
    sides = {direction(d) for d in differences}
    return sides.pop() if len(sides) == 1 else 0


fall = [change_from_control(m, "NLL_oracle", percent=True).mean() for m in RAL]
paid = [change_from_control(m, "NLL_test").mean() for m in RAL]
# -1 where RAL is better, 1 where MLE sampled colder is, 0 where it is not decided
curve, best = agreed(from_curve(m) for m in RAL), agreed(from_best(m, key) for m in RAL for key in FD)
depends = "So the answer depends on the measure. " if {curve, best} == {-1, 1} else ""
Markdown(
    f"RAL changes NLL_oracle by {' and '.join(f'{x:+.1f}' for x in fall)} % with the single and the intermediate reward"
    f"{', as the paper says' if max(fall) < 0 else ''}. It changes NLL_test by "
    f"{' and '.join(f'{x:+.1f}' for x in paid)} nats, which the paper does not show. Both are changes against *MLE "
    f"continued*. {by_nll[curve]} This comparison is at equal NLL_test. {by_distance[best]} "
    f"{depends}Notebook 08 makes more such comparisons, and it adds a control that lowers NLL_oracle without looking "
    "at any image."
)

# %% [markdown]
# Why can the two measures disagree? They look at different things. NLL_oracle and NLL_test judge the probability of
# each code map, and they never see an image. FD-faces never sees a code, and compares only the mean and the covariance
# of features of the decoded images. RAL is trained by a critic that looks at decoded images, too. So it may mend what
# can be seen in an image rather than what makes a code map probable. That is a possible reason, and this notebook does
# not test it.
#
# There is one more rival, which this notebook does not measure. It is *rejection*: a critic throws away most samples of
# MLE, and the prior stays as it is. Notebook 08 measures it in this world, with a critic that was trained for longer
# and that keeps one sample of four. In both KL divergences rejection is nearer to the oracle than RAL. By FD-faces it
# is nearer than RAL to oracle data, which is decided, and to real data nothing is decided between the two. So RAL beats
# its control in quality, and it beats MLE at its best temperature by FD-faces. It beats rejection by none of these.
#
# ## 7 · Look at them
#
# Every row is drawn with the same random numbers. So where training changed nothing, a column repeats its face. The
# last row is drawn from the oracle.

# %%
rows = {m: world.decode(*world.sample(study.generator(m, seed), 12, seed=3)) for m in METHODS}
rows["oracle"] = world.decode(*world.sample((oracle,), 12, seed=3))
figure = plots.labelled_rows(rows)
record.figure("03-6-samples", figure, "Samples of each method, and of the oracle, with the same random numbers")

# %% [markdown]
# *MLE continued* repeats one face of *MLE*, the seventh. In all other columns but one the background is the same, and
# some faces begin alike, such as the eighth and the eleventh, but differ further down. So its probabilities changed
# only a little, but this is enough to change most faces. As soon as one code is drawn differently, all the codes after
# it can differ, too. RAL changes the probabilities more, and its rows repeat no face of *MLE*. Both rows of MLE have
# torn outlines and shirts of two colours. The rows of RAL have fewer of them, but more than the oracle's. A dozen faces
# cannot show whether diversity was lost, so trust the numbers there.
#
# ## Play: which samples does the oracle like?
#
# We sort 200 samples of a generator by their probability under the oracle, and we do the same with 200 samples of the
# oracle. The next figure shows both ends of this order, for *MLE*, for *RAL single* and for the oracle. Are the faces
# at the probable end only cleaner, or are they also more alike? Faces are alike if their maps have many codes in
# common, so the line below the figure counts these. The most probable faces are best compared with the oracle's own
# most probable ones, because those were chosen in the same way. The last number is that of the oracle's samples as they
# come. It says how alike faces are that nobody has sorted.

# %%
sampled = {m: world.sample(study.generator(m, seed), 200, seed=4)[0] for m in METHODS}
sampled["oracle"] = codes["test"][:200]
ordered = {m: x[map_log_prob(oracle, x).argsort()] for m, x in sampled.items()}  # the least probable first


def alike(maps):
    """Percent of the codes that two of the code maps (N, H, W) have in common, on average over all pairs."""
    same, n = (maps[:, None] == maps).float().mean((2, 3)), len(maps)  # (N, N), with 1 on the diagonal
    return 100 * (same.sum().item() - n) / (n * (n - 1))


ends = {"least probable": slice(12), "most probable": slice(-12, None)}
groups = {f"{m}, {end}": ordered[m][part] for m in ("MLE", "RAL single", "oracle") for end, part in ends.items()}
display(plots.labelled_rows({name: world.decode(maps) for name, maps in groups.items()}))
shares = "; ".join(f"{name} {alike(maps):.0f} %" for name, maps in groups.items())
Markdown(f"Codes in common: {shares}; the oracle's samples as they come {alike(sampled['oracle']):.0f} %.")

# %% [markdown]
# Most of the least probable faces of both generators are broken, with heads that run into the background and hair of
# several colours. So the oracle's opinion agrees with the eye here. The least probable faces of the oracle itself are
# mostly of one piece, though a few are smeared. For all three models the most probable faces are cleaner than the
# least probable ones, and they are also more alike. For *RAL single* their maps have more codes in common than those of
# *MLE*, and than those of the oracle's samples as they come.
#
# This alone does not show that RAL has lost diversity, because the oracle's own most probable faces are alike, too.
# They even have slightly more codes in common than those of *RAL single* (8 % and 7 %). So this comparison gives no
# sign that RAL draws fewer kinds of probable faces than the truth has. But each of these numbers rests on twelve
# faces, so a difference of a few percentage points is a hint and no proof, and the loss that NLL_test shows may not
# be visible here.
#
# The explorer shows twelve samples from any part of the order, of any method or of the oracle. At a share of 0 % it
# begins with the least probable one, and at 94 % it ends with the most probable one. Without a slider, call for example
# `explore("RAL single", 94)` in a cell of its own.


# %%
def explore(method="MLE", share=0):
    """Twelve samples from `share` percent of the way from the least to the most probable under the oracle."""
    first = min(int(share / 100 * 200), 200 - 12)
    title = f"{method}: places {first + 1} to {first + 12} of 200, the least probable first"
    return plots.image_grid(world.decode(ordered[method][first : first + 12]), 12, title)


widgets.explore(explore, method=list(ordered), share=(0, 94, 2))

# %% [markdown]
# ## Readings and deviations
#
# 1. The paper does not give the unit of *"NLL 7.55"* (Table 1), and none of the usual units is plausible. As nats or
#    bits per image it is far too little for 64 codes. As nats or bits per code it is more than $\ln 128 = 4.85$ nats or
#    $\log_2 128 = 7$ bits, which is what a code costs if all 128 are equally likely. An NLL under *another* model can
#    be that high: our generators began at almost 10 nats per code. But a trained generator should be far better, and
#    ours has 3.5. So we report nats per image and per code, and compare relative changes
#    (`ralkit.metrics.oracle_metrics`).
# 2. *"a lighter PixelCNN so that the MLE model cannot be easily trained towards the oracle"* (footnote 3): ours is
#    lighter by more than the paper's, because the reward carries a signal only as long as a critic can tell the two
#    apart. In `deep` it has one layer where the oracle has five (`Preset.generator`).
# 3. *"For all experiments, we finetune the pixelcnn model with the MLE loss with the same number of iterations"*
#    (supplement): our run of this kind is `MLE continued`. The paper does not say whether the MLE rows of its tables
#    are such runs.
# 4. The paper never gives the number of updates, of seeds, or of samples behind each number. Ours are in
#    `RalConfig.updates`, `Preset.seeds` and `Preset.n_eval`.
# 5. FID on the Inception network is replaced by the Fréchet distance on the faces' factor network,
#    `ralkit.metrics.frechet_distance`, and called FD-faces.
# 6. *"Instead of directly training on real images"* (section 5.2): the real images of the critic are decoded samples of
#    the oracle.
# 7. The defaults of `RalConfig` are the settings of the paper's section 4.4. They are a batch of 16, learning rates of
#    $10^{-4}$ for the critic and $4 \cdot 10^{-6}$ for the prior, no baseline, and for the critic the loss WGAN-GP,
#    which notebook 04 explains. The presets change them, for reasons that notebook 04 measures. The settings of `deep`
#    were chosen on seed 0 and another world (other faces, VQ-VAE, oracle), and we report only seeds from 1 on.
# 8. All seeds of one run share one world. They differ in the generator's start, its batches, and all random numbers of
#    RAL.
#
# ## To take away
#
# * Where the oracle is known, *both* divergences can be estimated without bias. A paper that reports one direction
#   shows only half.
# * A control that trains for as long and the temperature curve are cheap, and each can overturn a conclusion.
# * RAL cannot help without a signal in its reward, so look at the AUC and the SNR first. With a signal it still has to
#   beat the free knob.
# * Who wins depends on the measure. RAL beats its control in NLL_oracle and FD-faces, and loses to it in NLL_test. At
#   equal NLL_test a colder MLE beats RAL, and by FD-faces RAL beats MLE at its best temperature. RAL beats rejection by
#   neither of these (notebook 08). So always say by which measure one method is better than another.
#
# ## Exercises
#
# Put your answer in place of `None` and run the cell, which says whether it is right. The solution is folded below it.
# The folded cell right here only prepares the checks.

# %% jupyter={"source_hidden": true}
# Folded, so that the checks below do not show what they ask for.
per_code = float(np.log(world.vqvae.K))
right_nll = codes_per_image * per_code
deviation = measured["MLE"][0]["NLL_oracle_se"] * world.config.n_eval**0.5  # of one sample
right_n = float(2 * (2 * deviation) ** 2)

# %% [markdown]
# **1.** *(Easy, 5 minutes.)* A generator that has learnt nothing gives every code the same probability, whatever came
# before. Which NLL_test does it have, in nats per image? A map has `codes_per_image` codes, and each is one of
# `world.vqvae.K`.

# %%
answer = None
check(answer, right_nll, within=1)

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown(
    f"{right_nll:.1f} nats. Each code has the probability 1/{world.vqvae.K}, so it costs ln "
    f"{world.vqvae.K} = {per_code:.2f} nats, and a map has {codes_per_image} of them. A network before its training is "
    f"nearly such a generator. Ours began with an NLL_test of {histories['MLE'][0]['NLL_test'][0]:.1f}."
)

# %% [markdown]
# **2.** *(Easy, 5 minutes.)* The coldest row of the table in section 2 is its first one, at temperature 0.6. Guess the
# row above it from the rows that you see. Which NLL_oracle will the MLE generator have at temperature 0.5? An answer
# within 5 nats of the measured value counts as right. Is it below the oracle's own entropy, `own_nll`? A generator can
# get below it. Say in a sentence whether that would be good.

# %%
answer = None
narrow = study.measure("MLE", seed, 0.5)
check(answer, narrow["NLL_oracle"], within=5)

# %% tags=["solution"] jupyter={"source_hidden": true}
last, before = (row["NLL_oracle"] for row in tempered[seed][:2])
Markdown(
    f"From 0.7 to 0.6 NLL_oracle falls from {before:.1f} to {last:.1f}. If it falls as much again, it is "
    f"{2 * last - before:.1f} at 0.5. Measured, it is {narrow['NLL_oracle']:.1f}, which is "
    f"{'below' if narrow['NLL_oracle'] < own_nll else 'above'} the oracle's entropy of {own_nll:.1f}. NLL_test is "
    f"{narrow['NLL_test']:.1f} there, and it was {tempered[seed][-1]['NLL_test']:.1f} at temperature 1. It would not "
    "be good to get below the entropy, because such a generator draws the oracle's favourites too often. One that only "
    "repeats the oracle's likeliest map is far below the entropy, and covers nothing."
)

# %% [markdown]
# **3.** *(Medium, 15 minutes.)* Two models are compared, each by $n$ samples of its own. How large must $n$ be, if a
# difference of one nat in NLL_oracle is to be two standard errors? Assume that the samples of both spread as those of
# MLE do. The standard error of its NLL_oracle is `measured["MLE"][0]["NLL_oracle_se"]`, from `world.config.n_eval`
# samples. An answer within 5 % counts as right.

# %%
answer = None
check(answer, right_n, within=0.05 * right_n)

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown(
    f"About {right_n:,.0f}. A standard error is the deviation of one sample over the root of the number of samples, so "
    f"one sample deviates by {deviation:.1f} nats. The difference of two means has the variance 2 · {deviation:.1f}² / "
    f"n. Two standard errors are one nat if 4 · 2 · {deviation:.1f}² / n = 1. But NLL_oracle of MLE is "
    f"{mean_and_spread(base)} over the seeds. So more samples alone do not settle a nat, because seeds differ as well."
)

# %% [markdown]
# **4.** *(Harder, 20 minutes.)* Where on the map is the MLE generator worst? Write a function that takes a prior and
# code maps. For each place, it gives the mean of minus the log-probability of the code there. `prior.log_prob(codes)`
# has the shape (N, H, W). The check calls your function for the oracle on `c`, the generator's samples from section 2,
# and adds up your map. The sum must be `nll_oracle`. Then call it for the generator on the same samples, and subtract
# this map from the first one. The generator is worst where the difference is largest. What does the difference add up
# to? (In the solution's figure the first two maps have one scale of colours, and the difference has its own.)


# %%
def surprise(prior, codes):
    """Mean of -log prior in nats at each place, over code maps (N, H, W): (H, W)."""
    return None  # your code


with torch.no_grad():
    found = surprise(oracle, c)
check(found if found is None else found.sum(), nll_oracle.item(), within=0.1)


# %% tags=["solution"] jupyter={"source_hidden": true}
def surprise(prior, codes):
    """Mean of -log prior in nats at each place, over code maps (N, H, W): (H, W)."""
    return -in_batches(prior.log_prob, codes).mean(0)


with torch.no_grad():
    maps = {"-log oracle": surprise(oracle, c), "-log G": surprise(generator, c)}
gap = maps["difference"] = maps["-log oracle"] - maps["-log G"]
(H, W), top = gap.shape, max(x.max().item() for x in maps.values())
figure, axes = plots.new_figure(1, 3, (3.0, 2.4))
for ax, (title, values) in zip(axes[0], maps.items(), strict=True):
    plots.picture(ax, values.cpu(), title, cmap="Blues", vmin=0, vmax=None if values is gap else top)
    ax.set(xticks=range(W), yticks=range(H))
    figure.colorbar(ax.images[0], ax=ax, label="nats per code")
display(figure)
Markdown(
    f"The difference adds up to KL(G‖oracle), which is {gap.sum().item():.1f} nats on these samples. It is largest in "
    f"row {gap.argmax().item() // W} and column {gap.argmax().item() % W}, counted from 0. In the dark places of the "
    "last map the generator often draws a code that the oracle finds improbable. The lower half of the map, which is "
    f"drawn last, has {100 * (gap[H // 2 :].sum() / gap.sum()).item():.0f} % of the difference. Its codes follow more "
    "codes of the generator's own, and notebook 08 measures how much worse that makes them."
)

# %% [markdown]
# ## References
#
# * K. E. Ak, N. Xu, Z. Lin, Y. Wang: *Incorporating Reinforced Adversarial Learning in Autoregressive Image
#   Generation*, ECCV 2020, section 5.2.
# * L. Yu et al.: *SeqGAN*, AAAI 2017: the oracle experiment's origin.
# * M. Caccia et al.: *Language GANs Falling Short*, arXiv 1811.02549: the temperature control.
# * S. Semeniuta et al.: *On Accurate Evaluation of GANs for Language Generation*, arXiv 1806.04936: spread over runs.
