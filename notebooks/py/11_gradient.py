# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · Appendix: is it the right gradient, and is it above the noise?
#
# Notebook 04 wrote the policy gradient down and used it. Here we test it. First we enumerate a world so small that the
# true gradient is known, and ask whether the estimate has it as its expectation. Then we take the real prior and ask how
# far the gradient stands above its noise, and whether it points to the truth.
#
# After this notebook you can
# * say for which rewards and gammas Eq. 2 is exact, and what a baseline changes;
# * measure the signal-to-noise ratio (SNR) of a policy gradient from its parts;
# * say why a critic with a good AUC and a clear gradient may still point away from the truth.
#
# **Paper:** sections 4.1 and 4.2. **Before:** [04 · RAL step by step](04_ral.ipynb), whose words are used here. **After:**
# [08 · what did RAL really buy?](08_critical.ipynb)

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
from dataclasses import replace

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
# We need the generator as MLE left it, codes of the oracle, and the three critics of notebook 04. Each was trained alone
# against the MLE generator, and they differ in their loss and in their normalisation. The AUC is the chance that a critic
# ranks a real image above a generated one.

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
print(", ".join(f"{name}: AUC {h['AUC'][-1]:.3f}" for name, h in runs.items()))


# %%
def flat_gradient(value, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


# %% [markdown]
# The equations of notebook 04 come back here. $Q$ is the return of a code, which adds up the rewards after it, and the
# policy gradient weights the log-probability of each code with it:
#
# $$Q(s_t, a_t) = \sum_{k=t+1}^T \gamma^{k-t-1} r_k \quad (3) \qquad
# \nabla_\theta J_G \propto \mathbf{E}_{a_t \sim G} [\nabla_\theta \log G(a_t | s_t)\, Q(s_t, a_t)] \quad (2)$$
#
# ## 1. Is the policy gradient right?
#
# In the smallest world we can *enumerate* everything. We take maps of 2x2 codes with 3 symbols, which makes 81 maps in
# all. There $J_G = \sum_c G(c) R(c)$ is a sum that autograd differentiates directly, and the expectation of the
# estimator is a sum as well. There is no sampling and no noise, so the two gradients either agree or they do not.

# %%
maps = torch.cartesian_prod(*[torch.arange(3)] * 4).view(81, 2, 2)
torch.manual_seed(seed)
tiny = PixelCNN(K=3, channels=4, layers=1, k=3).double()
scores = torch.randn(81, 4).double()  # a made-up critic: 4 patch scores for each map
p = tiny.log_prob(maps).sum((1, 2)).exp().detach()
print(f"probabilities of all maps sum to {p.sum():.12f}")


# %%
def true_gradient(r):
    """Of J = sum over all maps of G(c) (r_1 + .. + r_T)."""
    return flat_gradient((tiny.log_prob(maps).sum((1, 2)).exp() * r.sum(1)).sum(), tiny)


def expected_estimate(r, gamma):
    """Of Eq. 2: sum over all maps of G(c) sum_t grad log G(a_t | s_t) Q_t."""
    Q = ral.returns(r, gamma)
    return flat_gradient((p[:, None] * Q * tiny.log_prob(maps).flatten(1)).sum(), tiny)


# %% [markdown]
# We compare three kinds of rewards, and the first is the single reward. The second are intermediate rewards in which
# $r_{t+1}$ depends only on the codes *so far*. The third are intermediate rewards as RAL has them, which are scores of
# a finished image, so later codes can change the score of an earlier place.
#
# The table below has a row for each reward and gamma. It compares the expectation of Eq. 2 with the true gradient by
# their relative difference, where 0 is exact, and by their cosine, where 1 is the same direction.

# %%
alone = torch.zeros(81, 4).double()
alone[:, -1] = scores.mean(1)
so_far = torch.stack([torch.randn(3 ** (t + 1))[torch.arange(81) // 3 ** (3 - t)] for t in range(4)], 1).double()
kinds = {"single": alone, "intermediate, codes so far": so_far, "intermediate, whole image": scores}

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
# * **gamma 1, single or "so far":** the estimate is exact. REINFORCE, which is the name of this estimator, is
#   unbiased, so its expectation is the true gradient.
# * **gamma below 1:** each decision's gradient gets its own weight, so the sum is the gradient of no single objective.
#   This is a deliberate trade, because late rewards are noisy news about early codes.
# * **"whole image":** $Q(s_t, a_t)$ counts only $r_{t+1}, r_{t+2}, \dots$, but a code also changes the scores of
#   patches *above* it. It does so because these patches share the decoder and the critic with it. Eq. 3 leaves this
#   influence out, so the intermediate reward is biased even at gamma 1. How much depends on the scores, and the ones
#   here are random. (If every score sees the whole image, as in section 2.1 of notebook 04, each remaining code earns roughly
#   $D(\tilde x)$.)
#
# Does the leave-one-out baseline keep the expectation? To find out, we enumerate all 81 x 81 pairs of roll-outs.

# %%
pairs = torch.cartesian_prod(torch.arange(81), torch.arange(81)).T  # (2, 6561): two roll-outs, all that can happen
both, g = alone[pairs], true_gradient(alone)  # (2, 6561, 4)


def over_pairs(r):
    """Expectation of the estimate with leave-one-out, of rewards r (2, 6561, 4) of the pairs."""
    Q, log_prob = ral.returns(r.flatten(0, 1), 1.0).view_as(r), tiny.log_prob(maps).flatten(1)[pairs]
    A = ral.advantages(Q, "leave-one-out")
    return flat_gradient((p[pairs].prod(0)[:, None] * (A * log_prob).mean(0)).sum(), tiny)


difference = ((over_pairs(both) - g).norm() / g.norm()).item()
assert difference < 1e-9
divided = over_pairs(both / both.abs().amax((0, 2))[:, None])  # what `normalise="max"` does, without real images
print(f"leave-one-out, expectation over {pairs.shape[1]} pairs: relative difference {difference:.0e}")
print(f"the same, rewards divided by the largest of their pair: cosine {F.cosine_similarity(divided, g, dim=0):.3f}")

# %% [markdown]
# So the baseline costs nothing in expectation, but dividing by the largest score does. A roll-out that has the largest
# score shrinks its own reward, and this brings in a bias. The bias becomes smaller when more roll-outs (and real
# images) share the divisor.
#
# What the baseline buys shows in the **spread** of the estimates. We draw many batches of 16 roll-outs, with a made-up
# critic whose scores stand 2 too high. Each batch gives one estimate of the gradient, and each estimate is one point
# in the next figure. The horizontal axis is the direction of the true gradient, which is the star. The vertical axis
# is the direction across it in which the spread is largest. The left panel is without a baseline, the middle one is
# with it, and the right one magnifies the middle one. Compare the sizes of the first two clouds.

# %%
log_prob = tiny.log_prob(maps).flatten(1)
parts = [
    torch.cat([g.flatten() for g in torch.autograd.grad(value, list(tiny.parameters()), retain_graph=True)])
    for value in log_prob.flatten()
]
jacobian = torch.stack(parts).view(81, 4, -1)  # grad log G(a_t | s_t) of each map and t
torch.manual_seed(seed)
rows = torch.multinomial(p, 200 * 16, replacement=True).view(16, 200)  # 200 batches of 16 roll-outs
high = ral.returns(alone + torch.tensor([0, 0, 0, 2.0]), 1.0)
estimates = {
    baseline: torch.einsum("bnt,bntp->np", ral.advantages(high[rows], baseline), jacobian[rows]) / 16
    for baseline in ("none", "leave-one-out")
}

# %%
g = true_gradient(alone)
along = g / g.norm()
noise = estimates["none"] - (estimates["none"] @ along)[:, None] * along
across = torch.linalg.svd(noise, full_matrices=False).Vh[0]  # where the spread is largest
panels = [("none", 1.0), ("leave-one-out", 1.0), ("leave-one-out, magnified", 0.25)]
reach = 1.05 * torch.stack([estimates["none"] @ along, estimates["none"] @ across]).abs().max().item()
fig, axes = plots.new_figure(1, 3, (3.2, 3.1))
for ax, (title, part) in zip(axes[0], panels, strict=True):
    e = estimates[title.split(",")[0]]
    ax.scatter(e @ along, e @ across, s=6, alpha=0.5)
    ax.plot(g.norm(), 0, "*", color="#D55E00", markersize=12, label="true gradient")
    ax.set(xlim=(-part * reach, part * reach), ylim=(-part * reach, part * reach), xlabel="along the true gradient")
    ax.set_title(f"baseline: {title}", fontsize=10)
    ax.grid(alpha=0.3)
axes[0, 0].set_ylabel("across it, where the spread is largest")
axes[0, 0].legend(fontsize=8)
record.figure("11-2-variance", fig, title="200 estimates of one gradient (star), without and with a baseline")

# %% [markdown]
# Both clouds have the star in their middle, because neither estimate is biased. Without a baseline most estimates are far
# longer than the true gradient, and many point backwards. With it they come much nearer, but a single estimate is still
# mostly noise. The next cell puts numbers on it.

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
# The real prior cannot be enumerated, but the noise of its gradient can be estimated. We cut the roll-outs into parts
# and compare the gradients of the parts. The **signal-to-noise ratio** (SNR, `gradient_snr`) is the length of the mean
# gradient divided by its standard error. **About 1 means noise only**, because pure noise is as long as its own error.
# Well above 1 there is a direction to follow.
#
# The table gives the SNR for each critic, with and without the baseline. It does so for the preset's number of
# roll-outs and for four times as many.

# %%
torch.manual_seed(seed)
n = 4 * cfg.rollouts
draws = [(G.sample(n, shape), real_codes[torch.randint(len(real_codes), (n,), device=world.device)]) for _ in range(3)]
images = [[decode(codes) for codes in draw] for draw in draws]
see = torch.no_grad()(lambda critic, x: in_batches(critic, x))
score_maps = {name: [[see(critic_, x) for x in pair] for pair in images] for name, critic_ in critics.items()}


def gradients(critic, how, rollouts=n):
    """The parts of the policy gradient of so many roll-outs with the critic of that name, one tensor a draw."""
    parts = []
    for (fakes, _), pair in zip(draws, score_maps[critic], strict=True):
        A = ral.score_advantages(*(x[:rollouts] for x in pair), shape, how)
        parts.append(diagnostics.part_gradients(G, fakes[:rollouts], A))
    return parts


def snr(critic, baseline, rollouts):
    """Mean over the draws of the signal-to-noise ratio of the policy gradient of so many roll-outs."""
    return np.mean([diagnostics.gradient_snr(g) for g in gradients(critic, replace(cfg, baseline=baseline), rollouts)])


# %%
rows = [
    {"critic": name, "AUC": runs[name]["AUC"][-1], "baseline": baseline}
    | {f"SNR, {b} roll-outs": snr(name, baseline, b) for b in (cfg.rollouts, n)}
    for name in critics
    for baseline in ("none", "leave-one-out")
]
note = f"{cfg.reward} reward, gamma {cfg.gamma:g}, mean of {len(draws)} draws; about 1 is noise only."
record.table("11-3-snr", rows, title="Signal-to-noise ratio of the policy gradient", note=note)

# %%
key = f"SNR, {n} roll-outs"
top, low = max(rows, key=lambda row: row[key]), min(rows, key=lambda row: row[key])
Markdown(
    f"With {n} roll-outs the clearest gradient is that of **{top['critic']}**, baseline {top['baseline']} "
    f"(SNR {top[key]:.2f}); the least clear one that of {low['critic']}, baseline {low['baseline']} ({low[key]:.2f}). "
    f"That is {'also' if top['critic'] == best else 'not'} the critic with the best AUC."
)

# %%
signal = {(row["critic"], row["baseline"]): max(row[key] ** 2 - 1, 0) for row in rows}  # of independent noise, squared
worth = [f"{name}: {signal[name, 'leave-one-out'] / max(signal[name, 'none'], 1e-9):.2f}" for name in critics]
Markdown(
    "What is the baseline worth with these critics, whose zero is not 2 off? SNR² − 1 grows in proportion to the "
    "roll-outs. So this many roll-outs without a baseline are as good as one with it: " + "; ".join(worth) + "."
)

# %% [markdown]
# Two cautions are in order. First, a high ratio says that the gradient has *a* direction, but not that the direction
# is good. For example, a critic that dislikes something harmless gives a clear direction too. Second, the expected
# gradient is large only if the critic's scores differ between the samples of $G$.
#
# ## 3. A clear direction, but where to?
#
# Here, and only here, we can check the direction, because the oracle gives the exact log-probabilities. The gradient
# that makes the generator more like the truth is that of $-KL(G \| G_\text{oracle})$. It is itself a policy gradient,
# of the rewards
#
# $$r_{t+1} = \log G_\text{oracle}(c_t | s_t) - \log G(c_t | s_t), \qquad \gamma = 1.$$
#
# The critic knows nothing of these rewards. How well does the direction that its scores give agree with this one? We
# take the cosine of the two *expected* gradients; `gradient_cosine` removes the share of the noise. A cosine of 1
# means the same direction, 0 means right angles, and below 0 means away from the truth. Each draw of roll-outs gives
# one cosine, and their spread shows how far a sign can be trusted.
#
# The table has a row for each critic and a column for each kind of reward and gamma. Compare the signs with the AUC of
# the critic.

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
ways = {(name, kind): gradients(name, how) for name in critics for kind, how in settings.items()}
cosines = {
    way: [diagnostics.gradient_cosine(g, ideal) for g, ideal in zip(parts, ideals, strict=True)]
    for way, parts in ways.items()
}
table = []
for name in critics:
    row = {"critic": name, "AUC": runs[name]["AUC"][-1]}
    table.append(row | {kind: spread(cosines[name, kind], "+.2f") for kind in settings})
note = (
    f"Cosine with the gradient of -KL(G || oracle), mean ± spread over {len(draws)} draws of {n} roll-outs, seed {first}; nan: "
    f"nothing above the noise in one. That gradient itself has an SNR of {np.mean([diagnostics.gradient_snr(g) for g in ideals]):.2f}."
)
record.table("11-4-direction", table, title="Does the policy gradient point to the truth?", note=note)

# %%
signs = {-1: 0, 0: 0, 1: 0}
for values in cosines.values():
    signs[direction(values)] += 1
Markdown(
    f"Of {len(cosines)} settings {signs[1]} agree with the truth's direction beyond chance (95 % over draws), {signs[-1]} point away "
    f"from it, {signs[0]} are not decided."
)

# %% [markdown]
# That was the direction of plain gradient ascent. RAL's optimiser is Adam, which gives every parameter its own step
# length. In its first step, each parameter moves up or down by the learning rate, as the sign of its gradient says. So
# could Adam turn a bad direction into a good one? The next table says by how many nats the first step changes
# $KL(G \| G_\text{oracle})$, to first order. Below 0, the step goes towards the truth. A plain step of the same length
# stands beside it. Each step is judged by roll-outs that it was not made from, because the two must not share their
# noise.


# %%
def first_step(way):
    """Nats of KL(G || oracle) by which a first step of Adam, and a plain one as long, change it: (draws, 2)."""
    changes = []
    for parts, of_others in zip(ways[way], ideals[1:] + ideals[:1], strict=True):
        g, ideal = parts.mean(0), of_others.mean(0)
        adam = cfg.lr_prior * g.sign()
        plain = g / g.norm() * adam.norm()
        changes.append([-(ideal @ step).item() for step in (adam, plain)])
    return np.array(changes)


# %%
rows, same = [], 0
for name, kind in ((name, kind) for name in critics for kind, how in settings.items() if how.gamma == 1):
    changes = first_step((name, kind))
    row = {"critic": name, "reward": settings[kind].reward, "cosine": spread(cosines[name, kind], "+.2f")}
    rows.append(row | {step: spread(x, "+.2f") for step, x in zip(("Adam", "plain"), changes.T, strict=True)})
    same += bool(np.prod(changes.mean(0)) > 0)
title = "The first step: nats of KL(G||oracle), to first order (below 0: towards the truth)"
note = f"In {same} of {len(rows)} rows Adam's step and the plain one change the divergence in the same direction."
record.table("11-5-first-step", rows, title, note=note)

# %% [markdown]
# Where both steps go the same way, Adam is neither the remedy nor the fault. Compare their sizes too. Adam also moves
# the many parameters whose gradients are mostly noise, so a step of the same length does less.
#
# So the critic decides where a run begins to go. The three critics were trained against samples of the same generator,
# and yet their rows differ. A critic pulls the generator towards real images in the features that it *sees*. Other
# features are free to drift, although the oracle counts them. So there are three different questions to ask of a
# critic: does it tell real from fake (AUC), is its gradient above the noise (SNR), and where does its gradient point
# (these tables)? Only in the oracle world can we ask the third. And even there it is one step: in a run, the critic
# learns as well. Section 7 of notebook 04 has such a run, in which the divergence itself is measured, and it is the judge.

# %% [markdown]
# ## Readings and deviations
#
# 1. The paper mentions no baseline, so `none` is the default. **Deviation** in our presets: leave-one-out, which changes
#    no expectation (section 1). → `ral.advantages`
# 2. "Since each code is contained in a local region": we take this as it stands. A code also changes the scores of
#    places before it, but Eq. 3 leaves this out, and so do we (section 1). → `ral.returns`
# 3. "normalized [...] with respect to the highest value from a set of fake and real images": the divisor depends on the
#    roll-outs, which is a small bias (section 1). → `ral.normalise`
#
# ## What to take away
#
# * In a world that can be enumerated, the policy gradient is exact for the single reward at gamma 1. A baseline keeps
#   that. How much noise it takes away depends on how far the critic's zero is off.
# * A gamma below 1, intermediate rewards of the whole image, and a divisor that depends on the roll-outs make it biased.
# * AUC, SNR and direction are three questions. A critic may pass the first two and fail the third.
#
# ## Exercises
#
# **1.** *(Medium, 10 minutes.)* If gamma is 0, what is each code rewarded for, under either reward? Then guess for the
# "whole image" rewards of section 1: of the gammas 0, 0.25, 0.5, 0.75 and 1, is it 1 whose expected estimate is nearest
# to the direction of the true gradient? (True or False)

# %%
whole = true_gradient(scores)
cosine_of = {
    gamma: F.cosine_similarity(expected_estimate(scores, gamma), whole, dim=0).item()
    for gamma in (0.0, 0.25, 0.5, 0.75, 1.0)
}
answer = None
check(answer, max(cosine_of, key=cosine_of.get) == 1.0)

# %% tags=["solution"] jupyter={"source_hidden": true}
# Single: Q is 0 everywhere but at the last code. Intermediate: each code answers for its own place only.
for gamma, cosine in cosine_of.items():
    print(f"gamma {gamma:4.2f}: cosine to the true gradient {cosine:.3f}")

# %% [markdown]
# **2.** *(Hard, 20 minutes.)* A *constant* baseline $b$ is unbiased as well. Take the estimate from one roll-out of the
# tiny prior, with rewards that stand 3 too high. Which $b$ makes it least noisy? Is this $b$ the mean reward? (True or
# False)

# %%
answer = None
check(answer, False)

# %% tags=["solution"] jupyter={"source_hidden": true}
# One roll-out's estimate is (R - b) v, v = sum_t grad log G. Its variance is least at b = E[R |v|^2] / E[|v|^2]:
# rewards count as much as their gradient is long, so it is near the mean reward, but not it.
v, R = jacobian.sum(1), alone[:, -1] + 3
optimum = ((p * R * v.square().sum(1)).sum() / (p * v.square().sum(1)).sum()).item()
for b in (0.0, (p * R).sum().item(), optimum):
    e = (R - b)[:, None] * v
    centre = (p[:, None] * e).sum(0)
    print(f"b = {b:6.3f}: |bias| {(centre - true_gradient(alone)).norm():.0e}, "
          f"variance {(p * (e - centre).square().sum(1)).sum():.3f}")  # fmt: skip

# %% [markdown]
# **3.** *(Medium, 10 minutes.)* A gradient has an SNR of 2 with 768 roll-outs. How large is it with four times as many?
# (The *expected* gradient stays, and the error of its estimate is halved. Noise alone has an SNR of 1.)

# %%
answer = None
check(answer, (1 + (4 - 1) * 4) ** 0.5, within=0.2)

# %% tags=["solution"] jupyter={"source_hidden": true}
# The squared length of the measured mean is signal^2 + error^2, so SNR^2 = 1 + (signal / error)^2. With an SNR of 2 the
# signal is sqrt(3) errors long; with half the error it is 2 sqrt(3), and the SNR is sqrt(13), about 3.6: less than 4.
Markdown(f"{13**0.5:.2f}. An answer of 4 forgets that noise alone has an SNR of 1.")

# %% [markdown]
# ## References
#
# * Williams, *Simple statistical gradient-following algorithms for connectionist reinforcement learning* (REINFORCE),
#   1992.
# * Kool et al., *Buy 4 REINFORCE samples, get a baseline for free!*, 2019; Ahmadian et al., *Back to basics* (RLOO),
#   [2402.14740](https://arxiv.org/abs/2402.14740).
