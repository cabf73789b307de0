# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · The report: the paper's tables and figures, and ours
#
# Nothing is trained here. This notebook counts the parameters of the paper's architectures and reads what the other
# notebooks left in `figures/<preset>/`. It puts these results in the paper's order beside the paper's own numbers. So
# you see what holds, what does not, and what cannot be decided.
#
# After this notebook you can
# * find any table or figure of the paper, our version of it, and the notebook and function that made it;
# * say of each claim whether it holds at our scale, and with what noise that was judged;
# * trace a number back to its configuration, seeds, device and commit.
#
# *Before:* any of the other notebooks. What none of them has made yet is named as missing. The command
# `python -m ralkit reproduce` writes the same report to a file, `figures/<preset>/REPORT.md`.

# %% tags=["parameters"]
preset = "deep"  # its weights are in data/pretrained/; or smoke, quick (all trained within the hour) or gpu
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
import os
from collections import Counter
from dataclasses import replace

import numpy as np
from IPython.display import Image, Markdown, display

from ralkit.course import paper, plots, report, widgets
from ralkit.course.claims import REJECTED
from ralkit.course.costs import experiments, parameters
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.presets import PRESETS
from ralkit.course.record import Record, markdown_table, read_minutes, table_page
from ralkit.course.significance import beyond, direction, noise_over_seeds, side, smallest_effect, spread

world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
record = Record(world)
print(record.about("09_report"))

# %% [markdown]
# ## 0 · The architectures
#
# S-Tables 4 to 10, in the paper's supplement, are not results but recipes for networks. Each of them is a preset here,
# and `tests/test_presets.py` compares the preset with the table field by field. The command
# `python -m ralkit presets --check paper-128` runs one step of every stage of such a preset.
#
# The table below says how many parameters the networks of these recipes have. We count them without taking memory for
# any of them. In S-Table 4 the *prior* is the generator. The critic is the network that tells real images from
# generated ones. Its size is ours, because the paper's tables have none.


# %%
def architecture(number):
    """Our networks of an S-Table, in millions of parameters, and the paper's lines filled up to the same columns."""
    table, name, experiment = paper.ARCHITECTURES[number]
    cfg = experiments(PRESETS[name])[experiment]
    sizes = parameters(cfg)
    if experiment == "oracle experiment":
        sizes = {"oracle": parameters(replace(cfg, priors=(cfg.oracle,)))["prior"]} | sizes
    ours = [{"preset": name, "network": net, "million parameters": n / 1e6} for net, n in sizes.items()]
    columns = dict.fromkeys(key for line in table.values() for key in line)
    theirs = [{"network": net} | {key: line.get(key, "") for key in columns} for net, line in table.items()]
    return ours, theirs


for number, (_, name, _) in paper.ARCHITECTURES.items():
    ours, theirs = architecture(number)
    record.table(f"s-table-{number}", ours, f"S-Table {number}: the preset {name}", paper=theirs)
Markdown(markdown_table([row for number in paper.ARCHITECTURES for row in architecture(number)[0]]))

# %% [markdown]
# Compare the networks of one preset. In all presets but the first, the largest prior has far more parameters than the
# VQ-VAE and the critic together. So the prior is what costs memory and time at the paper's size, and presets for
# small machines have to make it much smaller.
#
# The rest of this notebook reads the figures and tables of the other notebooks. The next cell says how many are here.

# %%
folder, items = record.figures, report.saved(record.figures)
gone = ", ".join(f"{item.name} ({item.notebook})" for item in report.missing(folder))
print(
    f"{len(items)} figures and tables are here. " + (f"Missing: {gone}." if gone else "None of the paper's is missing.")
)

# %% [markdown]
# ## 1 · What the paper says, and what came out
#
# Each line of the next table is a claim of the paper, with the paper's numbers and ours. *RAL single* gives one reward
# for the whole image, and *RAL intermediate* gives one for each code. The following numbers appear here
# and below, and lower is better in all of them.
#
# | number | what it says |
# |---|---|
# | NLL under the oracle (`NLL_oracle`) | how much the samples surprise the *oracle*, the prior that we take for the truth: quality |
# | `NLL_test` | how much fresh data of the truth surprise the generator: diversity |
# | KL(G‖oracle) | NLL_oracle less the entropy of the generator $G$; it is 0 only where $G$ is the oracle |
# | FID, FD-faces | a distance between the features of two sets of images; the features of FD-faces come from a network that was trained on our faces |
# | exposure bias | how much worse the last rows of a map get when the rows above them are the generator's own, and not real ones |
#
# Most of our numbers are changes against a *control*. The control is a run without RAL, called *MLE continued*. It
# trains on by maximum likelihood (MLE) for about as long as RAL takes. Each seed gives one change, and we ask whether
# the mean of $n$ changes is larger than its noise. If $s$ is their standard deviation, then
#
# $$\text{noise} = t_{n-1} \frac{s}{\sqrt{n}}$$
#
# is how far chance may move the mean. Here $t_{n-1}$ is the limit of Student's t at 95 %. With three seeds, the noise
# is 2.5 $s$. (For the times of S-Table 11 we take 5 % of the time as the noise.)
#
# * *Yes* means that the change goes in the claim's direction and is larger than the noise.
# * *No* means that it goes in the other direction and is larger than the noise.
# * The rest is *not decided*, which is not a polite *yes*.
#
# The number behind a ± is $s$, the standard deviation of one seed. Please read the verdicts with three limits in mind.
#
# 1. All seeds share one world: one VQ-VAE, one oracle, one set of test images, and one list of random numbers to draw
#    samples with. The noise says nothing about other worlds.
# 2. Each line is judged alone at 95 %. So of twenty changes that are 0 in truth, one is decided by chance on average.
# 3. The paper's percentages are against its MLE rows, but ours are against the control.

# %%
checked = report.claims(folder)
Markdown(markdown_table(checked) if checked else "No notebook has checked a claim yet: run 03, 05, 06, 07 and 08.")

# %%
tally = Counter(row["holds here"].split(":")[0] for row in checked)
once = sum("one run" in row["holds here"] for row in checked)
Markdown(
    f"Of {len(checked)} claims " + ", ".join(f"{n} × *{word}*" for word, n in tally.most_common()) + ". "
    f"Of those that are not decided, {once} had one seed only, so nothing could be said of their noise."
)

# %% [markdown]
# In the committed run, the claims of Table 1 hold: RAL lowers NLL under the oracle and both distances. The claim that
# RAL improves diversity does not hold, because NLL_test rises with both rewards. Most of the rest is not decided. So
# the run supports a gain in quality, and it says little about two maps of codes.
#
# ### The same numbers, read against RAL
#
# A claim is tested against the control that its authors thought of. Notebook 08 showed that there are other rivals,
# and they need no RAL.
#
# * One is MLE sampled *colder*, which means at a *temperature* below 1. The logits are divided by the temperature, so
#   likely codes are drawn more often.
# * The other is *rejection*: a critic throws some samples of MLE away. It is the critic that *RAL anchored* learns
#   from. (RAL anchored is our variant of RAL, whose critic is trained first and then stands still.)
#
# The next cells take a number of RAL at temperature 1 and subtract the rival's number. They use only numbers in which
# lower is better. There is one difference for each seed, and the table gives their mean and spread. The column *lower*
# says who wins, at 95 % over the seeds. Where MLE's curve over temperatures cannot be compared with a run, it says
# *outside the curve*.


# %%
def against(what, d):
    """A line of the table: RAL's number less the other's, a run each."""
    ours, lower = spread(d, "+.2f"), {-1: "RAL", 1: "the other"}.get(direction(d), side(d))
    if np.isnan(d).any():
        ours, lower = "", "outside the curve"
    return {"what": what, "RAL less the other": ours, "lower": lower}


# %%
names = ("08-1-planes", "08-2-rejection", "08-5-exposure", "05-07-temperature")
planes, rejected, rows_given, images = (items.get(name, {}).get("data") or {} for name in names)
images = images.get("one map", {})
rows, COLD, PAPER = [], "MLE at temperature 0.8", ("RAL single", "RAL intermediate")
# The numbers of each method at temperature 1, a row for each seed.
warm = {m: [next(r for r in run if r["temperature"] == 1) for run in runs] for m, runs in planes.items()}

# %% [markdown]
# First come the distances of the oracle experiment, beside MLE at the temperature where it is as diverse (equal
# NLL_test). A run that is more diverse than MLE at every temperature is set beside MLE at its least NLL_test. Then
# comes rejection, at the price of two or four draws for each sample that is kept.

# %%
curves = [[r for r in run if r["temperature"] <= 1] for run in planes.get("MLE", ())]
for y in ("FD-faces to oracle data", "FD-faces to real data"):
    for m in (m for m in (*PAPER, "RAL anchored") if m in warm):
        d = [beyond(*pair, "NLL_test", y) for pair in zip(curves, warm[m], strict=True)]
        rows.append(against(f"{m}: {y}; MLE at equal NLL_test, or at its least", d))
for price in (2, 4) if rejected and "RAL anchored" in warm else ():
    theirs = [next(r for r in run if r["price"] == price) for run in rejected.values()]
    for y in ("KL(G||oracle)", "NLL_test"):
        d = [ours[y] - r[y] for ours, r in zip(warm["RAL anchored"], theirs, strict=True)]
        rows.append(against(f"RAL anchored: {y}; MLE, the same critic keeps 1 of {price}", d))

# %% [markdown]
# Next are the last rows of a map, after the generator's own rows and after real ones. At the end are the distances on
# images, where no truth is known.

# %%
for m in PAPER if rows_given else ():
    for place, where in ((0, "its own rows"), (-1, "real rows")):
        ours, theirs = (np.array(rows_given[name])[:, place] for name in (m, COLD))
        rows.append(against(f"{m}: nats a code in the last rows after {where}; {COLD}", ours - theirs))
for m in PAPER:
    for y in [key for key in images.get(m, [{}])[0] if " to " in key]:
        cold = [next(r[y] for r in swept if r["temperature"] == 0.8) for swept in images["MLE"].values()]
        others = {COLD: cold, REJECTED: [r[y] for r in images.get(REJECTED, ())]}
        for other, theirs in others.items():
            if theirs:
                rows.append(against(f"{m}, images: {y}; {other}", np.subtract([r[y] for r in images[m]], theirs)))

# %% [markdown]
# The line below the table also has *RAL, true reward*, a run in which the truth takes the critic's place (notebook 08).
# Its reward for a map is log oracle − log G. The mean of this reward over samples of G is −KL(G‖oracle), so its policy
# gradient descends KL(G‖oracle) itself. (The reward also changes with G, but that adds 0 to the gradient on average.)


# %%
def beside_MLE(m, key):
    """A number of a method beside MLE's, means over the seeds at temperature 1."""
    ours, MLE = (np.mean([r[key] for r in warm[name]]) for name in (m, "MLE"))
    return f"{key} {ours:.1f} (MLE's {MLE:.1f})"


won = Counter(row["lower"] for row in rows)
counts = [f"{n} × {who}" + " lower" * (who in ("RAL", "the other")) for who, n in won.most_common()]
note = (
    f"* RAL at temperature 1 against **colder MLE and rejection**, {len(rows)} comparisons (table 09-2-against of the "
    f"report): {', '.join(counts)}."
)
truth, fd = "RAL, true reward", "FD-faces to oracle data"
if truth in warm:
    note += (
        f"\n* **{truth}**, whose policy gradient descends KL(G‖oracle) itself, has {beside_MLE(truth, 'NLL_oracle')} "
        f"and {beside_MLE(truth, 'KL(G||oracle)')}. NLL_test and the distance are no part of its reward. They are: "
        f"{beside_MLE(truth, 'NLL_test')} and {beside_MLE(truth, fd)}."
    )

# %%
if rows:
    display(record.table("09-2-against", rows, "RAL at temperature 1 against what else MLE can do", note=note))
else:
    print("What this needs is not here yet: run 08.")

# %% [markdown]
# Read the table as a list and not as a score, because its lines share their seeds and their rivals. In the committed
# run, the paper's two runs have a lower FD-faces than colder MLE where the truth is known. But the other is lower
# wherever probabilities are compared, and on images no line beside rejection goes to RAL. So RAL's gain over its rivals
# is a gain in the distance between features. Notebook 08 says how many nats RAL lies from MLE's curve.
#
# The true reward lowers KL(G‖oracle) far more than RAL does, but NLL_test and the distance get worse. KL(G‖oracle)
# charges a generator for what it draws, and charges little for what it leaves out. So a low KL(G‖oracle) alone does not
# mean that a generator is near the truth.
#
# ### Why cartoon faces?
#
# They cannot confirm numbers on CelebA. But they can show, in one place where everything is open and has controls,
# whether the method does what the paper says. Where it does not, the notebooks look for the reason. They ask three
# questions that can be asked of any images:
#
# * Does the critic see a difference? Look at the AUC, the chance that the critic scores a real image above a generated
#   one. At 0.5 the critic is blind.
# * Is the gradient more than noise? Look at the SNR, the signal-to-noise ratio of the policy gradient. At about 1 it is
#   noise alone.
# * What does the gain cost in diversity? Look at NLL_test, and at recall, the share of real images that the samples
#   cover.
#
# ## 2 · Where everything is
#
# The next table is an index of the paper's tables and figures. Each line says what the paper's item shows and links to
# ours. The last two columns name the notebook and the function that made ours. With them you can run one item again,
# or read how its numbers are computed.

# %%
Markdown(markdown_table(report.index(folder, f"{os.path.relpath(folder)}/")))

# %% [markdown]
# ## 3 · Item by item
#
# For each item of the paper, our figure or table comes first. Then come the paper's numbers, and then what our
# notebook concluded. While you scroll, ask of each item whether it shows quality, diversity or both.


# %%
def show(name):
    """A figure or table as the notebook left it, with the paper's numbers and the conclusion."""
    about = items[name]
    if about["kind"] == "figure":
        display(Markdown(f"### {about['title']}"), Image(filename=str(folder / f"{name}.png"), width=900))
        if about["note"]:
            display(Markdown(about["note"]))
    else:
        display(Markdown(f"### {about['title']}\n\n{table_page(about)}"))


for item in paper.ITEMS:
    if item.file in items:
        show(item.file)

# %% [markdown]
# Look at Figure 4 again. In the committed run, RAL lowers NLL_oracle and KL(G‖oracle), while the control stays where it
# was. But NLL_test rises, and in no panel does RAL come near the dotted line of the oracle. In Figure 6 (one map), the
# samples of MLE and RAL can hardly be told apart. In Figures 1 and 5 (two maps), many faces are broken with every
# method. So the eye does not decide between the methods, and the tables have to.
#
# ## 4 · Where a number comes from
#
# Beside every figure and table lies a `.json` file. It holds the rows of a table, or the numbers that most plots draw.
# It also holds their *origin*: the configuration, the seeds, the device and the commit. What most of them share stands
# once, in `origin.json`. The next table has a line for each different origin in this run.


# %%
def origins():
    """One line for each different origin: what made it, and what it made."""
    several = {}
    for name, about in items.items():
        o = about["origin"]
        key = (o["commit"], o["device"], o["versions"]["torch"], tuple(o["seeds"]), o["dataset"]["size"])
        several.setdefault(key, []).append(name)
    names = ("commit", "device", "torch", "seeds", "pixels")
    return [dict(zip(names, key, strict=True)) | {"figures and tables": len(made)} for key, made in several.items()]


Markdown(markdown_table(origins()) if items else "Nothing is here yet.")

# %% [markdown]
# Lines of one commit come from the same code. They can still differ in the size of the images and in the seeds. In
# `deep`, the oracle experiment has smaller images than the others, and two maps of codes have a single seed. More than
# one commit means that some notebooks were run again later. So before you compare two numbers, compare their lines.
#
# The second table says how many minutes each notebook took. A column stays empty until such a run has been timed.

# %%
took = read_minutes(folder / "minutes.json")
kinds = {"pretrained minutes": "with pretrained worlds", "minutes": "from nothing"}
names = sorted({name for kind in kinds for name in took[kind]})
rows = [
    {"notebook": name}
    | {f"minutes {says}": round(took[k][name], 1) if name in took[k] else "" for k, says in kinds.items()}
    for name in names
]
Markdown(f"On {took['device']}:\n\n{markdown_table(rows)}" if rows else "No run of the command has been timed yet.")

# %% [markdown]
# ## 5 · Play: what would fewer seeds have said?
#
# In the next figure, each row is a method, and the horizontal axis is its change against the control. Each point is
# one seed's change. The bar above the points is their mean, with the 95 % interval of Student's t around it. A change
# is beyond chance where the bar does not reach 0, the grey line.

# %%
numbers = {}  # by their table and name: the rows, and the key in them
tables = {
    "Table 1": ("table-1-runs", None),
    "Table 2, 1 map": ("table-2-runs", 1),
    "Table 2, 2 maps": ("table-2-runs", 2),
}
for table, (name, levels) in tables.items():
    rows = [r for r in items.get(name, {"rows": []})["rows"] if r.get("levels") == levels]
    numbers |= {
        f"{table}: {k}": (rows, k) for k in (rows or [{}])[0] if isinstance(rows[0][k], float) and "_se" not in k
    }
start = next(iter(numbers), "")
seeds = max((row["seed"] - seed + 1 for rows, _ in numbers.values() for row in rows), default=0)


# %%
def explore(number=start, first_seeds=seeds):
    """Of the first seeds, every change of a number against MLE continued, their mean and its noise."""
    rows, key = numbers[number]
    methods = dict.fromkeys(r["method"] for r in rows)
    by = {m: np.array([r[key] for r in rows if r["method"] == m][:first_seeds]) for m in methods}
    control = by.pop("MLE continued")
    figure, ((ax,),) = plots.new_figure(size=(6, 2.6))
    for y, (method, values) in enumerate(by.items()):
        d = values - control
        ax.plot(d, [y] * len(d), "o", color=plots.COLOURS[method])
        if len(d) > 1:
            noise = noise_over_seeds(d)
            ax.errorbar(d.mean(), y - 0.25, xerr=noise, fmt="|", color=plots.COLOURS[method], capsize=3)
    ax.axvline(0, color="grey", linewidth=0.8)
    ax.set(yticks=range(len(by)), yticklabels=list(by), ylim=(len(by) - 0.5, -0.8))
    ax.set(xlabel=f"change of {key} against MLE continued", title=f"{number}, {first_seeds} seed(s)")
    return figure


# %%
if numbers:
    figure = explore()
    title = "Every seed's change against the control, and the noise of their mean"
    display(record.figure("09-1-seeds", figure, title))
else:
    print("Table 1 and Table 2 are not here yet: run 03 and 05.")

# %% [markdown]
# In the committed run, both bars of RAL lie wholly left of the grey line, so RAL lowers NLL_oracle beyond chance. The
# bar of MLE crosses the line, so nothing is decided between MLE and its control. Each bar is wider than the range of
# its points, because three seeds say little about their own spread.
#
# Now move the slider to two seeds, and then to the first seed alone. With two seeds the bars grow much wider, and with
# one seed no bar is left. The paper's tables have neither a spread nor a number of seeds.

# %%
widgets.explore(explore, number=list(numbers), first_seeds=(1, seeds)) if numbers else None

# %% [markdown]
# ## Readings and deviations
#
# Each notebook ends with a list of its own. The following ones matter most when you compare a number here with the
# paper's.
#
# 1. **Scale**: `deep` has smaller images, networks and lengths than any of the paper's runs. `presets.PRESETS`
# 2. **Critic**: the paper says *"We use the WGAN loss [6,20]"*, a Wasserstein loss with a gradient penalty, which
#    keeps the critic's slope near 1. But at the paper's learning rates, and for as many updates as ours, a prior
#    hardly moves (notebook 04, the paper's literal setting). The presets use the logistic loss of a classifier, with
#    layer normalisation and R1, a penalty on the critic's gradient at real images. `RalConfig.critic_loss`,
#    `.critic_norm`
# 3. **Baseline**: the paper subtracts none from the returns. The presets subtract the mean return of the other samples
#    (leave-one-out), which leaves the expected gradient as it is. `RalConfig.baseline`
# 4. **Distance**: we use FD-faces on the faces that come with the course, and FID on your own images if Inception's
#    weights are there. We never compare numbers that have different names, or that come from different numbers of
#    images. `World.metric`
# 5. **Seeds**: the settings were chosen on seed 0, and what is reported starts at seed 1. `Preset.seeds`
#
# ## To take away
#
# * A claim needs a number, its noise and a control. The paper's claims have no noise, and the paper does not say
#   whether its MLE rows are the control.
# * *Not decided* is a result. It says how much more work the claim is worth.
# * Every number should lead back to the command that made it.
#
# ## Exercises
#
# **1.** *(Easy, 5 minutes.)* Twenty claims are judged, each alone at 95 %. In truth every change is 0, and the claims
# are independent of each other. What is the probability that at least one of them is decided all the same?

# %%
answer = None
check(answer, 0.6415, within=0.01)

# %% tags=["solution"] jupyter={"source_hidden": true}
none = 0.95**20
Markdown(
    f"Each claim stays undecided with probability 0.95, so all twenty do with probability $0.95^{{20}}$ = {none:.2f}. "
    f"At least one is decided with probability {1 - none:.2f}. That is why REPORT.md has a column *p after Holm*, "
    "which corrects for the number of claims."
)

# %% [markdown]
# **2.** *(Medium, 10 minutes.)* How many standard deviations over seeds is a mean change from 0? Fill in the function.
# Then use it on the changes of NLL_oracle in Table 1, for each method against *MLE continued*. (The rows are
# `items["table-1-runs"]["rows"]`.) With three seeds, a change is decided at 2.5 standard deviations. Which verdicts
# would fall if you asked for twice that?


# %%
def deviations(changes):
    """How far the mean of one change for each seed is from 0, in standard deviations of one seed's change."""
    return None


check(deviations(np.array([-1.0, -2.0, -3.0])), 2.0, within=0.01)


# %% tags=["solution"] jupyter={"source_hidden": true}
def deviations(changes):
    return abs(np.mean(changes)) / np.std(changes, ddof=1)  # ddof=1: the mean was estimated from the same seeds


runs = items["table-1-runs"]["rows"] if "table-1-runs" in items else []
by = {m: np.array([r["NLL_oracle"] for r in runs if r["method"] == m]) for m in {r["method"] for r in runs}}
for m in sorted(by):
    d = by[m] - by["MLE continued"]
    if m not in ("MLE", "MLE continued") and len(d) > 1:
        limit, found = smallest_effect(1.0, len(d)), deviations(d)
        word = "stands" if found > 2 * limit else "falls"
        print(f"{m}: {d.mean():+.1f} nats, {found:.1f} standard deviations from 0. At {2 * limit:.1f} it {word}.")

# %% [markdown]
# **3.** *(Medium, 15 minutes.)* A mean change of 5 % is measured, and one seed's change has a standard deviation of
# 3 %. How many seeds are needed until this change is beyond chance at 95 %? Write a function, with the equation of
# section 1. (`scipy.stats.t.ppf(0.975, n - 1)` is $t_{n-1}$. One seed has no spread, so begin with two.) Then use it
# on Table 2: how many seeds does a change of 5 % need there? And would that many seeds find a *true* change of 5 %?


# %%
def seeds_needed(change, sd):
    """The least number of seeds with which a measured mean `change` is larger than its noise; sd: of one seed."""
    return None


check(seeds_needed(5.0, 3.0), 4)

# %% tags=["solution"] jupyter={"source_hidden": true}
from scipy.stats import t


def seeds_needed(change, sd):
    return next(n for n in range(2, 10**6) if t.ppf(0.975, n - 1) * sd / n**0.5 < change)


runs = items["table-2-runs"]["rows"] if "table-2-runs" in items else []
key = next((k for k in (runs[0] if runs else ()) if k.endswith("to real")), "")
for levels, method in ((n, m) for n in (1, 2) for m in ("RAL single", "RAL intermediate")):
    of = {m: [r[key] for r in runs if r["levels"] == levels and r["method"] == m] for m in ("MLE continued", method)}
    if len(of[method]) > 1:
        sd, wanted = np.std(np.subtract(*of.values()), ddof=1), 0.05 * np.mean(of["MLE continued"])
        n = seeds_needed(wanted, sd)
        print(f"{levels} map{'s' * (levels > 1)}, {method}: the spread is {sd:.2g}, 5 % are {wanted:.2g}: {n} seeds")
# A true change of 5 % is measured as less than 5 % in half of all cases, and then it may be missed. To find it in nine
# of ten cases takes more seeds.

# %% [markdown]
# **4.** *(Hard, 20 minutes.)* Does the `.csv` of a table hold the rows of its `.json`? Write a function that counts the
# rows that differ. Mind that a `.csv` holds text only, and a `.json` holds numbers too. Then use it on Table 1. Which
# commit made Table 1, and from which seeds? (Its origin is `items["table-1"]["origin"]`.)


# %%
def rows_that_differ(rows, text):
    """How many rows, a dictionary each, differ from the lines of `text`, which is a .csv with a header."""
    return None


example = [{"seed": 1, "FD": 0.5}, {"seed": 2, "FD": 0.25}]
check(rows_that_differ(example, "seed,FD\n1,0.5\n2,0.75\n"), 1)

# %% tags=["solution"] jupyter={"source_hidden": true}
import csv
import io


def rows_that_differ(rows, text):
    lines = csv.DictReader(io.StringIO(text))
    return sum({k: str(v) for k, v in row.items()} != line for row, line in zip(rows, lines, strict=True))


for name in (name for name in ("table-1", "table-2") if name in items):
    differ = rows_that_differ(items[name]["rows"], (folder / f"{name}.csv").read_text(encoding="utf-8"))
    of = items[name]["origin"]
    seeds_of = ", ".join(map(str, of["seeds"]))
    print(f"{name}: {differ} rows differ. It was made at commit {of['commit']}, from seeds {seeds_of}.")

# %% [markdown]
# ## References
#
# * K. E. Ak, N. Xu, Z. Lin, Y. Wang: *Incorporating Reinforced Adversarial Learning in Autoregressive Image
#   Generation*, ECCV 2020, with its supplement.
