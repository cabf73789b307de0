# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Appendix: ablations, on images and where the truth is known
#
# An **ablation** is a run in which one setting is changed and all others stay. It shows what this setting is worth. The
# paper's ablations change how much of a map is sampled, which prior learns, and how many scores the critic gives
# (notebook 06). This appendix changes other settings. Section 1 changes four of them on images. Section 2 asks the same
# in the oracle experiment. Section 3 takes *RAL anchored* of notebook 08 apart.
#
# It takes more runs than all the other notebooks together, and nothing of it is in the paper. So `make
# reproduce` leaves it out, and only the presets `deep` and `gpu`, trained from nothing, run it. You can open it with any
# preset. The texts say
# how to read each figure and table, and the cells say what came out.
#
# After this notebook you can
# * read an ablation with its diagnosis: which run is worse, and also where its signal was lost;
# * say which settings of the anchored run carry its result, and what theory had expected of each.
#
# *Before:* [06 · partial generation](06_partial.ipynb), [08 · what did RAL really buy?](08_critical.ipynb).

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
import numpy as np
from IPython.display import Markdown

from ralkit.course import plots
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record, markdown_table
from ralkit.course.runs import RUNS
from ralkit.course.significance import beyond, direction, side, spread
from ralkit.course.study import Study
from ralkit.course.workers import train_together
from ralkit.course.world import World

one = Study(World(preset, dataset, seed, levels=1, pretrained=pretrained))
record_one = Record(one.world)
print(record_one.about("10_ablations"))

# %%
ON_IMAGES = ("RAL without baseline", "RAL gamma .99", "RAL without layer norm", "RAL WGAN-GP")
base, cfg_one = f"RAL {one.world.config.ral.reward}", one.world.config.ral
train_together((one, ("MLE", base, *ON_IMAGES), one.seeds))
FD = f"{one.world.metric} to reconstructed"


def by_seed(study, method, key):
    """A number of a run, of each seed."""
    return np.array([study.measure(method, s)[key] for s in study.seeds])


def compared(study, a, b, key):
    """How run a compares with run b, in words."""
    d = by_seed(study, a, key) - by_seed(study, b, key)
    return f"**{a}** against {b}: {key} {spread(d, '+.3g')} ({side(d)})"


# %% [markdown]
# ## 1 · On images
#
# The paper does not test the following four choices. We test them on one map of codes, and each run changes one setting
# of the preset's own RAL. The table has a line for each run, with the preset's value and the run's.

# %%
rows = [
    {"run": name, "setting": key, f"{base}": getattr(cfg_one, key), "this run": value,
     "changed": "yes" if getattr(cfg_one, key) != value else "no: it is the preset's own"}
    for name in ON_IMAGES for key, value in RUNS[name].items()
]  # fmt: skip
Markdown(markdown_table(rows))

# %% [markdown]
# Where the last column says *no*, the run is the preset's own under another name, and nothing can follow from it.
#
# RAL has a chain of steps: the critic sees a difference, its scores become rewards, and the rewards become a gradient.
# Each of these numbers looks at one place of the chain:
#
# | number | what it diagnoses |
# |---|---|
# | `AUC` | the critic: the chance that it scores a held-out real image above a generated one. At 0.5 the critic is blind, and the reward says nothing of realism |
# | `SNR` | the policy gradient: the length of its mean over the standard error (signal-to-noise ratio). At about 1 it is noise alone |
# | `NLL_test` | the diversity: the nats that test codes cost under $G$. It grows when $G$ forgets, whatever it has gained |
#
# The AUC needs care. It falls when $G$ catches up, and it rises when the critic learns faster than $G$. So read it
# beside the Fréchet distance, which says how far the features of the samples are from those of real images.
#
# Notebooks 04 and 11 lead us to expect the following:
#
# * Without the baseline the gradient has more noise, so the SNR is lower.
# * With gamma below 1, early codes answer less for what comes late.
# * Without layer normalisation the critic learns later, so the AUC is lower at first.
# * With WGAN-GP, a Wasserstein loss with a gradient penalty, the critic also learns later.
#
# The text below table 10-3 says whether it came so.

# %%
shown = (base, *ON_IMAGES)
curves = {name: [one.history(name, s) for s in one.seeds] for name in shown}
logged = (one.world.metric, "NLL_test", "AUC", "SNR")
logged = [key for key in logged if all(key in h for runs in curves.values() for h in runs)]
fig = plots.curves(curves, logged[:-2])
data = {name: [{key: h[key] for key in ("step", *logged)} for h in runs] for name, runs in curves.items()}
record_one.figure(
    "10-1-curves",
    fig,
    title="Ablations on one level: distance and NLL_test, every seed and the mean",
    data=data,
)

# %% [markdown]
# Each colour is a run. Its thin lines are seeds, and its thick line is their mean. In both panels lower is better. Call
# two runs different only where the thin lines of one stay apart from those of the other.
#
# The next figure has the diagnosis of the same runs. The dotted lines are the values that mean *nothing there*: a blind
# critic at the left, and a gradient of noise alone at the right. (In the left panel it is 0.5, in the right one 1.)

# %%
fig = plots.curves(curves, ("AUC", "SNR"))
for ax, chance in zip(fig.axes, (0.5, 1.0), strict=True):
    ax.axhline(chance, color="black", linewidth=0.8, linestyle=":")
    ax.set_ylim(bottom=min(0.9 * chance, ax.get_ylim()[0]))
title = "Ablations on one level: what the critic sees, signal to noise of the gradient (dotted: chance)"
record_one.figure("10-2-diagnosis", fig, title=title, data=data)

# %% [markdown]
# Ask of a run that is worse where the chain breaks. If its AUC is near the dotted line, then its critic had nothing to
# teach. If its AUC is well above the line but its SNR is near 1, then the reward was lost in noise. If both are high,
# then the gradient was clear, and its direction was wrong.
#
# The table has the numbers at the end of each run. There, *first* is right after the critic's warm-up, before any
# update of $G$, and *later* is the mean over the other points of the curve. The lines below the table compare each run
# with the preset's, seed by seed. *Lower* and *higher* mean beyond chance at 95 %.


# %%
def diagnosis(method):
    """AUC and SNR of a run, at its first point and on average after it, of each seed."""
    return {f"{k}, {at}": np.array([f(h[k]) for h in curves[method]]) for k in ("AUC", "SNR")
            for at, f in (("first", lambda v: v[0]), ("later", lambda v: np.mean(v[1:])))}  # fmt: skip


diagnoses = {name: diagnosis(name) for name in shown}
metric = one.world.metric
columns = (f"{metric} to real", f"{metric} to reconstructed", "precision", "recall", "NLL_test")
table = []
for name in ("MLE", *shown):
    row = {"run": name} | {key: spread(by_seed(one, name, key)) for key in columns}
    table.append(row | {key: spread(diagnoses[name][key]) if name in diagnoses else "" for key in diagnoses[base]})


# %%
def found(method):
    """What a change did, with its diagnosis."""
    told = [compared(one, method, base, FD)]
    for key in ("recall", "NLL_test"):
        told.append(compared(one, method, base, key).partition(": ")[2])
    for key in ("AUC, later", "SNR, later"):
        d = diagnoses[method][key] - diagnoses[base][key]
        told.append(f"{key} {spread(d, '+.3g')} ({side(d)})")
    return "* " + "; ".join(told) + "."


note = "\n".join([f"* {compared(one, base, 'MLE', FD)}.", *map(found, ON_IMAGES)])
title = f"Ablations of {base} on one level of codes, mean ± spread over {len(one.seeds)} runs"
record_one.table("10-3-images", table, title, note=note)

# %%
expected = {"RAL without baseline": "SNR, later", "RAL without layer norm": "AUC, first", "RAL WGAN-GP": "AUC, first"}
came = []
for m, k in expected.items():
    before, now = diagnoses[base][k], diagnoses[m][k]
    came.append(f"* {k}, of {m}: {before.mean():.3g} → {now.mean():.3g} ({side(now - before)}).")
Markdown("We expected the following numbers to be lower than those of the preset's run:\n\n" + "\n".join(came))

# %%
change = {m: by_seed(one, m, FD) - by_seed(one, base, FD) for m in ON_IMAGES}
worst, clear = max(change, key=lambda m: change[m].mean()), [m for m, d in change.items() if direction(d)]
highest = {k: max(shown, key=lambda name, k=k: diagnoses[name][k].mean()) for k in ("AUC, later", "SNR, later")}
Markdown(
    f"Of the four changes, **{worst}** has the highest mean {FD} ({change[worst].mean():+.2g} against {base}). Beyond "
    f"chance over seeds are: {', '.join(clear) or 'none'}. The highest later AUC is that of "
    f"**{highest['AUC, later']}**, and the highest later SNR is that of **{highest['SNR, later']}**."
)

# %% [markdown]
# Do not rank runs whose differences are within the noise. Mind too that every change was made alone, while all other
# settings were the preset's. The paper's literal setting changes all of them together, with its learning rates too.
# Notebook 04 has a section on it.
#
# ## 2 · Where the truth is known
#
# The oracle experiment asks the same question where every probability is known. It has no run with WGAN-GP alone, but
# it has three others. One has a quarter of the **roll-outs**, which are the maps that $G$ samples for one update. One
# has three times the learning rate. And *RAL literal* has the paper's literal setting, so it changes many settings at
# once.
#
# Two more numbers appear here. `NLL_oracle` says how much the samples surprise the oracle, and KL(G‖oracle) is
# NLL_oracle less the entropy of $G$. Both measure quality, and lower is better. AUC and SNR are means over the run.

# %%
world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
study, record = Study(world), Record(world)
of_ral, ANCHORED = world.config.ral, study.recipe("RAL anchored")
ABLATIONS = (
    "RAL without baseline", "RAL gamma .99", "RAL, a quarter of the roll-outs", "RAL, three times the learning rate",
    "RAL without layer norm", "RAL literal",
)  # fmt: skip
TAKEN_BACK = tuple(run for run in RUNS if run.endswith("taken back"))
default = f"RAL {of_ral.reward}"
train_together((study, ("MLE", default, "RAL anchored", *ABLATIONS, *TAKEN_BACK), study.seeds))
keys = ("NLL_oracle", "KL(G||oracle)", "NLL_test")

# %%
rows = []
for m in (default, *ABLATIONS):
    numbers = {k: [study.measure(m, s)[k] for s in study.seeds] for k in keys}
    numbers |= {k: [np.mean(study.history(m, s)[k]) for s in study.seeds] for k in ("AUC", "SNR")}
    rows.append({"run": m} | {k: spread(v) for k, v in numbers.items()})
note = "\n".join(f"* {compared(study, m, default, 'NLL_oracle')}." for m in ABLATIONS)
record.table("10-4-oracle", rows, f"Ablations of {default} in the oracle experiment", note=note)

# %% [markdown]
# Read a line of the table from right to left: first the AUC and the SNR, which say what the run could learn, and then
# what it did learn. A run with a low SNR that hardly moves has lost its signal. A run that lowers NLL_oracle and raises
# NLL_test has paid with diversity, so look at KL(G‖oracle) before you call it better.
#
# *RAL anchored* has three times the preset's learning rate. Does its gain come from that alone? The next lines compare
# it with plain RAL at the same learning rate.

# %%
rival = "RAL, three times the learning rate"
d = by_seed(study, "RAL anchored", "KL(G||oracle)") - by_seed(study, rival, "KL(G||oracle)")
word = "beyond chance" if direction(d) else "within chance"
Markdown(
    f"At the anchored run's own learning rate: KL(G‖oracle) of RAL anchored less that of *{rival}* ({default}) is "
    f"{spread(d)} nats, which is {word} (95 % over seeds)."
)

# %% [markdown]
# Notebook 04 explains what each setting does: the critic's losses, gamma, the baseline and the literal setting.
# Notebook 11 measures what some of them do to the gradient. Section 1 has what they do on images.
#
# ## 3 · RAL anchored, taken apart
#
# *RAL anchored* changes several settings of RAL at once. Its critic is trained for long against the MLE model
# $G_\text{MLE}$, and then stands still. The reward is the critic's score $D$ plus $\log G_\text{MLE} - \log G$. On
# average this second part is minus the KL divergence from $G$ to the MLE model. We call it the *anchor*, because it
# holds $G$ near the MLE model. Here some settings are **taken back**: they are those of plain RAL again, while the
# others stay.
#
# What should come of it? Let $p$ be what the critic was shown as real, which is $G_\text{oracle}$ here. Suppose that
# the critic is right up to a factor $\alpha$, so $D = \alpha \log p / G_\text{MLE}$. If it stands still, then RAL with
# an anchor of weight 1 leads to
#
# $$G \propto G_\text{MLE}^{1-\alpha}\, p^\alpha$$
#
# because the expected reward is highest there. With $\alpha = 1$ this is the truth, and with $\alpha = 0$ it is the MLE
# model. The table says what theory expects of each run, given enough time. $T$ is the number of codes of a map.
#
# | taken back | what that changes | given time, $G$ goes to |
# |---|---|---|
# | nothing | | $p$, if $\alpha = 1$ |
# | `kl` | there is no anchor, and no $-\log G$ in the reward, so the critic's score is all | the one map that the critic likes best |
# | `critic_updates` | the critic follows $G$. So $D \approx \log p / G$ brings $-\log G$ a second time, beside the anchor | $\sqrt{p\, G_\text{MLE}}$, half-way |
# | both of them | the critic follows $G$ and there is no anchor, so $D \approx \log p / G$ alone | $p$. The anchor belongs to a critic that stands still |
# | `warmup` | it is shorter, so the critic has seen less, and $\alpha < 1$ | between $G_\text{MLE}$ and $p$ |
# | `penalty` | it is stronger and flattens the score, so $\alpha < 1$ | between $G_\text{MLE}$ and $p$ |
# | `normalise` | scores are divided by the largest, so none counts for more than a nat, where $\log p / G_\text{MLE}$ has many: $\alpha$ is small | nearly $G_\text{MLE}$ |
# | `reward` | each code gets a score, and answers for all later ones too: $\alpha$ is about $T$ for the first code and 1 for the last | past $p$, most in the upper rows |
# | `lr_prior` | it is slower | $p$, later |
#
# The next table has the runs. As in notebook 08, the *curve* is MLE at several temperatures (its logits divided by the
# temperature), in the plane of KL(oracle‖G), which is diversity, and KL(G‖oracle), which is quality. A run below the
# curve does better than a colder MLE that is as diverse.

# %%
x, y = "KL(oracle||G)", "KL(G||oracle)"
COLDER = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
cold = {s: [{"temperature": T} | study.measure("MLE", s, T) for T in COLDER] for s in study.seeds}


def judge(values):
    """On which side of the curve a method lies, beyond chance (95 % over seeds)."""
    if np.isnan(values).any():
        return "(partly) outside"
    return {-1: "below", 0: "not decided", 1: "above"}[direction(values)]


def beside(values):
    """The mean ± the deviation of the runs, or "outside" where one cannot be compared with the curve."""
    return "outside" if np.isnan(values).any() else spread(values, "+.1f")


def settings(a, b, names):
    """The settings of these names that differ, as a has them and as b has them."""
    show = lambda v: f"{v:g}" if isinstance(v, float) else v  # noqa: E731
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in names}
    return ", ".join(f"{name} {show(x)} → {show(y)}" for name, (x, y) in pairs.items() if x != y)


# %%
rows_of = {m: [study.measure(m, s) for s in study.seeds] for m in ("RAL anchored", *TAKEN_BACK)}
away = {m: np.array([beyond(cold[s], r, x, y) for r, s in zip(rows_of[m], study.seeds, strict=True)]) for m in rows_of}
table, lines = [], []
for m, runs in rows_of.items():
    row = {"taken back": settings(ANCHORED, study.recipe(m), RUNS["RAL anchored"]) or "nothing"}
    for k in (*keys, "entropy"):
        values = [r[k] for r in runs]
        row[k] = spread(values)
    table.append(row | {"KL(G||oracle) beyond the curve": beside(away[m]), "side": judge(away[m])})
for m in TAKEN_BACK:
    words = []
    for k in ("KL(G||oracle)", "NLL_test"):
        d = np.array([a[k] - b[k] for a, b in zip(rows_of[m], rows_of["RAL anchored"], strict=True)])
        words.append(f"{k} {spread(d)} ({side(d)})")
    d = away[m] - away["RAL anchored"]
    words.append("distance from the curve " + f"{beside(d)} ({judge(d)})")
    lines.append(f"* **{m.removeprefix('RAL anchored, ')}**, less RAL anchored: {'; '.join(words)}.")
note = "\n".join(lines)
title = "RAL anchored with some settings taken back to RAL's own: temperature 1, mean ± spread over seeds"
record.table("10-5-taken-back", table, title, note=note)

# %% [markdown]
# The lines below the table set each run beside the whole *RAL anchored*. A setting carries the result if KL(G‖oracle)
# or the distance from the curve gets higher without it, beyond chance.
#
# The next figure shows the same runs in the plane. Both axes are distances from the truth, so the truth is at (0, 0),
# and lower left is better. The black curves are MLE by temperature, one for each seed. Points of one shape are the
# seeds of one run. See first which shapes leave the curve, and then in which direction.

# %%
figure, ((ax,),) = plots.new_figure(size=(7.4, 4.2))
for run in study.seeds:
    curve = cold[run]
    label = "MLE by temperature" if run == seed else None
    ax.plot([r[x] for r in curve], [r[y] for r in curve], ".-", color="black", linewidth=0.8, label=label)
for i, (m, runs) in enumerate(rows_of.items()):
    style = {"color": plots.COLOURS.get(m, f"C{i}"), "label": m.removeprefix("RAL anchored, ")}
    ax.plot([r[x] for r in runs], [r[y] for r in runs], "osD^vPX*p"[i], **style)
ax.set(xlabel=f"{x} (nats per image): diversity", ylabel=f"{y}: quality")
ax.grid(alpha=0.3)
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
title = "RAL anchored, and what changes when settings are taken back (every seed, temperature 1)"
record.figure("10-6-taken-back", figure, title, data=rows_of)

# %% [markdown]
# Compare the figure with the table of theory, row by row. Where they disagree, remember what theory leaves out. The
# runs end before $G$ arrives, no critic is right up to a factor, and a small network cannot hold every distribution.
# Also, a setting was taken back while the others stayed, so its worth is its worth beside them.
#
# ## Readings and deviations
#
# 1. `RAL WGAN-GP` changes the loss alone and keeps the preset's normalisation. The paper's critic, as far as it is
#    described, has none. `runs.RUNS`
# 2. The MLE curve is each seed's own, a cubic spline over the temperature. `significance.beyond`
#
# ## To take away
#
# * An ablation needs its noise, and its diagnosis: AUC for the critic, SNR for the gradient.
# * A setting's worth is its worth beside the others. Take back one, and another may matter more.
# * In theory, an anchor belongs to a critic that stands still, and a critic that follows $G$ needs none.
#
# ## Exercises
#
# **1.** *(Easy, 5 minutes.)* There are only two maps. The truth gives the first one a probability of 0.8, and the MLE
# model gives it 0.5. A critic with $\alpha = 1/2$ stands still, and the anchor has weight 1. What probability does the
# first map have when RAL has arrived?

# %%
answer = None
check(answer, 0.667, within=0.005)

# %% tags=["solution"] jupyter={"source_hidden": true}
p, G_MLE, alpha = np.array([0.8, 0.2]), np.array([0.5, 0.5]), 0.5
G = G_MLE ** (1 - alpha) * p**alpha
Markdown(f"{G[0] / G.sum():.3f}, from {G[0]:.3f} and {G[1]:.3f} divided by their sum. It lies between 0.5 and 0.8.")

# %% [markdown]
# **2.** *(Medium, 10 minutes.)* Which setting of the anchored run changes the mean KL(G‖oracle) most, up or down, when
# it is taken back? Give the name that it has in the legend of the last figure, without *taken back*, as text. Does the
# last column of theory's table explain the change?

# %%
answer = None
mean_kl = {m: np.mean([r["KL(G||oracle)"] for r in runs]) for m, runs in rows_of.items()}
change_of = {m: mean_kl[m] - mean_kl["RAL anchored"] for m in TAKEN_BACK}
largest = max(TAKEN_BACK, key=lambda m: abs(change_of[m]))
check(answer, largest.removeprefix("RAL anchored, ").removesuffix(" taken back"))

# %% tags=["solution"] jupyter={"source_hidden": true}
# Theory explains a rise where its last column is not p. A rise without that comes from what theory leaves out.
for m in sorted(TAKEN_BACK, key=lambda m: -abs(change_of[m])):
    print(f"{change_of[m]:+6.1f} nats: {m.removeprefix('RAL anchored, ')}")

# %% [markdown]
# **3.** *(Medium, 15 minutes.)* A gradient has an SNR of 1.5. Which SNR would you expect with a quarter of the
# roll-outs? (The square of the SNR is about 1, which noise alone gives, plus a part that grows in proportion to the
# number of roll-outs.) Then look at *RAL, a quarter of the roll-outs* in table 10-4: does its SNR fit?

# %%
answer = None
check(answer, 1.146, within=0.01)

# %% tags=["solution"] jupyter={"source_hidden": true}
quarter = lambda snr: max(0.0, 1 + (snr**2 - 1) / 4) ** 0.5  # noqa: E731
snr_of = lambda m: np.mean([np.mean(study.history(m, s)["SNR"]) for s in study.seeds])  # noqa: E731
few = "RAL, a quarter of the roll-outs"
Markdown(
    f"The part above 1 is {1.5**2 - 1:.2f}, and a quarter of it is {(1.5**2 - 1) / 4:.2f}. So the SNR is "
    f"{quarter(1.5):.2f}. In the table, {default} has {snr_of(default):.2f}, so {quarter(snr_of(default)):.2f} is "
    f"expected, and {few} has {snr_of(few):.2f}. The fit is rough, because the two runs do not stay alike."
)

# %% [markdown]
# **4.** *(Hard, 20 minutes.)* With the critic's updates taken back, the critic follows $G$, and $D \approx \log p / G$.
# Then RAL descends $KL(G \| p) + w\, KL(G \| G_\text{MLE})$, where $w$ is the setting `kl`. The table says that $w = 1$
# leads half-way. Where does another $w$ lead? Derive it, and write it as a function.


# %%
def limit(p, G_MLE, w):
    """The G with the least KL(G || p) + w KL(G || G_MLE): the probabilities (n,) of n maps."""
    return None


answer = limit(np.array([0.9, 0.1]), np.array([0.4, 0.6]), 3.0)
check(answer if answer is None else answer[0], 0.561, within=0.002)


# %% tags=["solution"] jupyter={"source_hidden": true}
def limit(p, G_MLE, w):
    # The sum is (1 + w) times the mean over G of log G - (log p + w log G_MLE) / (1 + w). But for a constant, this is a
    # KL divergence from G, and it is least where G is the second distribution.
    G = (p * G_MLE**w) ** (1 / (1 + w))
    return G / G.sum()


for w in (0.0, 1.0, 3.0, 100.0):
    print(f"w = {w:g}: {limit(np.array([0.9, 0.1]), np.array([0.4, 0.6]), w)[0]:.3f} for the first map")
# With w = 0 it is the truth, 0.9. As w grows it tends to the MLE model, 0.4.

# %% [markdown]
# ## References
#
# * T. Korbak et al.: *On Reinforcement Learning and Distribution Matching for Fine-Tuning Language Models with no
#   Catastrophic Forgetting*, arXiv 2206.00761: what the KL term makes of a reward.
