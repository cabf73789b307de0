# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · Appendix: is it the right gradient, is it above the noise, and where does it point?
#
# Notebook 04 wrote the policy gradient down and used it. Here we test it. First we take a world so small that the true
# gradient can be computed, and ask whether the estimate equals it on average. Then we take the real prior, and ask how
# far the gradient stands above its noise. Finally we ask whether it points to the truth, that is, towards the oracle.
# (Where the text says what a figure or table shows, it speaks of the committed run, with the preset `deep`.)
#
# After this notebook you can
# * say for which rewards and gammas Eq. 2 is exact, and what a baseline changes;
# * measure the signal-to-noise ratio (SNR) of a policy gradient from its parts;
# * say why a clear gradient may still point away from the truth, and why its SNR cannot show this.
#
# **Paper:** sections 4.1 and 4.2. **Before:** [04 · RAL step by step](04_ral.ipynb), whose words are used here.
# **After:** [08 · what did RAL really buy?](08_critical.ipynb)

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
from dataclasses import replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Markdown

from ralkit import diagnostics, ral
from ralkit.course import plots
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record
from ralkit.course.significance import direction, spread
from ralkit.course.study import Study
from ralkit.course.trainer import in_batches
from ralkit.prior import PixelCNN

# %%
world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
study, record = Study(world), Record(world)
print(record.about("11_gradient"))

# %% [markdown]
# We need the generator as MLE left it, codes of the oracle, and the three critics of notebook 04. Each was trained
# alone against the MLE generator, and they differ in their loss and in their normalisation. The AUC is the chance that
# a critic ranks a real image above a generated one. This notebook uses the networks of the first seed only. So where it
# prints a mean ± a second number, both are taken over three draws of roll-outs from one generator, and not over seeds.
# The second number is the standard deviation, which this notebook calls *spread*.

# %%
first, cfg = study.seeds[0], world.config.ral
(G,) = study.generator("MLE", first)
decode, (real_codes,), shape = world.decode, world.oracle_codes["train"], world.shapes[0]
critics, runs = {}, {}
for loss, norm in (("wgan-gp", "none"), ("wgan-gp", "layer"), ("logistic-r1", "layer")):
    name = f"{loss}, {'no' if norm == 'none' else norm} norm"
    how = replace(cfg, critic_loss=loss, critic_norm=norm)
    critics[name], runs[name] = study.critic_alone(name, first, how, cfg.warmup)
best = max(critics, key=lambda name: runs[name]["AUC"][-1])
print("; ".join(f"{name}: AUC {h['AUC'][-1]:.3f}" for name, h in runs.items()))

# %% [markdown]
# The equations of notebook 04 come back here. $Q$ is the return of a code. It adds up the rewards that come after the
# code, and each step of delay multiplies a reward by $\gamma$. The policy gradient weights the gradient of each code's
# log-probability with the return of this code:
#
# $$Q(s_t, a_t) = \sum_{k=t+1}^T \gamma^{k-t-1} r_k \quad (3) \qquad
# \nabla_\theta J_G \propto \mathbf{E}_{a_t \sim G} [\nabla_\theta \log G(a_t | s_t)\, Q(s_t, a_t)] \quad (2)$$
#
# ## 1. Is the policy gradient right?
#
# Eq. 2 is an expectation over all maps that $G$ may draw. It shows the term of one time $t$, and the terms of all times
# of a map are added up. In practice we draw some roll-outs, compute this sum for each of them, and take the mean of the
# sums. This mean is called the **estimate** of the gradient, and the rule that makes it is called the *estimator*. We
# ask whether the estimate is right on average.
#
# In a very small world we can *enumerate* everything. We take maps of 2x2 codes with 3 symbols, which makes 81 maps in
# all, and a tiny PixelCNN with random weights. Write $R(c)$ for the sum of all rewards of a map $c$. Then
# $J_G = \sum_c G(c) R(c)$ is a sum of 81 terms, which autograd differentiates directly. The expectation of the estimate
# is a sum over the same maps. There is no sampling and no noise, so the two gradients either agree or they do not.

# %%
maps = torch.cartesian_prod(*[torch.arange(3)] * 4).view(81, 2, 2)
torch.manual_seed(seed)
tiny = PixelCNN(K=3, channels=4, layers=1, k=3).double()
scores = torch.randn(81, 4).double()  # a made-up critic: 4 patch scores for each map
p = tiny.log_prob(maps).sum((1, 2)).exp().detach()
print(f"probabilities of all maps sum to {p.sum():.12f}")


# %%
def flat_gradient(value, **how):
    """The gradient of the number `value` by all P weights of the tiny prior, as one vector (P,)."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(tiny.parameters()), **how)])


def true_gradient(r):
    """The gradient of J = sum over all maps of G(c) (r_1 + .. + r_T)."""
    return flat_gradient((tiny.log_prob(maps).sum((1, 2)).exp() * r.sum(1)).sum())


def expected_estimate(r, gamma):
    """The expectation of Eq. 2: sum over all maps of G(c) sum_t grad log G(a_t | s_t) Q_t."""
    Q = ral.returns(r, gamma)
    return flat_gradient((p[:, None] * Q * tiny.log_prob(maps).flatten(1)).sum())


# %% [markdown]
# We compare three kinds of rewards:
#
# * **single:** one reward for the whole map, which comes at the end.
# * **intermediate, codes so far:** a reward after each code, where $r_{t+1}$ depends only on the codes up to $c_t$. So
#   maps that begin with the same codes get the same reward.
# * **intermediate, whole image:** a reward for each code, as in RAL. These rewards are scores of a finished image, so
#   later codes can change the score of an earlier place.
#
# The table below has a row for each reward and gamma. It compares the expectation of Eq. 2 with the true gradient in
# two ways. The relative difference is the length of their difference, divided by the length of the true gradient, so 0
# is exact. The cosine is 1 where both have the same direction.

# %%
single = torch.zeros(81, 4).double()
single[:, -1] = scores.mean(1)
# Maps that begin with the same t + 1 codes must get the same reward r_(t+1). The maps stand in the order of numbers in
# base 3, so those with a common beginning lie side by side, in blocks of 3^(3 - t), and i // 3^(3 - t) is the block.
so_far = torch.stack([torch.randn(3 ** (t + 1))[torch.arange(81) // 3 ** (3 - t)] for t in range(4)], 1).double()
kinds = {"single": single, "intermediate, codes so far": so_far, "intermediate, whole image": scores}

rows = []
for kind, r in kinds.items():
    g = true_gradient(r)
    for gamma in (1.0, 0.9):
        e = expected_estimate(r, gamma)
        row = {"reward": kind, "gamma": gamma, "relative difference": ((e - g).norm() / g.norm()).item()}
        rows.append(row | {"cosine to the true gradient": F.cosine_similarity(e, g, dim=0).item()})
assert all(row["relative difference"] < 1e-9 for row in rows if row["gamma"] == 1 and "whole" not in row["reward"])
record.table("11-1-unbiased", rows, title="Expectation of Eq. 2 over all 81 maps, and the true gradient")

# %% [markdown]
# The "$\propto$" of Eq. 2 says that a positive factor does not matter, so look at the cosine as well:
#
# * **gamma 1, single or "so far":** the estimate is exact on average, up to rounding. Such an estimate, whose
#   expectation is the true gradient, is called *unbiased*. The estimator itself is called REINFORCE.
# * **gamma below 1:** a reward counts less for a code that was drawn long before it. So the gradients of the codes are
#   added with unequal weights, and their sum is in general not the gradient of any objective. For the first two rewards
#   the cosine is still above 0.99, because over four codes the smallest weight is $0.9^3$, about 0.73. One accepts this
#   bias to have less noise, because late rewards say little about early codes.
# * **"whole image":** $Q(s_t, a_t)$ counts only $r_{t+1}, r_{t+2}, \dots$, but a code also changes the scores of places
#   *before* it. Here each map has its own random scores, and in RAL the decoder and the critic look at the whole map.
#   Eq. 3 leaves this influence out, so the estimate is biased even at gamma 1. The cosine is about 0.92 at both gammas.
#
# How large this last bias is depends on the scores, and the ones here are random. Our critics are different, because
# each of their scores sees the whole image (notebook 04). So take the extreme case that all scores of an image are the
# same $D$. The true gradient then gives every code the weight $T D$. But the return of $c_t$ at gamma 1 is
# $(T - t)\, D$. So Eq. 2 gives the first code its full weight $T D$, and the last one only the weight $D$. The codes at
# the top of the image would learn much, and those at the bottom little. Section 3 measures this bias for our critics.
#
# ### Baseline and divisor
#
# Does the leave-one-out baseline keep the expectation? It needs at least one other roll-out, so we enumerate all
# 81 x 81 pairs of roll-outs. We do the same for rewards that are divided by the largest of their pair, because RAL
# normalises its scores in this way (section 5 of notebook 04).

# %%
pairs = torch.cartesian_prod(torch.arange(81), torch.arange(81)).T  # (2, 6561): two roll-outs, all that can happen
both, g = single[pairs], true_gradient(single)  # (2, 6561, 4)


def over_pairs(r):
    """Expectation of the estimate with leave-one-out, of rewards r (2, 6561, 4) of the pairs."""
    Q, log_prob = ral.returns(r.flatten(0, 1), 1.0).view_as(r), tiny.log_prob(maps).flatten(1)[pairs]
    A = ral.advantages(Q, "leave-one-out")
    return flat_gradient((p[pairs].prod(0)[:, None] * (A * log_prob).mean(0)).sum())


difference = ((over_pairs(both) - g).norm() / g.norm()).item()
assert difference < 1e-9
largest = both.abs().amax((0, 2))  # of both roll-outs and all t: what `normalise="max"` divides by, without real images
divided = over_pairs(both / largest[:, None])
print(f"leave-one-out, expectation over {pairs.shape[1]} pairs: relative difference {difference:.0e}")
print(f"the same, rewards divided by the largest of their pair: cosine {F.cosine_similarity(divided, g, dim=0):.4f}")

# %% [markdown]
# So the baseline changes nothing in expectation, but dividing by the largest score does. The divisor depends on the
# roll-outs themselves. The roll-out with the largest score, in absolute value, is divided by the size of its own score,
# so its reward is always 1 or −1. This reward no longer says how large the score was, and this brings in a bias. With a
# pair the cosine is 0.950, which is less than the 0.9974 of the single reward at gamma 0.9 in the table above.
#
# What happens when more roll-outs share one divisor? There are too many groups of 16 roll-outs to enumerate, so we draw
# two million roll-outs, which leaves little noise. They are grouped in three ways, and for each we take the cosine of
# the average estimate to the true gradient. Most of these roll-outs are repeats, because there are only 81 maps. So the
# first of the next two cells keeps the gradient of every log-probability of every map. The second draws the roll-outs,
# adds up the advantages of each map, and needs no other gradients.

# %%
# The gradients of all 81 x 4 log-probabilities, kept once, so that the cells below only add them up.
log_probs = tiny.log_prob(maps).flatten()
gradients_of_codes = [flat_gradient(value, retain_graph=True) for value in log_probs]
jacobian = torch.stack(gradients_of_codes).view(81, 4, -1)  # grad log G(a_t | s_t) of each map and t

# %%
torch.manual_seed(seed)
drawn = torch.multinomial(p, 2**21, replacement=True)
for size in (2, 16, 64):
    R = single[drawn, -1].view(-1, size)  # (groups, size): at gamma 1 all codes of a roll-out have this one return
    rewards = R / R.abs().amax(1, keepdim=True)
    # `ral.advantages` takes roll-outs in rows, and compares them within a column. So each group becomes a column, and
    # its advantages are turned back.
    A = ral.advantages(rewards.T, "leave-one-out").T
    # Many roll-outs are the same map. `weight` adds up the advantages of each map, so 81 gradients are enough.
    weight = torch.zeros(81).double().index_add_(0, drawn, A.flatten())
    cosine = F.cosine_similarity(weight @ jacobian.sum(1), true_gradient(single), dim=0)
    print(f"divided by the largest |reward| of {size} roll-outs: cosine {cosine:.4f}")

# %% [markdown]
# How much of this is noise? The first line repeats the pairs, and in the committed run it has 0.9484, where the exact
# cosine is 0.9502. So noise has moved it by about 0.002. It should move the other two lines less, because near a cosine
# of 1 a small turn of the direction hardly changes the cosine.
#
# The larger the group is, the less the divisor depends on any one roll-out, so the bias becomes small. In RAL hundreds
# of roll-outs share the divisor, and real images share it as well, which is one more reason to expect a small bias. But
# a large group of this small world may well contain the largest of all 81 rewards. Wherever it does, the divisor is the
# same. So the numbers themselves do not carry over.
#
# ### What the baseline is good for
#
# The baseline changes no expectation, but it makes the estimates scatter less. We draw 200 batches of 16 roll-outs. The
# single reward comes from a made-up critic whose scores stand 2 higher than before. This is about four times their
# spread. Each batch gives one estimate of the gradient, and each estimate is one point in the next figure.
#
# A gradient has as many numbers as the prior has weights, and the figure shows two of its directions. The horizontal
# axis is the direction of the true gradient, which is the star. The dotted line is 0, so an estimate to the left of it
# points backwards. The vertical axis is the direction across it in which the estimates without a baseline scatter most.
# The left panel is without a baseline, the middle one is with it, and the right one magnifies the middle one four
# times. Compare the sizes of the first two clouds.

# %%
torch.manual_seed(seed)
drawn = torch.multinomial(p, 200 * 16, replacement=True).view(16, 200)  # 200 batches of 16 roll-outs
high = ral.returns(single + torch.tensor([0, 0, 0, 2.0]), 1.0)
# high[drawn] is (16 roll-outs, 200 batches, 4 codes): the baseline compares along the first axis.
estimates = {
    baseline: torch.einsum("bnt,bntp->np", ral.advantages(high[drawn], baseline), jacobian[drawn]) / 16
    for baseline in ("none", "leave-one-out")
}

# %%
# The 2 that all scores have in common changes no expected gradient (notebook 04, section 1, step 2).
g = true_gradient(single)
along = g / g.norm()
noise = estimates["none"] - (estimates["none"] @ along)[:, None] * along
across = torch.linalg.svd(noise, full_matrices=False).Vh[0]  # where the spread is largest
reach = 1.05 * torch.stack([estimates["none"] @ along, estimates["none"] @ across]).abs().max().item()
panels = [("none", 1), ("leave-one-out", 1), ("leave-one-out", 4)]  # the baseline, and how many times magnified
fig, axes = plots.new_figure(1, 3, (3.2, 3.1))
for ax, (baseline, zoom) in zip(axes[0], panels, strict=True):
    e, limit = estimates[baseline], reach / zoom
    ax.scatter(e @ along, e @ across, s=6, alpha=0.5)
    ax.plot(g.norm(), 0, "*", color="#D55E00", markersize=14, markeredgecolor="black", label="true gradient")
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="along the true gradient")
    ax.axvline(0, color="black", linewidth=0.8, linestyle=":")
    ax.locator_params(nbins=5)
    ax.set_title(f"baseline: {baseline}" if zoom == 1 else f"the same, magnified {zoom}x", fontsize=10)
    ax.grid(alpha=0.3)
axes[0, 0].set_ylabel("across it (widest without baseline)")
axes[0, 0].legend(fontsize=8, loc="lower left", handlelength=1.2)
record.figure("11-2-variance", fig, title="200 estimates of one gradient (star), without and with a baseline")

# %% [markdown]
# Both clouds have the star in their middle, because neither estimate is biased. Without a baseline most estimates are
# far longer than the true gradient, and many point backwards. With it they come much nearer. But the right panel shows
# that some of them still point backwards, and that the cloud reaches farther around the star than the star lies from 0.
# So a single estimate is still mostly noise. The next cell puts numbers on it.

# %%
error = {baseline: (e - g).square().sum(1).mean().sqrt().item() for baseline, e in estimates.items()}
print(f"length of the true gradient {g.norm():.3f}")
for baseline, size in error.items():
    print(f"baseline {baseline:13}: an estimate is off by {size:.3f} (root mean square)")
times = (error["none"] / error["leave-one-out"]) ** 2
print(f"with this critic the same precision without a baseline takes {times:.0f} times the roll-outs")

# %% [markdown]
# ## 2. Signal and noise of the real gradient
#
# The real prior cannot be enumerated, but the noise of its gradient can be estimated. We cut the roll-outs into eight
# parts and compute the gradient of each. The mean of the eight is the gradient of all roll-outs. How far the eight lie
# from their mean says how far the mean itself may be off. The root mean square length of this error is called the
# standard error. The **signal-to-noise ratio** (SNR) is the length of the mean gradient divided by its standard error.
# **About 1 means noise only**, because pure noise is as long as its own error. Well above 1 there is a direction to
# follow. This ratio is not signal divided by noise, because the mean gradient holds both the signal and the noise. For
# this reason it does not fall to 0 when there is no signal.
#
# How does the SNR grow with the number of roll-outs? The mean gradient is the expected gradient plus an error. The
# error is 0 on average, so on average the squared lengths of the two add up. The squared length of the mean gradient is
# therefore about signal² + error². Here the signal is the length of the expected gradient, and the error is the
# standard error. Divided by error², this gives SNR² = 1 + (signal / error)². With more roll-outs the signal stays, and
# error² falls as one over their number. So SNR² − 1 grows in proportion to the number of roll-outs.
#
# The next cell draws roll-outs three times and lets each critic score them. The cell after it computes one SNR by hand.

# %%
torch.manual_seed(seed)
n = 4 * cfg.rollouts
draws = [(G.sample(n, shape), real_codes[torch.randint(len(real_codes), (n,), device=world.device)]) for _ in range(3)]
score_maps = {name: [] for name in critics}  # of each critic, for each draw: scores of the fakes and of the real images
with torch.no_grad():
    for draw in draws:
        fakes, reals = (decode(codes) for codes in draw)
        for name, critic in critics.items():
            score_maps[name].append((in_batches(critic, fakes), in_batches(critic, reals)))


@cache  # some are asked for twice
def gradients(name, how, rollouts):
    """Policy gradients by the critic `name`, from the first `rollouts` roll-outs of each draw: a list of (8, P)."""
    of_draws = []
    for (fakes, _), scores_of in zip(draws, score_maps[name], strict=True):
        A = ral.score_advantages(*(x[:rollouts] for x in scores_of), shape, how)
        of_draws.append(diagnostics.part_gradients(G, fakes[:rollouts], A))
    return of_draws


# %%
parts = gradients(best, replace(cfg, baseline="leave-one-out"), cfg.rollouts)[0]  # (8, P) of the first draw
mean, k = parts.mean(0), len(parts)
variance = (parts - mean).square().sum() / (k - 1)  # of one part, all P numbers together
by_hand = (mean.norm() / (variance / k).sqrt()).item()  # the mean of k parts has a k-th of the variance
print(f"SNR of {cfg.rollouts} roll-outs: by hand {by_hand:.3f}, by ralkit {diagnostics.gradient_snr(parts):.3f}")

# %% [markdown]
# The table gives the SNR for each critic, with and without the baseline. It does so for the preset's number of
# roll-outs and for four times as many.

# %%
snrs = {}  # three numbers each, one for each draw
for name in critics:
    for baseline in ("none", "leave-one-out"):
        for b in (cfg.rollouts, n):
            of_draws = gradients(name, replace(cfg, baseline=baseline), b)
            snrs[name, baseline, b] = [diagnostics.gradient_snr(parts) for parts in of_draws]
aucs = {name: h["AUC"][-1] for name, h in runs.items()}
rows = [
    {"critic": name, "AUC": aucs[name], "baseline": baseline}
    | {f"SNR, {b} roll-outs": spread(snrs[name, baseline, b], ".2f") for b in (cfg.rollouts, n)}
    for name in critics
    for baseline in ("none", "leave-one-out")
]
note = f"{cfg.reward} reward, gamma {cfg.gamma:g}, mean ± spread over {len(draws)} draws; about 1 is noise only."
record.table("11-3-snr", rows, title="Signal-to-noise ratio of the policy gradient", note=note)

# %% [markdown]
# In the committed run the AUC rises from the first critic to the last, but the SNR falls. So the critic with the lowest
# AUC has the clearest gradient. With 768 roll-outs, the number that a run of `deep` takes, all ratios lie between 1.3
# and 2. At 1.5, for example, the expected gradient is only 1.1 times as long as the error of its estimate, because
# $\sqrt{1.5^2 - 1}$ is about 1.1. So a single step of RAL is to a large part noise.
#
# Does SNR² − 1 really grow in proportion to the number of roll-outs? The next cell measures the SNR with the baseline
# for two more numbers of roll-outs. The figure has a marker for each draw, and a curve for each critic. The markers of
# the last two critics stand a little beside their number of roll-outs, so that they do not hide each other. The curve
# is the rule SNR² = 1 + (signal / error)². Its value of signal / error is taken from the largest number of roll-outs
# alone, so all the other markers test the rule. Towards 0 roll-outs only noise is left, so each curve begins at 1.

# %%
counts = [cfg.rollouts // 2, cfg.rollouts, 2 * cfg.rollouts, n]
x = np.linspace(0, n, 200)  # roll-outs
points, rule = {}, {}
for name in critics:
    for b in counts:
        if (name, "leave-one-out", b) not in snrs:
            of_draws = gradients(name, replace(cfg, baseline="leave-one-out"), b)
            snrs[name, "leave-one-out", b] = [diagnostics.gradient_snr(parts) for parts in of_draws]
    points[name] = {b: snrs[name, "leave-one-out", b] for b in counts}
    square = max(np.mean(np.square(points[name][n])) - 1, 0)  # (signal / error)^2 with all n roll-outs
    rule[name] = x, (1 + square * x / n) ** 0.5
aside = dict(zip(critics, (0, -n / 100, n / 100), strict=True))  # so that two critics' markers do not hide each other
markers = {name: {b + aside[name]: snr for b, snr in at.items()} for name, at in points.items()}
fig = plots.points_on_curves(markers, rule, "roll-outs", "SNR (1: noise only)", level=1)
fig.axes[0].set_xticks([0, *counts])
record.figure("11-3b-growth", fig, title="SNR of three critics' gradients, and the rule as curves", data=points)

# %% [markdown]
# The markers lie close to the curves, so the rule holds. The mean of the three draws is nowhere more than 0.07 from its
# curve. The curves are made from the largest number of roll-outs. At all the others the means lie a little above the
# curves. This need not speak against the rule. The smaller sets of roll-outs are parts of the larger ones, so their
# differences from the curves share noise and are not independent.
#
# With the rule we can compare the critics in roll-outs. For the same SNR the second critic needs about twice as many
# roll-outs as the first one, and the third needs about 2.4 times as many.
#
# What is a roll-out with the baseline worth, in roll-outs without it? SNR² − 1 grows in proportion to the number of
# roll-outs. So we divide SNR² − 1 with the baseline by SNR² − 1 without it, both for the same roll-outs. The next cell
# prints this ratio for each critic. Beside it stands how far the mean score of the fakes is from 0, in units of their
# spread. The baseline removes such a common part, so one expects it to help most where this distance is large.

# %%
for name in critics:
    without, with_it = (max(np.mean(snrs[name, b, n]) ** 2 - 1, 1e-9) for b in ("none", "leave-one-out"))
    D = torch.cat([fakes.mean((1, 2)) for fakes, _ in score_maps[name]])
    print(f"{name}: a roll-out with the baseline is worth {with_it / without:.2f} roll-outs without it; ", end="")
    print(f"the mean score is {D.mean() / D.std():+.2f} times the spread")

# %% [markdown]
# The baseline helps most where the mean score is far from 0, as expected. There is a rough rule for it. Without a
# baseline error² is about proportional to the mean square of the scores, which is spread² + mean². The baseline takes
# the mean away, so only spread² is left. The signal is the same, so the printed ratio is that of the two error², and it
# should be about 1 + (mean / spread)². For the three critics this is 1.01, 1.24 and 1.66, which is close to what the
# cell printed. In section 1 the mean score was about four times the spread. There the rule gives about $1 + 4^2 = 17$,
# and we measured 19. The logistic critic gains most, although its loss is the only one that fixes a zero. So look at
# the scores themselves, and not at the loss, to see what a baseline may bring.
#
# Two cautions are in order. First, a high ratio says that the gradient has *a* direction, but not that the direction
# is good. For example, a critic that dislikes something harmless gives a clear direction too. Second, a good AUC does
# not promise a clear gradient. The AUC compares real images with generated ones, but the policy gradient compares
# generated images with each other. For example, a critic that gives all samples of $G$ the same low score has a perfect
# AUC, and its expected gradient is 0.

# %% [markdown]
# ## 3. A clear direction, but where to?
#
# In the oracle world, and only there, we can check the direction, because the oracle gives the exact log-probabilities.
# As the distance from the truth we take $KL(G \| G_\text{oracle})$, which notebook 03 measures. (Notebook 03 also
# measures $KL(G_\text{oracle} \| G)$. For this divergence the answer may differ.) The gradient of
# $-KL(G \| G_\text{oracle})$ is itself a policy gradient, of the rewards
#
# $$r_{t+1} = \log G_\text{oracle}(c_t | s_t) - \log G(c_t | s_t), \qquad \gamma = 1.$$
#
# They depend only on the codes so far, so Eq. 2 is exact for them (section 1). They also depend on $\theta$ through
# $\log G$, but the mean of $\nabla \log G$ is 0 (step 2 in section 1 of notebook 04), so we may hold them fixed.
#
# The critic knows nothing of these rewards. Their sum over a map is the log odds $\log G_\text{oracle}(c) / G(c)$, and
# by section 2.2 of notebook 04 log odds are the best possible score under the logistic loss. So a perfect critic would
# point almost in this direction at gamma 1, but ours are not that good. How well do the directions of their scores
# agree with this one?
#
# We want the cosine of the two *expected* gradients, but we have only noisy estimates of them. Noise spoils a plain
# cosine of the estimates in two ways. First, it makes both estimates longer, so the cosine comes out too close to 0.
# Second, both estimates come from the same roll-outs, so a part of their noise is common to both. This part looks like
# agreement or like disagreement, so it may push the cosine either way. `gradient_cosine` therefore multiplies only
# gradients of *different* parts, which share no roll-outs. Their noises are nearly independent, because only the
# baseline and the divisor are common to all parts. So on average the noise adds nearly nothing to any product.
#
# The next three cells compute the gradient of $-KL(G \| G_\text{oracle})$, the gradients of the critics, and one such
# cosine by hand.

# %%
ideals = []
for fakes, _ in draws:
    with torch.no_grad():
        r = in_batches(lambda c: world.oracle.log_prob(c) - G.log_prob(c), fakes).flatten(1)
    ideals.append(diagnostics.part_gradients(G, fakes, ral.advantages(ral.returns(r, 1.0), "leave-one-out")))


# %%
settings = {
    f"{reward}, gamma {gamma:g}": replace(cfg, reward=reward, gamma=gamma, baseline="leave-one-out")
    for reward in ("single", "intermediate") for gamma in (0.9, 1.0)
}  # fmt: skip
# The gradients (8, P) of each draw, for each critic and setting.
critic_gradients = {(name, setting): gradients(name, how, n) for name in critics for setting, how in settings.items()}

# %%
# (8, P) each, of the same roll-outs
of_critic, of_truth = critic_gradients[best, "intermediate, gamma 1"][0], ideals[0]
different = ~torch.eye(len(of_critic), dtype=torch.bool, device=of_critic.device)  # pairs of different parts
inner = lambda a, b: (a @ b.T)[different].mean()  # noqa: E731
by_hand = (inner(of_critic, of_truth) / (inner(of_critic, of_critic) * inner(of_truth, of_truth)).sqrt()).item()
print(f"cosine by hand {by_hand:.3f}, by ralkit {diagnostics.gradient_cosine(of_critic, of_truth):.3f}")
plain_cosine = F.cosine_similarity(of_critic.mean(0), of_truth.mean(0), dim=0)
print(f"cosine of the two means, with their noise: {plain_cosine:.3f}")

# %% [markdown]
# In the committed run the two cosines are nearly equal, but only because two errors cancel here. By section 2 the
# squared length of a measured mean is signal² + error², which is error² SNR². So $1 / \text{SNR}^2$ of it is noise, and
# $1 - 1 / \text{SNR}^2$ is signal. With 3072 roll-outs the SNRs of the two gradients are about 2.4 and 2.2. Independent
# noises would add nothing to the inner product on average, but they would make both lengths too long. The plain cosine
# would then be about $0.42\, \sqrt{1 - 1/2.4^2}\, \sqrt{1 - 1/2.2^2} \approx 0.34$. It is 0.43, because a part of the
# noise is common to both. For another critic the two errors need not cancel.
#
# The table has a row for each critic and a column for each *setting*, which is a kind of reward with a gamma. A cosine
# of 1 means the same direction, 0 means right angles, and below 0 means away from the truth. Each draw of roll-outs
# gives one cosine, and their spread shows how far a sign can be trusted. The figure after it shows the same cosines,
# with one marker for each draw. The markers of a critic stand side by side, so that none hides another, and the legend
# has the AUC of each critic. The line at the top is full agreement. Compare the signs with the AUC of the critic. The
# cell after the figure counts them. A sign counts only if the mean cosine of the three draws differs from 0 by
# Student's t-test at 95 % (notebook 03).

# %%
cosines = {
    key: [diagnostics.gradient_cosine(g, ideal) for g, ideal in zip(of_draws, ideals, strict=True)]
    for key, of_draws in critic_gradients.items()
}
table = []
for name in critics:
    row = {"critic": name, "AUC": aucs[name]}
    table.append(row | {setting: spread(cosines[name, setting], "+.2f") for setting in settings})
of_ideal = np.mean([diagnostics.gradient_snr(g) for g in ideals])
note = (
    f"Cosine with the gradient of -KL(G || oracle), which itself has an SNR of {of_ideal:.2f}. Mean ± spread over "
    f"{len(draws)} draws of {n} roll-outs, seed {first}. A cell is nan where one of the two gradients is not above its "
    "noise."
)
record.table("11-4-direction", table, title="Does the policy gradient point to the truth?", note=note)

# %%
of_critics = {
    f"{name} (AUC {aucs[name]:.2f})": {setting.replace(", ", "\n"): cosines[name, setting] for setting in settings}
    for name in critics
}
heights = {"full agreement": 1, "right angles": 0}
fig = plots.points_in_columns(of_critics, "cosine with the gradient\nof -KL(G || oracle)", heights)
title = "Where three critics point, a marker for each draw (above 0: to the truth, 1: full agreement)"
record.figure("11-6-direction", fig, title=title)

# %%
lines = []
for name in critics:
    signs = [direction(cosines[name, setting]) for setting in settings]
    towards, away, undecided = (signs.count(sign) for sign in (1, -1, 0))
    lines.append(f"* **{name}:** towards the truth in {towards}, away from it in {away}, not decided in {undecided}.")
head = f"Where each critic points in the {len(settings)} settings (Student's t-test over the draws, 95 %):"
Markdown("\n".join([head, "", *lines]))

# %% [markdown]
# In the committed run the critic with the highest AUC is the only one that points towards the truth. It does so in
# three of the four settings. The critic with the lowest AUC points away in three of the four. But its gradient is the
# clearest of all with the intermediate reward at gamma 1, where section 2 measured the SNR. There its SNR with 3072
# roll-outs is 3.5, while the gradient of $-KL(G \| G_\text{oracle})$ itself has only 2.2. So a gradient can be clearer
# than the one that leads to the truth. The SNR alone would have chosen the worst critic, and here the AUC would have
# chosen the best one. But three critics do not make a rule.
#
# The cosines of the second critic are all close to 0, and only one is decided, the −0.06 in the first column. The other
# two critics have −0.09 there and are not decided, because their three draws differ more from each other.
#
# These signs hold for these three networks. The three draws differ only in their roll-outs and in their real images,
# while the critics and the generator are the same. So the test cannot say how another critic of the same kind, trained
# with another seed, would point. Among twelve such tests one may also be decided by chance alone.
#
# The column with the single reward at gamma 0.9 stands apart, because there no critic points towards the truth. At this
# gamma only the last codes of the map keep a weight (section 4 of notebook 04), so this gradient says next to nothing
# about the upper rows. This may be the reason, but we have not tested it. With the intermediate reward the cosines at
# gamma 0.9 are nearly those at gamma 1. There gamma does not silence the early codes, because each code still gets the
# scores just after it.
#
# Is the wrong direction of the first critic the bias of section 1? It is not. With the single reward at gamma 1 the
# only bias comes from the divisor, and it should be small, because thousands of images share this divisor. But there
# too the first critic has a cosine of −0.17, about as with the intermediate reward. So the policy gradient follows its
# reward as it should, and it is the reward that leads away from the truth. Even the best cosine, 0.39, is far from 1.
#
# How much direction does Eq. 3 lose with the intermediate reward of our critics (section 1)? The mean of the up-sampled
# scores is $D$, so the intermediate rewards of a map add up to $T D$. At gamma 1 both kinds of reward therefore have
# the same true gradient, up to the factor $T$. For the single reward Eq. 2 is exact, apart from the divisor, which both
# kinds share. So the cosine of the two expected gradients shows what Eq. 3 loses. The next cell prints it for each
# critic, and 1 means that nothing is lost.

# %%
for name in critics:
    of_kinds = (critic_gradients[name, kind] for kind in ("intermediate, gamma 1", "single, gamma 1"))
    of_draws = [diagnostics.gradient_cosine(*pair) for pair in zip(*of_kinds, strict=True)]
    print(f"{name}: cosine of the gradients with the intermediate and the single reward {spread(of_draws, '.2f')}")

# %% [markdown]
# All three cosines are 0.93, with a spread of at most 0.024. So for our critics Eq. 3 turns the gradient a little,
# about as much as it does for the random scores of section 1, where the cosine was 0.92. This is small beside the
# differences between the critics in the table above. Nor does the turn lead away from the truth here. From the single
# to the intermediate reward at gamma 1 the cosine with the gradient of $-KL(G \| G_\text{oracle})$ goes from −0.17 to
# −0.16, from 0.00 to 0.01, and from 0.31 to 0.39. So this bias is real, but it does not explain where a critic points.
#
# ### Could Adam turn a bad direction into a good one?
#
# So far we asked where plain gradient ascent would go. RAL's optimiser is Adam, which gives every parameter its own
# step length. In its first step, each parameter moves up or down by the learning rate, as the sign of its gradient
# says. So the first step of Adam may point elsewhere than the gradient.
#
# The next table says by how many nats the first step changes $KL(G \| G_\text{oracle})$. It is computed *to first
# order*, that is, as if the gradient stayed the same along the whole step. A number below 0 means that the step goes
# towards the truth. Beside Adam's step stands a plain step of the same length. The table has both kinds of reward at
# gamma 1, the gamma of `deep`. Each step is judged by roll-outs that it was not made from, because the two must not
# share their noise.


# %%
def first_step(name, setting):
    """How many nats KL(G || oracle) changes by a first step of Adam, and by a plain step as long: (draws, 2)."""
    changes = []
    of_another = ideals[1:] + ideals[:1]  # of another draw, because the step and its judge must not share their noise
    for parts, ideal_parts in zip(critic_gradients[name, setting], of_another, strict=True):
        g, ideal = parts.mean(0), ideal_parts.mean(0)
        adam = cfg.lr_prior * g.sign()
        plain = g / g.norm() * adam.norm()
        # The ideal gradient is that of -KL, so KL changes by minus the inner product.
        changes.append([-(ideal @ step).item() for step in (adam, plain)])
    return np.array(changes)


# %%
rows, decided, same = [], 0, 0
for name in critics:
    for setting, how in settings.items():
        if how.gamma < 1:
            continue
        changes = first_step(name, setting)
        row = {"critic": name, "reward": how.reward, "cosine": spread(cosines[name, setting], "+.2f")}
        rows.append(row | {step: spread(x, "+.2f") for step, x in zip(("Adam", "plain"), changes.T, strict=True)})
        adam, plain = (direction(x) for x in changes.T)  # -1 or 1; 0 is not decided
        both_decided = adam != 0 and plain != 0
        decided += both_decided
        same += both_decided and adam == plain
title = "The first step: nats of KL(G||oracle), to first order (below 0: towards the truth)"
note = (
    f"Each step is made from {n} roll-outs, four times those of a run. In {decided} of {len(rows)} rows both steps are "
    f"decided (95 % over draws), and in {same} of these they go the same way."
)
record.table("11-5-first-step", rows, title, note=note)

# %% [markdown]
# For the first critic both steps lead away from the truth, and for the third both lead towards it. For the second one
# neither step is decided. So Adam did not turn a bad direction into a good one, and it did not spoil a good one either.
# But where both steps are decided, Adam's changes the divergence by only a quarter to a third of what a plain step of
# the same length does. One reason may be that Adam moves all parameters by the same amount, so much of its length goes
# to parameters whose gradients are small. The sign of a small gradient may also be mostly noise, because the step is
# made from an estimate. We have not tested these reasons.
#
# Adam's step with the third critic lowers the divergence by 0.6 to 0.7 nats. Is that much? In the committed run it is
# about 77 nats before RAL, and the 100 updates of section 7 of notebook 04 lower it by about 13. So an average step of
# that run brings 0.13 nats, much less than this first step. Its steps are made from fewer roll-outs and hold more
# noise, and its learning rate falls to 0. The table is also exact only to first order. We have not measured how much
# each of these counts.
#
# Nor does the fall by 13 nats show that RAL is worth it. The control of notebook 04 lowers the divergence by less than
# 1 nat, so RAL is far ahead of it there, but this is one seed. Notebook 08 sets RAL beside colder MLE and rejection,
# too. The colder MLE that covers the oracle as well as RAL is nearer to the oracle, and this is decided. Against the
# colder MLE that is as narrow as RAL intermediate nothing is decided. Rejection, with a critic that was trained for
# long, is nearer to the oracle than RAL in the mean.
#
# So the critic decides where a run begins to go. The three critics were trained against samples of the same generator,
# and yet their rows differ. A critic pulls the generator towards real images in the features that it *sees*. The oracle
# counts other features as well, and these may become worse on the way. This would explain a negative cosine, but we
# have not tested it.
#
# There are three questions to ask of a critic: does it tell real from fake (AUC), is its gradient above the noise
# (SNR), and where does its gradient point (these tables)? Only in the oracle world can we ask the third one. Even there
# the answer is about the first step, because in a run the critic learns as well. Section 7 of notebook 04 measures the
# divergence itself along a whole run, and only such a run shows whether a critic helps.

# %% [markdown]
# ## Readings and deviations
#
# 1. The paper mentions no baseline, and our presets use leave-one-out (reading 3 of [notebook 04](04_ral.ipynb)).
#    Section 1 shows that it changes no expectation. → `ral.advantages`
# 2. "Since each code is contained in a local region": we take this as it stands, so Eq. 3 leaves out the scores of
#    earlier places (reading 17 there). Section 1 shows that this is a bias, and section 3 measures it for our critics.
#    → `ral.returns`
# 3. "normalized [...] with respect to the highest value from a set of fake and real images": the divisor depends on the
#    roll-outs, which is a bias. Section 1 shows that it is largest for a pair, and small where many roll-outs share it.
#    → `ral.normalise`
#
# ## What to take away
#
# * In a world that can be enumerated, the policy gradient is exact at gamma 1 for the single reward, and for rewards
#   that depend only on the codes so far. A baseline keeps that. How much noise it takes away depends on the critic. In
#   the committed run it was worth a factor of 19 in roll-outs with the made-up critic of section 1, and between 1.0 and
#   1.6 with ours.
# * A gamma below 1, intermediate rewards of the whole image, and a divisor that depends on the roll-outs make the
#   policy gradient biased. With our three critics the bias of the intermediate reward is small: the cosine to the
#   gradient with the single reward is 0.93.
# * The SNR contains its own noise, so 1 is noise only, and SNR² − 1 grows in proportion to the number of roll-outs.
#   Four times as many roll-outs halve the error, but they do not turn a wrong direction into a right one.
# * AUC, SNR and direction are three questions. In the committed run the critic with the highest SNR points away from
#   the truth, although its AUC is above chance. The critic with the highest AUC points towards it, but three critics do
#   not make a rule.
# * In the committed run the first step of Adam goes the same way as a plain step wherever both are decided. So here it
#   is the critic, and not the optimiser, that sets the direction of the first step.
#
# ## Exercises
#
# The cell below each question checks your answer, and the folded cell after it holds a solution. The folded cell right
# here only prepares the checks.

# %% jupyter={"source_hidden": true}
# Folded, so that the checks below do not show what they ask for.
torch.manual_seed(seed)
r, gammas = torch.randn(2000, 81, 4).double(), (0.0, 0.25, 0.5, 0.75, 1.0)  # 2000 critics: little noise
truths = torch.einsum("n,cn,np->cp", p, r.sum(2), jacobian.sum(1))
Qs = [ral.returns(r.flatten(0, 1), gamma).view_as(r) for gamma in gammas]
of_gammas = [F.cosine_similarity(torch.einsum("n,cnt,ntp->cp", p, Q, jacobian), truths) for Q in Qs]
right_share = 100 * (torch.stack(of_gammas).argmax(0) == gammas.index(1.0)).double().mean().item()
weights = p * jacobian.sum(1).square().sum(1)
right_b = (weights @ (single[:, -1] + 3) / weights.sum()).item()
right_snr = (1 + 4 * (2**2 - 1)) ** 0.5
right_times = (1 / (1 - 0.45 / 0.5) - 1) / (2**2 - 1)

# %% [markdown]
# **1.** *(Medium, 15 minutes.)* At gamma 0 the single reward teaches the last code only (exercise 1 of notebook 04).
# What is each code rewarded for at gamma 0 under the intermediate reward? (The check does not ask for this.) Now take
# the "whole image" rewards of section 1, and draw 200 made-up critics as `scores` was drawn. For each of them find
# which of the gammas 0, 0.25, 0.5, 0.75 and 1 gives the expected estimate with the largest cosine to the true gradient.
# (`true_gradient` and `expected_estimate` of section 1 do the work.) In how many per cent of the draws is that gamma 1?
# Give a number between 0 and 100. (200 draws leave some noise, so your share may differ from that of the solution by
# some per cent. The check allows for this.)

# %%
answer = None
check(answer, right_share, within=12)

# %% tags=["solution"] jupyter={"source_hidden": true}
# Intermediate reward, gamma 0: each code answers for the score at its own place only.
# With whole-image rewards no gamma is right: gamma 1 leaves out the earlier scores, a smaller gamma later ones as well.
# So gamma 1 is nearest most often, but it depends on the scores. In the table of section 1, 0.9 has a slightly larger
# cosine than 1 (0.9235 and 0.9205), although its relative difference is larger as well. The two ends of the list also
# win where a gamma beyond them would be nearer still, so gamma 0 may win more often than 0.25.
# `jacobian` spares us the autograd of every critic: the sums are those of `true_gradient` and `expected_estimate`.
torch.manual_seed(seed)
wins = dict.fromkeys((0.0, 0.25, 0.5, 0.75, 1.0), 0)
for _ in range(200):
    r = torch.randn(81, 4).double()
    truth = torch.einsum("n,n,ntp->p", p, r.sum(1), jacobian)
    cosine_of = {}
    for gamma in wins:
        e = torch.einsum("n,nt,ntp->p", p, ral.returns(r, gamma), jacobian)
        cosine_of[gamma] = F.cosine_similarity(e, truth, dim=0).item()
    wins[max(cosine_of, key=cosine_of.get)] += 1
print(", ".join(f"gamma {gamma:g} is nearest in {count / 200:.0%}" for gamma, count in wins.items()))

# %% [markdown]
# **2.** *(Hard, 20 minutes.)* A *constant* baseline $b$ is unbiased as well. Take the estimate from one roll-out of the
# tiny prior, with rewards that stand 3 higher, so that $R$ is `single[:, -1] + 3`. Which $b$ gives the estimate the
# least variance? Its mean does not depend on $b$, so it is enough to minimise the mean of its squared length. (`p` has
# the probabilities of the maps, and `jacobian.sum(1)` has the gradients of their log-probabilities.) Give $b$ to three
# decimals. Then compare it with the mean reward. Which share of the variance at $b = 0$ does each of these two
# baselines take away?

# %%
answer = None
check(answer, right_b, within=0.005)

# %% tags=["solution"] jupyter={"source_hidden": true}
# One roll-out's estimate is (R - b) v, v = sum_t grad log G. The mean of its squared length (R - b)^2 |v|^2 is least
# where the derivative is 0, E[(R - b) |v|^2] = 0. So b is a mean of R in which a map counts more if its v is long. It
# lies close to the plain mean of R. Against b = 0 both take away 98 % of the variance, so the plain mean is all that
# one needs here.
v, R = jacobian.sum(1), single[:, -1] + 3
optimum = ((p * R * v.square().sum(1)).sum() / (p * v.square().sum(1)).sum()).item()
variances = []
for b in (0.0, (p * R).sum().item(), optimum):
    e = (R - b)[:, None] * v
    centre = (p[:, None] * e).sum(0)
    variances.append((p * (e - centre).square().sum(1)).sum().item())
    bias, part = (centre - true_gradient(single)).norm(), variances[-1] / variances[0]
    print(f"b = {b:6.3f}: |bias| {bias:.0e}, variance {variances[-1]:.3f}, {part:.1%} of the variance at b = 0")

# %% [markdown]
# **3.** *(Medium, 10 minutes.)* A gradient has an SNR of 2 with 768 roll-outs. How large is it with four times as many?
# (The *expected* gradient stays, and the error of its estimate is halved. Noise alone has an SNR of 1.)

# %%
answer = None
check(answer, right_snr, within=0.2)

# %% tags=["solution"] jupyter={"source_hidden": true}
# The squared length of the measured mean is signal^2 + error^2, so SNR^2 = 1 + (signal / error)^2. With an SNR of 2 the
# signal is sqrt(3) errors long. With half the error it is 2 sqrt(3) errors long, and the SNR is sqrt(13), about 3.6.
name = next(iter(critics))
few, many = (np.mean(snrs[name, "leave-one-out", b]) for b in (cfg.rollouts, n))
Markdown(
    f"{13**0.5:.2f}. An answer of 4 forgets that noise alone has an SNR of 1. Compare the table of section 2: the "
    f"first critic, with the baseline, has an SNR of {few:.2f} with {cfg.rollouts} roll-outs. From this the rule makes "
    f"{max(1 + 4 * (few**2 - 1), 0) ** 0.5:.2f} with {n}, and the table has {many:.2f}."
)

# %% [markdown]
# **4.** *(Medium, 15 minutes.)* Two *expected* gradients have a cosine of 0.5. Each of them is measured with an SNR of
# 2, and their noises are independent. Which cosine do the two *measured* mean gradients have, roughly? How many times
# as many roll-outs does it take until this cosine is about 0.45? (Section 3 did the first part for other numbers. The
# check asks for the second number.)

# %%
answer = None
check(answer, right_times, within=0.1)

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown(
    "0.375, and 3 times as many. By section 2 the squared length of a measured mean is error² SNR², and "
    "error² (SNR² − 1) of it is signal. So the share 1 − 1 / SNR² of the squared length is signal, which is 3/4 for an "
    "SNR of 2. Independent noises add nothing to the inner product on average. Each of the two lengths brings in the "
    "square root of 3/4, so the cosine is 0.5 · 3/4 = 0.375. For 0.45 the share must be 0.9, so SNR² must be 10. Then "
    "SNR² − 1 is 9 instead of 3, which takes 3 times as many roll-outs."
)

# %% [markdown]
# ## References
#
# * Williams, *Simple statistical gradient-following algorithms for connectionist reinforcement learning* (REINFORCE),
#   1992.
# * Kool et al., *Buy 4 REINFORCE samples, get a baseline for free!*, 2019; Ahmadian et al., *Back to basics* (RLOO),
#   [2402.14740](https://arxiv.org/abs/2402.14740).
