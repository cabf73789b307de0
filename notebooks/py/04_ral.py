# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # RAL step by step
#
# A prior trained by maximum likelihood (MLE) never sees its own samples. Reinforced adversarial learning (RAL) lets
# the prior sample, and shows the decoded pictures to a **critic**, a network that scores how real they look. Then RAL
# makes the codes that led to good pictures more likely.
#
# After this notebook you can
# * say what the states, actions, rewards and returns are when a PixelCNN draws a code map;
# * write the critic's loss and the policy gradient by hand, and check both;
# * judge a critic before a run by its AUC, which says whether it tells real images from generated ones;
# * write one RAL iteration in fifteen lines.
#
# **Paper:** section 4 (4.1 policy gradients, 4.2 discriminator, 4.4 training; 4.3, partial generation, is for larger
# maps). **Before:** [00_tour](00_tour.ipynb), [01_vqvae](01_vqvae.ipynb), [02_pixelcnn](02_pixelcnn.ipynb) and
# [03_oracle](03_oracle.ipynb). Notebook 03 has the numbers, and this notebook explains where they come from.
# **After:** [05_images](05_images.ipynb), RAL on images and on two levels of codes, or
# [11_gradient](11_gradient.ipynb), which tests the policy gradient: is it right, how noisy is it, where does it
# point? (Where the text says what a figure or table shows, it speaks of the committed run, with the preset `deep`.)

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
# %matplotlib inline
import copy
import inspect
from dataclasses import asdict, replace

import torch
import torch.nn.functional as F
from IPython.display import Markdown

from ralkit import ral
from ralkit.course import diagrams, plots, widgets
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record
from ralkit.course.runs import in_updates
from ralkit.course.study import Study
from ralkit.critic import LOSSES, image_score
from ralkit.diagnostics import cached_logits

# %%
world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
study, record = Study(world), Record(world)
print(record.about("04_ral"))

# %% [markdown]
# Everything below starts from three things that the earlier notebooks made. They are the VQ-VAE's decoder $U$, the
# generator $G$ as MLE left it, and codes of real images. As in the oracle experiment (section 5.2 of the paper),
# "real" means drawn from the oracle, the prior that we take for the truth. So every distribution is known, and yet the
# critic can see nothing but images.
#
# The next figure shows real images in its upper row and samples of the MLE generator in its lower row. RAL starts from
# the samples in the lower row.

# %%
first = study.seeds[0]
(G,) = study.generator("MLE", first)
decode, (real_codes,), cfg = world.decode, world.oracle_codes["train"], world.config.ral
shape = tuple(real_codes.shape[1:])
H, W = shape
T = H * W
print(f"{H}x{W} codes out of {G.K}: T = {T} decisions an image; {len(real_codes)} real code maps")

# %%
torch.manual_seed(seed)
before = G.sample(10, shape)
fig = plots.labelled_rows({"real": decode(real_codes[:10]), "MLE samples": decode(before)})
record.figure("04-01-before", fig, title="Real images (decoded) and samples of the MLE generator")

# %% [markdown]
# Both rows show faces. Many samples mix parts of several faces, such as hair of two colours or a smeared collar. Single
# patches look right, but they do not fit each other.
#
# ## 1. Sampling is a sequence of decisions
#
# A code map has $T$ codes, which are drawn in raster order, row by row. Reinforcement learning (RL) has a name for
# each part of this. At time $t \in [0, T-1]$
#
# * the **state** is the codes that are there already, $s_t = (c_0, \dots, c_{t-1})$,
# * the **action** is the next code, $a_t = c_t$, one of $K$,
# * the **policy** is the distribution from which the action is drawn; here it is the PixelCNN, $G(a_t | s_t)$.
#
# The next state is certain, because the action is simply appended: $s_{t+1} = (s_t, a_t)$. When the map is full, the
# decoder turns it into an image, and a reward comes. One such pass from the first code to the last is called a
# **roll-out**.
#
# The next cell draws one map. The figure below it has a column for each of four times $t$. The upper row shows the
# state, grey where nothing is drawn yet, with a red square where the next code goes. The lower row shows the policy,
# that is the probability of each of the $K$ codes, with the code that was drawn in red.

# %%
torch.manual_seed(seed)
codes = G.sample(1, shape)
with torch.no_grad():
    policy = G(codes).softmax(-1).flatten(1, 2)[0].cpu()  # (T, K): G(. | s_t) at every t
times = (0, T // 4, T // 2, T - 1)
for t in times:
    a = codes.flatten()[t].item()
    print(f"t = {t:3}: {t:3} codes known, action a_t = {a:3}, G(a_t | s_t) = {policy[t, a]:.3f}")

# %%
fig, axes = plots.new_figure(2, len(times), (2.4, 1.9))
for (top, bottom), t in zip(axes.T, times, strict=True):
    plots.code_map(codes[0], G.K, top, f"state $s_{{{t}}}$", known=t)
    top.plot(t % W, t // W, "s", color="red", markersize=6)
    bars = bottom.bar(range(G.K), policy[t], width=1.0, color="#999999")
    bars[codes.flatten()[t].item()].set_color("red")
    bottom.set(xlabel="code", ylim=(0, 1), yticks=[])
    bottom.set_title(f"$G(\\cdot\\, |\\, s_{{{t}}})$, action in red", fontsize=9)
axes[1, 0].set(ylabel="probability", yticks=(0, 0.5, 1))
record.figure("04-02-decisions", fig, title="States, policy and actions while one code map is drawn")

# %% [markdown]
# At the first code many choices are possible. Later, one or two codes hold nearly all of the probability, because the
# codes before them tell most of what has to come.
#
# The objective is the expected reward of what $G$ draws, and its gradient is called the **policy gradient**:
#
# $$J_G = \mathbf{E}_{a \sim G}[R_T] \quad (1) \qquad
# \nabla_\theta J_G \propto \mathbf{E}_{a_t \sim G} [\nabla_\theta \log G(a_t | s_t)\, Q(s_t, a_t)] \quad (2)$$
#
# Here $\theta$ are the parameters of $G$, and $R_T$ is the sum of all rewards of a finished map. $Q(s_t, a_t)$ is the
# **return** of the action $a_t$: it adds up the rewards that come after the action (section 4). Eq. 2 is written for
# one action. The full gradient adds such terms over all $t$, and the sign $\propto$ says that a constant factor is left
# out. To see where Eq. 2 comes from, write $c$ for a whole map, so that $J = \sum_c G(c)\, R(c)$:
#
# 1. The gradient of a probability is $\nabla G = G\, \nabla \log G$. So
#    $\nabla J = \sum_c G(c)\, \nabla \log G(c)\, R(c) = \mathbf{E}\big[\sum_t \nabla \log G(a_t | s_t)\, R\big]$, and
#    every action is weighted with the whole reward $R$.
# 2. The probabilities of all actions sum to 1, so
#    $\sum_a G(a | s)\, \nabla \log G(a | s) = \nabla \sum_a G(a | s) = \nabla 1 = 0$. For this reason we may subtract
#    from the weight of $a_t$ any number that does not depend on $a_t$, and the mean gradient stays the same. One
#    example is a reward that was settled before $a_t$ was drawn. Another is a **baseline**, which is what other
#    roll-outs get on average (section 5).
# 3. Suppose that the rewards up to time $t$ are settled when $a_t$ is drawn. Then we may subtract them from $R$, and
#    what is left are the rewards from $t + 1$ on. Their sum is the return $Q(s_t, a_t)$ that Eq. 3 in section 4
#    defines, with the factor $\gamma$ there set to 1. For scores of patches this step is not exact, because a later
#    code can still change the score of an earlier patch. Notebook 11 measures how much is lost.
#
# The draw of a code cannot be differentiated, but Eq. 2 does not ask for that. It needs the log-probabilities of the
# codes that *were* drawn, and it weights each of them with its return $Q$. One step is
# $\theta \leftarrow \theta + \alpha\, \nabla_\theta J_G$ (Eq. 4), where $\alpha$ is the learning rate; here Adam makes
# the step.
#
# So we can first sample fast, without a graph. Afterwards we compute all $T$ log-probabilities in **one** forward
# pass. This is right only if both computations describe the same policy, and the next cell checks that they do.

# %%
torch.manual_seed(seed)
codes = G.sample(4, shape)
with torch.no_grad():
    one_pass = G.log_prob(codes)  # (B, H, W), all at once
    stepwise = -F.cross_entropy(cached_logits(G, codes).movedim(-1, 1), codes, reduction="none")  # as sampled
difference = (one_pass - stepwise).abs().max().item()
assert difference < (1e-3 if world.device.type == "cpu" else 5e-2)  # a GPU's convolutions round more (TF32)
print(f"largest difference of a log-probability: {difference:.1e} nats")

# %% [markdown]
# ## 2. The critic
#
# ### 2.1 A map of scores
# The paper's discriminator is a PatchGAN. It is a stack of strided convolutions that ends in a map $S$ of scores, each
# of them centred on a region of the image. The score of the whole image, $D(x)$, is the average of $S$. GANs with the
# Wasserstein loss (WGAN) call such a network a *critic*, because it gives no probability. It only says "more real" or
# "less real".

# %%
configs = {
    "wgan-gp, no norm": replace(cfg, critic_loss="wgan-gp", critic_norm="none"),  # the paper's
    "wgan-gp, layer norm": replace(cfg, critic_loss="wgan-gp", critic_norm="layer"),
    "logistic-r1, layer norm": replace(cfg, critic_loss="logistic-r1", critic_norm="layer"),
}
torch.manual_seed(seed)
fresh = {norm: ral.make_critic(replace(cfg, critic_norm=norm)).to(world.device) for norm in ("none", "layer")}
real, fake = decode(real_codes[:4]), decode(before[:4])
score_map = fresh["none"](real)
print(f"images {tuple(real.shape)} -> score maps {tuple(score_map.shape)}")


# %% [markdown]
# Which patch does a score see? We ask the gradient $|\partial S_{ij} / \partial x|$, which says how much each pixel
# changes the score. In the next figure each panel belongs to one score of an untrained critic, and the red square marks
# the score's place. A brighter pixel has more influence on the score. The colours are logarithmic: the brightest yellow
# is the largest influence in the panel, and the darkest violet is a ten-thousandth of it or less. A pixel with no
# influence at all would be grey. Look for how far the colours reach from the red square.


# %%
def looks_at(critic, x, at):
    """|d S[at] / dx| of one image (3, S, S), summed over its colours: (S, S)."""
    x = x[None].clone().requires_grad_()
    return torch.autograd.grad(critic(x)[0, *at], x)[0][0].abs().sum(0)


side = score_map.shape[-1]
step = world.config.size // side  # pixels of an image's side that one score stands for
fig, axes = plots.new_figure(1, 4, (2.3, 2.3))
for i, (norm, critic) in enumerate(fresh.items()):
    for j, at in enumerate([(0, 0), (side // 2, side // 2)]):
        field = looks_at(critic, real[0], at)
        centre = [step * k + step // 2 for k in at]
        plots.receptive_field(field, centre, axes[0, 2 * i + j], f"norm: {norm}, $S_{{{at[0]},{at[1]}}}$")
record.figure("04-03-patches", fig, title="What one score of the map sees (gradient, logarithmic colours)")

# %% [markdown]
# The colours fill all four panels, and they do not gather around the red square. So these scores are hardly local. The
# next cell says why.

# %%
size, stages = world.config.size, cfg.critic_stages
reach = 1 + 3 * (2**stages - 1) + 2 * 2**stages  # of `stages` 4x4 convolutions of stride 2 and a 3x3 head
field = looks_at(fresh["none"], real[0], (side // 2, side // 2))
i = step * (side // 2)
inside = (field[i : i + step, i : i + step].sum() / field.sum()).item()
overlap = "every score sees all of it" if reach >= 2 * size else "patches overlap a lot"
verdict = "hardly more than chance" if inside < 1.2 * side**-2 else "more than chance"
Markdown(
    f"Without normalisation one score reaches over {reach} x {reach} pixels, of an image of {size} x {size}: {overlap}."
    f" Of the gradient of an untrained score, {inside:.0%} lies in its own {step} x {step} pixels, which are "
    f"{side**-2:.0%} of the image: {verdict}. With layer normalisation, whose statistics are taken over the whole map, "
    "a score depends a little on every pixel."
)

# %% [markdown]
# ### 2.2 Its loss
#
# The paper trains the critic by WGAN-GP, a Wasserstein GAN with a *gradient penalty* (GP):
#
# $$L_D = -\mathbf{E}_{x \sim p_d}[D(x)] + \mathbf{E}_{\tilde x \sim G}[D(\tilde x)]
#   + \lambda_{gp}\, \mathbf{E}_{\tilde x}\left[(\|\nabla_{\tilde x} D(\tilde x)\|_2 - 1)^2\right] \quad (5)$$
#
# Here $p_d$ is the distribution of the real images. The first two terms ask for high scores of real images $x$ and low
# scores of generated images $\tilde x$. The last term is the gradient penalty with its weight $\lambda_{gp}$. It asks
# that the slope of $D$, which is the length of its gradient with respect to the image, be close to 1. Without the
# penalty the critic could lower the loss for ever by multiplying its scores by larger and larger
# numbers.
#
# In this last term $\tilde x$ is not a sample. It lies on the line from a fake to a real image, at a random place
# $\epsilon$. The norm is taken over all pixels of **one image**, and $D$ is the score of the whole image. So there is
# one penalty for each image.


# %%
def wgan_gp(D, real, fake, weight):
    """Eq. 5, D giving score maps (B, h, w)."""
    epsilon = torch.rand(len(real), 1, 1, 1, device=real.device)
    x = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(D(x).mean((1, 2)).sum(), x, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1) ** 2
    return -D(real).mean() + D(fake).mean() + weight * penalty.mean()


# %%
losses = {}
for who, loss in {"by hand": wgan_gp, "ralkit": LOSSES["wgan-gp"]}.items():
    torch.manual_seed(seed)  # the same epsilon
    losses[who] = loss(fresh["none"], real, fake, 10.0).item()
assert abs(losses["by hand"] - losses["ralkit"]) < 1e-3 * abs(losses["ralkit"])
losses

# %% [markdown]
# The other loss that `ralkit` offers is `logistic-r1`, the loss of a classifier. For each patch it is
# $-\log\sigma(S(x)) - \log\sigma(-S(\tilde x))$, where $\sigma$ is the logistic function. It also has a gradient
# penalty, called R1, which is $\frac{\lambda}{2}\|\nabla_x D(x)\|^2$ on real images. We compute R1 only on every
# fourth real image, because its second derivatives would otherwise be most of the cost of an update.
#
# The best possible score under this loss, without a penalty, has a meaning. It is $\log (p_d / p_G)$ of the patch,
# where $p_d$ is the distribution of real images and $p_G$ that of generated ones. So it is above 0 where a patch is
# more frequent among real images. Such a score of whole images would be just what we want as a reward. Suppose that we
# hold it fixed and change $G$ a little. Then its mean over the samples of $G$ has the same gradient as $-KL(G \| p_d)$.
# So to follow this gradient is to lower the KL divergence that the oracle experiment measures.
#
# Our critic is not that good, because the penalty and the few updates make its score a much flatter function of the
# image. The `gap` of section 2.3 shows this. It is the mean score of real images minus that of generated ones. With the
# best possible score of whole images it would be $KL(p_d \| G) + KL(G \| p_d)$. Notebook 03 measures both on the codes,
# and finds tens of nats for each. In the committed run the gap of this critic is less than 1. So its scores can rank
# images, but their size cannot be read in nats.
#
# ### 2.3 Can the critic see anything?
#
# The generator learns from the critic alone. If the critic cannot tell real from fake, its scores are numbers about
# *something else*. Their policy gradient may well be clear (notebook 11), but it says nothing about realism. And $G$
# does not stand still then. Adam scales any gradient to steps of about the learning rate, so $G$ drifts away from
# where MLE had brought it. For this reason look at these numbers before any RAL run:
#
# | number | what it means |
# |---|---|
# | `AUC` | the chance that a real image held out from training scores above a fake one; 0.5 is chance, 1 perfect |
# | `gap` | mean score of real minus mean score of fake images, in the critic's own units (compare signs, not sizes) |
#
# We now train three critics alone, each for the same number of updates, while $G$ stands still. The next figure has a
# panel for each of the two numbers and a curve for each critic, over the updates. Look first at how far the AUC rises
# above 0.5, the dotted line.

# %%
updates = cfg.warmup
critics, runs = {}, {}
for name, how in configs.items():
    critics[name], runs[name] = study.critic_alone(name, first, how, updates)

# %%
fig = plots.curves({name: [history] for name, history in runs.items()}, ("AUC", "gap"))
fig.axes[0].axhline(0.5, color="black", linewidth=0.8, linestyle=":")
data = {name: {key: runs[name][key] for key in ("step", "AUC", "gap")} for name in runs}
record.figure("04-04-critics", fig, title="Three critics trained alone against the MLE generator", data=data)

# %% [markdown]
# All three critics rise above chance. The two with layer normalisation reach a higher AUC, and sooner, than the one
# without. The gap may go on growing while the AUC stands still, so larger scores do not mean a better ranking. Each
# critic has its own unit, so gaps of different critics cannot be compared.

# %%
rows = [{"critic": name, "AUC": h["AUC"][-1], "gap": h["gap"][-1]} for name, h in runs.items()]
note = (
    f"After {updates} updates of {cfg.critic_batch} real and as many fake images; measured on {world.config.n_curve} "
    f"held-out real images and as many samples, seed {first}."
)
record.table("04-05-critics", rows, title="What three critics can see of the MLE generator", note=note)

# %%
best = max(critics, key=lambda name: runs[name]["AUC"][-1])
critic, cfg = critics[best], configs[best]  # from here on those of the best critic
gains = {name: h["AUC"][-1] - 0.5 for name, h in runs.items()}
paper = next(iter(gains))
Markdown(
    f"After {updates} updates **{best}** sees best: AUC {gains[best] + 0.5:.3f}, which is {gains[best]:+.3f} from "
    f"chance. The paper's kind of critic, {paper}, has an AUC of {gains[paper] + 0.5:.3f} ({gains[paper]:+.3f}). "
    f"From here on, the critic of this notebook is **{best}**. We take the one with the highest AUC because we have no "
    "better measure yet; notebook 11 tests what that is worth."
)

# %% [markdown]
# This comparison is a small one. It cannot say what the paper's loss and normalisation would do with its larger
# images, larger networks and longer runs. Where your table shows another order of the critics, believe the table.
#
# Next comes a well-known slip, which is to take the norm of the penalty per pixel, over the three colours, and not
# per image. Then the penalty asks *every pixel* for a slope of 1, and no useful critic has such slopes. The next cell
# takes the trained critic of the paper's kind, and computes its penalty in both ways.

# %%
x = real.clone().requires_grad_()
(slope,) = torch.autograd.grad(critics[paper](x).mean((1, 2)).sum(), x)
for what, norm in {"image": slope.flatten(1).norm(dim=1), "pixel": slope.norm(dim=1)}.items():
    print(f"norm per {what} {norm.mean():.3f}: penalty {((norm - 1) ** 2).mean():.3f}")

# %% [markdown]
# The critic was trained with the norm per image, so its slope per image is close to 1, and this penalty is small. The
# slope of a single pixel is close to 0, so the penalty per pixel is close to 1, for the same critic.
#
# The next figure shows what score maps look like. It lays the score maps of a fresh critic, and then those of the
# trained one, over a real image and over a generated one. Blue regions look real to the critic, and red regions look
# fake. A very dark red over a grey picture can look purple, and it still means a low score. $D$ is the mean of the map.
# Two images cannot show what the critic has learnt, so read that from the AUC above.

# %%
views = [(who, kind) for who in ("fresh", "trained") for kind in ("real", "MLE sample")]
judges = {"fresh": fresh[cfg.critic_norm], "trained": critic}
images = {"real": real[:1], "MLE sample": fake[:1]}
with torch.no_grad():
    maps = [judges[who](images[kind])[0] for who, kind in views]
limit = max(S.abs().max().item() for S in maps)  # one scale, so that the panels' colours can be compared
fig, axes = plots.new_figure(1, 4, (2.1, 2.2))
for ax, (who, kind), S in zip(axes[0], views, maps, strict=True):
    plots.score_overlay(images[kind][0], S, ax, f"{who}, {kind}\nD = {S.mean():+.2g}", limit)
record.figure("04-06-score-maps", fig, title="Score maps before and after training (blue: real, red: fake)")

# %% [markdown]
# Each map has few scores, and all panels share one scale of colours. In the committed run both critics give this real
# image a *lower* score than this sample. For the trained critic that is no contradiction, because a critic with an AUC
# of .8 ranks one pair in five the wrong way round. What counts is the ranking over many pairs, which the AUC measures.
#
# ## 3. Rewards
#
# RAL turns the critic's scores into rewards in one of two ways. The **single reward** comes once, at the end:
#
# $$r_t = \begin{cases} 0, & t < T \\ D(\tilde x), & t = T \end{cases} \quad (6)$$
#
# Actions are numbered from 0 to $T-1$ and rewards from 1 to $T$, because $r_{t+1}$ is the answer to $a_t$.
#
# The **intermediate rewards** are the score map itself, up-sampled to the size of the code map. So the reward
# $r_{t+1}$ is what the score map says at the place of the code $c_t$. The next two cells compute both by hand and
# compare them with `ralkit`. The figure shows one score map, and the rewards that two kinds of up-sampling make of it.
# Nearest copies the closest score, and bilinear blends between neighbouring scores.

# %%
torch.manual_seed(seed)
codes = G.sample(cfg.rollouts, shape)
with torch.no_grad():
    fake_map = critic(decode(codes))
    real_map = critic(decode(real_codes[torch.randint(len(real_codes), (cfg.rollouts,), device=world.device)]))

single = torch.zeros(len(codes), T, device=world.device)  # r_1 .. r_T
single[:, -1] = fake_map.mean((1, 2))  # Eq. 6
intermediate = F.interpolate(fake_map[:, None], shape, mode="bilinear").flatten(1)

# %%
assert torch.allclose(single, ral.rewards(fake_map, shape, "single"))
assert torch.allclose(intermediate, ral.rewards(fake_map, shape, "intermediate"))
nearest = ral.rewards(fake_map, shape, "intermediate", "nearest").view(-1, H, W)
maps = {"score map S": fake_map[0], "nearest": nearest[0], "bilinear": intermediate[0].view(H, W)}
plots.value_maps(maps, limit=fake_map[0].abs().max().item())

# %% [markdown]
# *Nearest* makes blocks of equal rewards, and *bilinear* blends them. But up-sampling adds nothing: the few scores of
# the map are all that there is to learn from.
#
# ## 4. Returns
#
# A code is praised only for what comes *after* it. Its **return** adds up all later rewards, and each step of delay
# multiplies a reward by $\gamma$ (gamma), which is at most 1:
#
# $$Q(s_t, a_t) = \sum_{k=t+1}^T \gamma^{k-t-1} r_k \quad (3)$$
#
# In a tensor of $r_1 \dots r_T$ the reward $r_k$ has the index $k-1$.


# %%
def Q_by_definition(r, gamma):
    """Eq. 3 as it stands: rewards r_1 .. r_T (B, T) -> Q (B, T)."""
    T, Q = r.shape[1], torch.zeros_like(r)
    for t in range(T):
        for k in range(t + 1, T + 1):
            Q[:, t] += gamma ** (k - t - 1) * r[:, k - 1]
    return Q


# %%
for r in (single, intermediate):
    assert torch.allclose(Q_by_definition(r[:4], 0.9), ral.returns(r[:4], 0.9), rtol=1e-3, atol=1e-6)
print(f"{T * (T + 1) // 2} terms by Eq. 3; {T} by ralkit.ral.returns, backwards: Q_t = r_(t+1) + gamma Q_(t+1)")

# %% [markdown]
# Now we can draw the paper's Fig. 2 from data. Codes are decoded, the critic scores regions of the image, and the
# scores go back to the codes. The first row follows a real image from its codes to its score map, and ends with the
# histogram of all real and fake scores of a batch. The second row does the same for a fake image, and ends with its
# score map alone, with a colour bar. The third row shows the rewards $r$ and the returns $Q$ of this fake image, first
# for intermediate rewards, then for the single reward. In the score maps, the rewards and the returns, blue stands for
# numbers above 0 and red for numbers below 0.


# %%
def framework(i, gamma):
    """The paper's Fig. 2 for roll-out i: real path, fake path, rewards and Q of both kinds."""
    fig, axes = plots.new_figure(3, 4, (2.5, 2.0))
    for row, kind, c, S in ((0, "real", real_codes[i], None), (1, "fake", codes[i], fake_map[i])):
        image = decode(c[None])
        with torch.no_grad():
            S = critic(image)[0] if S is None else S
        plots.code_map(c, G.K, axes[row, 0], f"{kind} codes")
        plots.picture(axes[row, 1], plots.to_pixels(image)[0], f"{kind} image")
        plots.score_overlay(image[0], S, axes[row, 2], f"score map, D = {S.mean():+.2g}")
    for label, m in {"real": real_map, "fake": fake_map}.items():
        axes[0, 3].hist(m.flatten().cpu().numpy(), 40, density=True, histtype="step", label=label)
    axes[0, 3].legend(fontsize=7)
    axes[0, 3].set_title("all scores of a batch (density)", fontsize=9)
    plots.value_map(fake_map[i], axes[1, 3], "score map S")
    for j, (kind, r) in enumerate({"intermediate": intermediate, "single": single}.items()):
        plots.value_map(r[i].view(H, W), axes[2, 2 * j], f"{kind}: $r$")
        plots.value_map(ral.returns(r, gamma)[i].view(H, W), axes[2, 2 * j + 1], f"{kind}: $Q$, $\\gamma$ = {gamma:g}")
    return fig


# %%
fig = framework(0, cfg.gamma)
title = "The RAL framework (the paper's Fig. 2), drawn from real data"
record.figure("figure-2", fig, title=title, data={"score_map": fake_map[0].tolist()})

# %% [markdown]
# Real scores are higher on average, but the histograms overlap. With intermediate rewards the returns of this image
# grow in size from the last code to the first, because an early code collects all later rewards, which here are all
# below 0. With the single reward at gamma 1 every code has the same return. The colour bars of the two $Q$ differ,
# because the $T$ intermediate rewards add up to $T$ times $D$, while the single reward is $D$ itself. Such a common
# factor hardly matters, because Adam scales its steps to about the learning rate.
#
# ### What gamma does to a map
# With a reward only at the end, the return is $Q(s_t, a_t) = \gamma^{T-1-t} D(\tilde x)$. So gamma gives each code a
# weight, and this weight depends on how long the sequence is. The same gamma that is harmless for a small map silences
# the first codes of a large one. In raster order the first codes are always the top of the image.
#
# The next figure shows the weight of each code, with white for 0 and dark blue for 1. Each row is a size of the code
# map, from small to large, and each column is a gamma. Look at the top of the maps.

# %%
gammas, sides = (0.9, 0.99, 1.0), (8, 16, 32)
weight = lambda gamma, T: gamma ** torch.arange(T - 1, -1, -1.0)  # noqa: E731
assert torch.allclose(ral.returns(single, 0.9), single[:, -1:] * weight(0.9, T).to(world.device))
fig, axes = plots.new_figure(len(sides), len(gammas), (1.9, 1.8))
for ax, (n, g) in zip(axes.flat, [(n, g) for n in sides for g in gammas], strict=True):
    plots.picture(ax, weight(g, n * n).view(n, n), f"T = {n * n}, $\\gamma$ = {g:g}", cmap="Blues", vmin=0, vmax=1)
fig.colorbar(ax.images[0], ax=axes.ravel().tolist(), shrink=0.5, label="weight")
record.figure("04-07-gamma", fig, title="The weight gamma^(T-1-t) of each code under the single reward")

# %% [markdown]
# At gamma .9 only the last rows of any map count. At .99 the top of a small map keeps about half of its weight, but the
# top of a large one keeps next to none. At 1 all codes count alike. The table has the weight of the first code.

# %%
rows = [{"T": n * n} | {f"gamma = {g:g}": g ** (n * n - 1) for g in gammas} for n in (8, 16, 32, 64)]
record.table("04-08-gamma", rows, title="Weight of the first code, gamma^(T-1), under the single reward")

# %% [markdown]
# Intermediate rewards are different. There a small gamma does not silence early codes. It makes every code answer
# only for the scores just after it, within a *horizon* of about $1 / (1 - \gamma)$ codes. But a neighbour in the
# image need not come soon in raster order. The place just below a code is drawn $W$ codes later, so a horizon much
# shorter than $W$ leaves it out.
#
# ## 5. Normalisation and baseline
#
# The critic changes all the time, and the size of its scores changes with it. So the paper normalises them: "Outputs
# from the discriminator are first normalized to the range of (−1, 1) [...] with respect to the highest value from a set
# of fake and real images". The next figure shows three ways to read this sentence. In `none` the scores stay as they
# are. In `max` they are divided by the largest absolute score. In `min-max` the lowest score becomes −1 and the highest
# becomes 1. Each panel has the histograms of real and fake scores. Our runs use `max`, but sections 3 to 5 keep the raw
# scores, so that one sees the critic's own numbers.

# %%
scale = torch.cat([fake_map, real_map]).abs().max()
assert torch.allclose(fake_map / scale, ral.normalise(fake_map, real_map, "max"))

fig, axes = plots.new_figure(1, 3, (3.2, 2.3))
for ax, how in zip(axes[0], ("none", "max", "min-max"), strict=True):
    for label, (a, b) in {"real": (real_map, fake_map), "fake": (fake_map, real_map)}.items():
        ax.hist(ral.normalise(a, b, how).flatten().cpu().numpy(), 40, density=True, histtype="step", label=label)
    ax.set(title=f'normalise="{how}"', xlabel="score", xlim=None if how == "none" else (-1.05, 1.05))
axes[0, 0].set_ylabel("density")
axes[0, 0].legend(fontsize=8)
record.figure("04-09-normalise", fig, title="Scores of real and fake images under three normalisations")

# %% [markdown]
# The shapes of the histograms stay, and only their axis changes. With `max`, one extreme score sets the scale, so most
# scores lie near 0. With `min-max` they may lie anywhere between the ends.
#
# Dividing by the largest score settles the scale of the rewards, but not their **zero**, that is which score counts as
# neither good nor bad. Eq. 5 does not change when a constant is added to all scores, so the scores of a WGAN critic may
# lie anywhere. The logistic loss, which our critic has in the committed run, does have a zero, so we add the constant
# by hand. Suppose that it is large, and that we then divide by the largest absolute value. Then all rewards are close
# to 1, and a good and a bad image differ by very little. Under `min-max` this cannot happen, because the constant
# cancels.
#
# The next figure shows this, with the added constant growing to the right. One curve is the mean of the normalised
# rewards, which tells $G$ nothing. The other is their spread between images (the standard deviation), which is all that
# can tell $G$ anything. Look at what is left of it at the right end.

# %%
offsets = torch.linspace(0, 10, 41)
shifted = [image_score(ral.normalise(fake_map + c * scale, real_map + c * scale, "max")) for c in offsets.tolist()]
fig, ((ax,),) = plots.new_figure(size=(4.8, 2.9))
ax.plot(offsets, [r.mean().item() for r in shifted], label="mean over images")
ax.plot(offsets, [r.std().item() for r in shifted], label="spread between images")
ax.set(xlabel="constant added, in units of the largest score", ylabel="normalised reward", ylim=(None, 1.05))
ax.legend(loc="center right", fontsize=8)
record.figure("04-10-constant", fig, title="Dividing by a maximum does not remove a constant")

# %% [markdown]
# The mean climbs towards 1. In the committed run the spread first rises a little, because the score that is largest in
# size is a negative one, and a small constant brings it nearer to 0. Then the spread falls to about a tenth of what it
# was.
#
# The small spread alone does little harm, because it only makes all gradients smaller by the same factor (section 4).
# But a mean that is many times the spread adds much noise to the gradient, as the end of this section shows.
#
# The remedy is a **baseline**: we subtract from $Q$ what an average roll-out gets. This takes the mean away and leaves
# the differences between roll-outs. What is left is called the **advantage** $A$. The baseline must not depend on the
# action that it judges, or the gradient is biased, that is, wrong also on average. So for each roll-out we take the
# mean of the *others*, which is called leave-one-out. For roll-out $b$ of $B$ it is
#
# $$A_t^{(b)} = Q_t^{(b)} - \frac{1}{B-1} \sum_{b' \ne b} Q_t^{(b')}$$


# %%
def leave_one_out(Q):
    """Q (B, T) less the mean of the other B - 1 roll-outs at the same t."""
    return torch.stack([Q[b] - torch.cat([Q[:b], Q[b + 1 :]]).mean(0) for b in range(len(Q))])


Q = ral.returns(intermediate.double(), cfg.gamma)
assert torch.allclose(leave_one_out(Q), ral.advantages(Q, "leave-one-out"))

# %% [markdown]
# There is one baseline for each $t$, and that does more than remove a constant. The baseline also removes what depends
# only on the position. Such effects are the typical scores at a place, and the number of rewards that are still to
# come. The next figure shows how much that is. The left map is $Q$ of one roll-out, the middle one is the mean of all
# roll-outs, and the right one is the advantage of the one roll-out. All three share one colour scale. Compare the left
# map with the middle one. In the committed run the left one is paler, so this roll-out got more than the average.

# %%
A = ral.advantages(Q, "leave-one-out")
maps = {"Q of one roll-out": Q[0], "Q, mean of all": Q.mean(0), "advantage of the one": A[0]}
limit = max(x.abs().max().item() for x in maps.values())  # one scale, so that the maps can be compared
fig = plots.value_maps({title: x.view(H, W) for title, x in maps.items()}, columns=3, limit=limit)
print(f"{Q.mean(0).var() / Q.var():.0%} of the variance of Q is between places, the same for every roll-out")
record.figure("04-11-baseline", fig, title="Returns, their mean at each place, and what a baseline leaves")


# %% [markdown]
# The first two maps grow in size from the bottom to the top in the same way, and the baseline takes this common part
# away. The advantage still grows in size towards the top, because at gamma 1 the difference between this roll-out and
# the others adds up over all codes that are still to come. So read its sign, and not its size. Where it is above 0, the
# rest of this roll-out got more than the rest of the others did. The number above the figure says how much of the
# variance of $Q$ is a matter of place. The rest is the difference between roll-outs, and this is what $G$ learns from.
#
# Next comes the loss whose gradient is minus Eq. 2. We write it by hand and check it against `ralkit`. Then comes the
# test that matters. We add a constant to the raw scores, without dividing by the largest one, and see how much the
# gradient changes.


# %%
def policy_gradient_loss(log_prob, A):
    """Minus the mean over roll-outs of sum_t A_t log G(a_t | s_t), both (B, T)."""
    return -sum((A[b].detach() * log_prob[b]).sum() for b in range(len(A))) / len(A)


def flat_gradient(value, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


log_prob = G.log_prob(codes).flatten(1)
by_hand = flat_gradient(policy_gradient_loss(log_prob, Q), G)
log_prob = G.log_prob(codes).flatten(1)
from_ralkit = flat_gradient(ral.policy_gradient_loss(log_prob, Q), G)
assert (by_hand - from_ralkit).norm() < 1e-2 * from_ralkit.norm()


# %%
def gradient(constant, baseline):
    """The policy gradient when `constant` is added to all scores (in float64, to compare closely)."""
    r = ral.rewards(fake_map.double() + constant, shape, "intermediate")
    A = ral.advantages(ral.returns(r, cfg.gamma), baseline)
    return flat_gradient(ral.policy_gradient_loss(G.log_prob(codes).flatten(1), A), G)


change = {}
for baseline in ("none", "leave-one-out"):
    g = gradient(0, baseline)
    change[baseline] = ((gradient(10 * scale, baseline) - g).norm() / g.norm()).item()
    print(f"baseline {baseline}: adding a constant changes the gradient by {change[baseline]:.2g} times its length")
assert change["leave-one-out"] < 1e-2 < change["none"]

# %% [markdown]
# The constant is ten times the largest score. In the committed run, without a baseline, it changes the gradient by
# about thirty times the gradient's own length, although it says nothing about any image. On average over many batches
# of roll-outs this change is 0 (step 2 in section 1), so in one batch it is pure noise. With the leave-one-out
# baseline the constant changes nothing beyond rounding.
#
# ## 6. One RAL iteration
#
# Now all pieces are there. The next figure puts them together, with one real and one fake image and the critic's scores
# of the fake. Solid arrows carry values, and dashed arrows are gradients that change weights. There are two of these.
# One ends at the critic and the other at the prior, and the one for the prior does not pass through the critic or the
# decoder. The numbers are steps 1 to 5 of the list below.

# %%
real_image, fake_image = decode(real_codes[:1])[0], decode(codes[:1])[0]
fig = diagrams.one_iteration(real_image, fake_image, fake_map[0])
record.figure("04-14d-iteration", fig, title="One RAL iteration: values (solid) and gradients (dashed)")

# %% [markdown]
# The next cell is that picture as code, for one level of codes. The numbers in its comments are those of the figure.
#
# 1. **Sample once.** $G$ changes only at the end. So one call of the cached sampler (notebook 02), without a graph,
#    gives the fakes for all critic updates and the roll-outs for the policy gradient.
# 2. **Decode.** Real and fake codes go through the same frozen decoder, so the critic cannot use the decoder's flaws
#    to tell them apart.
# 3. **Update the critic** (section 2.2). Each update has its own slice of the images. The roll-outs that the prior
#    learns from are not among them.
# 4. **Assess.** The score maps become normalised scores, then rewards, returns and advantages, as in sections 3 to 5.
#    No gradient goes through any of this.
# 5. **Follow the policy gradient.** One forward pass gives the log-probabilities, and Adam makes one step, Eq. 4.


# %%
def descend(loss, optimiser):
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def iteration(G, critic, prior_optimiser, critic_optimiser):
    """One iteration of RAL with one level of codes (section 4.4)."""
    size = cfg.critic_batch
    n = cfg.critic_updates * size  # images for the critic; the roll-outs come after them
    # 1: whole maps, from row 0 to row H (the rows before the first would come from `real_codes`)
    (c,) = ral.roll_out((G,), (real_codes,), n + cfg.rollouts, 0, H)
    fake, real = decode(c), decode(*ral.draw_real((real_codes,), n + size, H))  # 2: `size` more real ones, for 4
    for f, r in zip(fake[:n].split(size), real[:n].split(size), strict=True):  # 3: one slice for each update
        descend(LOSSES[cfg.critic_loss](critic, r, f, cfg.penalty), critic_optimiser)
    with torch.no_grad():  # 4: the roll-outs and the real images after the slices
        S = ral.normalise(critic(fake[n:]), critic(real[n:]), cfg.normalise)
    Q = ral.returns(ral.rewards(S, shape, cfg.reward, cfg.upsample), cfg.gamma)
    A = ral.advantages(Q, cfg.baseline)
    log_prob = G.log_prob(c[n:]).flatten(1)  # 5
    descend(-(A * log_prob).sum(1).mean(), prior_optimiser)


# %% [markdown]
# Does it do what `ralkit` does? We let both make one iteration from the same weights and the same random numbers, and
# compare how the weights of the prior and of the critic have moved. The steps here are those of plain gradient descent,
# because a first step of Adam hides the size of a gradient.


# %%
def one_step(step):
    """How far one iteration, made by `step`, moves the weights of the prior and of the critic."""
    networks = (*study.generator("MLE", first), copy.deepcopy(critic))
    weights = lambda net: torch.cat([p.detach().flatten() for p in net.parameters()])  # noqa: E731
    before = [weights(net) for net in networks]
    torch.manual_seed(seed)
    step(*networks, *(torch.optim.SGD(net.parameters(), 0.01) for net in networks))
    return [weights(net) - old for net, old in zip(networks, before, strict=True)]


by_hand = one_step(iteration)
from_ralkit = one_step(lambda G, critic, *both: ral.ral_iteration((G,), decode, critic, *both, (real_codes,), cfg))
for name, a, b in zip(("prior", "critic"), by_hand, from_ralkit, strict=True):
    assert (a - b).norm() < (1e-3 if world.device.type == "cpu" else 0.1) * b.norm()
    print(f"{name}: both moved by {b.norm():.2e}, and they differ by {(a - b).norm():.0e}, which is at most rounding")

# %% [markdown]
# The file [`ral_minimal.py`](ral_minimal.py) goes on from here. It has all of RAL in 140 lines, and loads only the world
# with its prior and its decoder. It trains in two minutes, so begin with it if you want to change RAL.
#
# The next cell prints the function that `ralkit` runs. It is written for one level of codes or two. Here there is one
# level, so `priors` and `codes` hold one element each, and the loop over levels runs once. A few names need a word:
#
# * `first` and `last` bound the rows that are sampled, and here whole maps are sampled.
# * `learning_levels` and `own_and_above` choose among the levels, and here there is only one.
# * `score_advantages` makes the advantages of step 4 from the score maps.
# * `losses` gives the loss of step 5, in parts of `at_once` roll-outs to save memory.
# * `distributed` joins the scores of several processes, so with one process it does nothing.
# * `kl`, `reference` and `extra_rewards` add a reward that is not in the paper (notebook 08), but here `kl` is 0.

# %%
Markdown(f"```python\n{inspect.getsource(ral.ral_iteration)}```")

# %% [markdown]
# The next cell runs a few iterations on copies of the prior and the critic.

# %%
torch.manual_seed(seed)
(prior,), judge = study.generator("MLE", first), copy.deepcopy(critic)
prior_optimiser = torch.optim.Adam(prior.parameters(), cfg.lr_prior, (0.5, 0.999))
critic_optimiser = torch.optim.Adam(judge.parameters(), cfg.lr_critic, (0.5, 0.999))
for i in range(4):
    logs = ral.ral_iteration((prior,), decode, judge, prior_optimiser, critic_optimiser, (real_codes,), cfg)
    print(f"iteration {i}: " + ", ".join(f"{key} {value.item():.4g}" for key, value in logs.items()))

# %% [markdown]
# Do not look for progress in these lines. `critic_loss` is the loss of the critic's last batch. In the committed run it
# is not far below $2 \log 2 = 1.39$, the loss of a logistic critic that gives every image the score 0. `prior_loss` is
# minus the mean of $\sum_t A_t \log G(a_t | s_t)$ over the roll-outs. Only its gradient matters. Its value is no
# measure of quality, because each iteration has other roll-outs and other advantages. `reward` is the mean score of the
# fakes, but the critic that gives it changes as well. For these reasons a run is judged by the numbers of the next
# section.
#
# ## 7. A run
#
# This is the same run as in notebook 03, and it is loaded if that notebook made it. It has the preset's settings, the
# intermediate reward and the first seed. Beside it stands the **control**, a run without RAL for comparison. It is
# called *MLE continued*, because it trains on by maximum likelihood, for about as long. Its updates are cheaper, so
# it makes three for each update of RAL, and the horizontal axis counts updates of RAL for both.
#
# The next figure has a panel for each of these numbers (except `gap`) over the updates. The oracle's own value is a
# dotted line where there is one (AUC and SNR have none):
#
# | number | what it means |
# |---|---|
# | `NLL_oracle` | Eq. 7: how many nats an image the samples of $G$ cost under the oracle; lower is more plausible (**quality**) |
# | `entropy` | how many nats the samples of $G$ cost under $G$ itself; falls when RAL concentrates $G$ on fewer images |
# | `KL(G‖oracle)` | `NLL_oracle` − `entropy`: 0 is perfect. It grows much when $G$ draws implausible images, and only a little when $G$ leaves some images out (notebook 03), so read it beside `NLL_test` |
# | `NLL_test` | how many nats fresh oracle codes cost under $G$; grows when $G$ forgets some of them (**diversity**) |
# | `AUC`, `gap` | of the critic, as in section 2.3. If the AUC falls, $G$ caught up, or the critic fell behind; if it rises, the critic learns faster than $G$ |
# | `SNR` | the signal-to-noise ratio of the policy gradient: the length of the mean gradient over roll-outs, divided by the standard error of this mean; about 1 is noise only (notebook 11) |
#
# In the panel of `NLL_oracle` look whether RAL falls further than the control. Then look at `NLL_test` to see what
# that costs.

# %%
ours = world.config.ral
(after,), _ = study.ral("RAL intermediate", first)
shown = {name: [in_updates(name, study.history(name, first))] for name in ("MLE continued", "RAL intermediate")}
keys = ("NLL_oracle", "entropy", "KL(G||oracle)", "NLL_test", "AUC", "SNR")
fig = plots.curves(shown, keys, "updates of RAL", world.own_numbers)
data = {name: {key: h[key] for key in ("step", *keys) if key in h} for name, (h,) in shown.items()}
record.figure("04-15-run", fig, title="One RAL run beside MLE continued (first seed)", data=data)


# %%
def story(name):
    """What a run did to quality and diversity, in a sentence with its numbers."""
    h = study.history(name, first)
    change = {key: h[key][-1] - h[key][0] for key in ("NLL_oracle", "entropy", "KL(G||oracle)", "NLL_test")}
    noise = 2 * (h["NLL_oracle_se"][0] ** 2 + h["NLL_oracle_se"][-1] ** 2) ** 0.5
    verdict = "more than" if abs(change["NLL_oracle"]) > noise else "within"
    return (
        f"**{name}**, {h['step'][-1]} updates: "
        + ", ".join(f"{key} {h[key][0]:.2f} → {h[key][-1]:.2f} ({d:+.2f})" for key, d in change.items())
        + f". The change of NLL_oracle is {verdict} two standard errors ({noise:.2f})."
    )


Markdown("\n\n".join(story(name) for name in shown))

# %% [markdown]
# In the committed run NLL_oracle falls with RAL, and the control stays where it was. About half of the fall is a fall
# of the entropy, so KL(G‖oracle) falls by less. RAL's curves in nats level off in the second half. This does not show
# that RAL has converged, because in `deep` the prior's learning rate falls to 0 there (`anneal` in section 8). A lower
# entropy alone is not a fault here, because the entropy of $G$ is still above that of the oracle, the dotted line. But
# NLL_test rises, so on average real images became less likely under $G$, and this is the price in diversity. AUC and
# SNR only go up and down: the critic still sees a difference, and the gradient stays a little above its noise.
#
# This is one run, but notebook 03 has the same with three seeds. There both the fall of NLL_oracle and the rise of
# NLL_test are decided against the control. Yet RAL does not beat colder MLE by these two numbers, because at equal
# NLL_test colder MLE has the lower NLL_oracle, which is decided, too. RAL does not beat rejection either, where a
# critic chooses among samples of MLE (notebook 08, section 3).
#
# The next figure shows samples before RAL (upper row) and after it (lower row), drawn with the same random numbers. Some
# columns keep their background. But where the two policies differ at one code, everything after it may become different.

# %%
pictures = {
    name: decode(*world.sample((prior,), 10, seed)) for name, prior in {"MLE": G, "RAL intermediate": after}.items()
}
fig = plots.labelled_rows(pictures)
record.figure("04-16-samples", fig, title="Samples before and after RAL, same random numbers")

# %% [markdown]
# RAL's faces look cleaner, and fewer of them mix parts of several faces. Ten images cannot show whether diversity was
# lost, so trust NLL_test there.
#
# ## 8. The paper's literal setting
#
# `RalConfig()` holds what section 4.4 of the paper says. The presets change some of it, and the table below lists the
# differences. It is made from the settings themselves, so nothing in it is typed by hand. The figure after it sets a
# run with the paper's literal setting beside the preset's run. Its panels show `NLL_oracle`, KL(G‖oracle) and the
# critic's AUC over the updates.

# %%
literal = study.recipe("RAL literal")
rows = [
    {"setting": key, "paper, literally": value, f"preset {world.project.preset.name}": asdict(ours)[key]}
    for key, value in asdict(literal).items()
    if value != asdict(ours)[key]
]
side = world.config.size // 2**ours.critic_stages
note = (
    "The paper gives neither the number of updates nor the critic's width: both are ours. Its critic has 5 strided "
    'convolutions, "which output a 4×4 reward map from a 128×128 image" (section 5.1); the preset\'s, in both columns, '
    f"has {ours.critic_stages}, which give {side}x{side} from {world.config.size}x{world.config.size}."
)
record.table("04-17-settings", rows, title="Where the preset departs from section 4.4", note=note)

# %%
(literal_prior,) = study.generator("RAL literal", first)
shown = {name: [study.history(name, first)] for name in ("RAL intermediate", "RAL literal")}
fig = plots.curves(shown, ("NLL_oracle", "KL(G||oracle)", "AUC"))
data = {name: {key: h[key] for key in ("step", *keys)} for name, (h,) in shown.items()}
record.figure("04-18-literal", fig, title="The paper's literal setting beside the preset's", data=data)


# %%
def moved(prior):
    """Length of the way from the MLE parameters, relative to their length."""
    pairs = [(q.detach(), g.detach()) for q, g in zip(prior.parameters(), G.parameters(), strict=True)]
    return (sum((q - g).square().sum() for q, g in pairs) / sum(g.square().sum() for _, g in pairs)).sqrt().item()


h = study.history("RAL literal", first)
Markdown(
    story("RAL literal")
    + f" Its critic's AUC went {h['AUC'][0]:.3f} → {h['AUC'][-1]:.3f}, the gradient's SNR {h['SNR'][0]:.2f} → "
    f"{h['SNR'][-1]:.2f}. Its parameters moved by {moved(literal_prior):.1e} times their length, those of the preset's "
    f"run by {moved(after):.1e}; the learning rates are {literal.lr_prior:g} and {ours.lr_prior:g}."
)

# %% [markdown]
# Read this result with care. Its critic starts with a lower AUC than the critic of the same kind in section 2.3, and
# it also had fewer updates, smaller batches and a smaller learning rate before the run (`warmup`, `critic_batch` and
# `lr_critic` in the table). The paper's learning rate for the prior is meant for networks many times larger, and for
# runs of a length that the paper does not give. Over as many updates as ours the prior can hardly leave its place. So
# this does *not* show that the paper's setting fails. It shows that at our size and length one has to change it. The
# appendix, [10_ablations](10_ablations.ipynb), section 2, measures which of the changes counts, one at a time.
#
# ## 9. Readings and deviations
#
# Each point says what the paper says, how we read it, and where in `ralkit` it is.
#
# 1. "we only do one Monte-Carlo roll-out": one finished map serves all its times $t$, because its own rest is the
#    roll-out of each $(s_t, a_t)$. → `ral.ral_iteration`
# 2. "normalized to the range of (−1, 1) [...] with respect to the highest value from a set of fake and real images":
#    we divide by the largest absolute score of this step's maps, and also offer `min-max` and `none`. →
#    `ral.normalise`
# 3. The paper mentions no baseline, so `none` is the default. **Deviation** in our presets: leave-one-out. →
#    `ral.advantages`
# 4. "upsampling the score map S to the original size of the latent codemap": we up-sample bilinearly, and also offer
#    nearest. → `ral.rewards`
# 5. "$D(\tilde x)$ is the average value of the score map": we read it so in Eq. 5 too, so the penalty is on the
#    gradient of the average. → `critic.image_score`
# 6. "an image sampled uniformly along a straight line between real and generated images": we draw one $\epsilon$ for
#    each image, and take the norm over all its pixels. → `critic.wgan_gp`
# 7. "a similar structure to the PatchGAN discriminator": ours has strided 4x4 convolutions, LeakyReLU, a 3x3 head and
#    no norm. **Deviation** in our presets: layer norm, and other numbers of convolutions (section 8). →
#    `critic.PatchCritic`
# 8. "We use the WGAN loss [6,20]": this is the default. **Deviation** in our presets: the logistic loss with R1,
#    because of its AUC (section 2.3). → `critic.LOSSES`
# 9. "the discriminator is trained for 100 iterations to catch up": the critic makes `warmup` updates before the first
#    update of the prior. **Deviation** in our presets: another number. Runs with the same warm-up share it. →
#    `ral.warm_up`, `Study.ral`
# 10. "for each PixelCNN update, the discriminator is updated 5 times": $G$ stands still meanwhile, so one call samples
#     for all of these updates. **Deviation** in our presets: another number. → `RalConfig.critic_updates`
# 11. "real images are also their reconstructed version": we decode real codes. In the oracle experiment these are
#     codes of the oracle. → `ral.ral_iteration`
# 12. "the discounted factor γ to 0.99": this is the default. Its effect depends on $T$ (section 4), so presets may
#     differ. → `ral.returns`
# 13. "the mini-batch size of 16": we use it for the critic and for the prior. **Deviation** in the larger presets:
#     more, for the sake of the SNR. → `RalConfig.rollouts`, `RalConfig.critic_batch`
# 14. The paper is silent on dropout. We turn it off, so that the policy that is differentiated is the one that was
#     sampled from. → `training.train_ral`
# 15. The paper is silent on the number of iterations. Ours is `updates`, and it also sets the length of the control. →
#     `RalConfig.updates`
# 16. "Parameters of Encoder & Decoder are fixed": the decoder is called without a graph. → `vqvae.VQVAE.decode`
# 17. "Since each code is contained in a local region": we take this as it stands. A code also changes the scores of
#     places before it, but Eq. 3 leaves this out, and so do we (notebook 11). → `ral.returns`
# 18. "1e-4, 4e-6": these learning rates are the defaults. **Deviation** in our presets: larger ones, and in the larger
#     presets the prior's rate falls to 0. → `RalConfig.lr_critic`, `RalConfig.lr_prior`, `RalConfig.anneal`
#
# ## 10. Play: gamma and the kind of reward
#
# Choose a roll-out, a kind of reward, a gamma and a baseline. The left panel shows the normalised score map over the
# image, the middle one the rewards, and the right one the weight that each code gets in the policy gradient.
#
# Try three things. Take the single reward with gamma 0.9: which rows keep a weight? Take the intermediate reward with
# gamma 0: why is the right panel equal to the middle one? Then set gamma to 1, as in `deep`, and switch the baseline
# on: for which roll-outs is the right panel blue?


# %%
def explore(picture=0, reward="intermediate", gamma=0.9, upsample="bilinear", baseline="none"):
    """Score map, rewards and the weight of each code, for one of the roll-outs."""
    scores = ral.normalise(fake_map, real_map, cfg.normalise)
    r = ral.rewards(scores, shape, reward, upsample)
    A = ral.advantages(ral.returns(r, gamma), baseline)
    fig, axes = plots.new_figure(1, 3, (2.7, 2.3))
    plots.score_overlay(decode(codes[picture : picture + 1])[0], scores[picture], axes[0, 0], "normalised score map")
    plots.value_map(r[picture].view(H, W), axes[0, 1], f"rewards, {reward}")
    name = "Q" if baseline == "none" else "A = Q - baseline"
    plots.value_map(A[picture].view(H, W), axes[0, 2], f"{name}, $\\gamma$ = {gamma:g}")
    return fig


explore()

# %%
widgets.explore(
    explore,
    picture=(0, len(codes) - 1),
    reward=["intermediate", "single"],
    gamma=(0.0, 1.0, 0.01),
    upsample=["bilinear", "nearest"],
    baseline=["none", "leave-one-out"],
)

# %% [markdown]
# ## What to take away
#
# * Drawing a code map is one roll-out, with states, actions, a policy and one reward or many. Sampling needs no
#   graph, because one forward pass gives all log-probabilities afterwards.
# * Look at the critic's held-out AUC first. Where it is at chance, the rewards say nothing about realism. Above
#   chance it does not say where the gradient leads. Notebook 11 has a critic above chance whose gradient points away
#   from the truth.
# * One step may be mostly noise (an SNR near 1). But over a run the noise partly cancels, while the signal adds up
#   where it points the same way in many steps.
# * Normalising by a maximum fixes the scale of the rewards, but not their zero. A baseline fixes the zero, for free.
# * For the single reward at gamma 1, Eq. 2 is right on average. Three things make it biased. One is a gamma below 1.
#   Another is the intermediate reward, because a later code can still change the score of an earlier place. The third
#   is a divisor that depends on the roll-outs themselves, as the largest score in `max` does (notebook 11).
# * The effect of gamma depends on the length of the sequence. So the paper's 0.99 does one thing to small maps and
#   another to large ones.
# * Judge a run by quality *and* diversity, beside the control that trained for as long. A run that beats the control
#   must still be compared with colder MLE (notebook 03) and with rejection (notebook 08).
#
# ## Exercises
#
# **1.** *(Easy, 5 minutes.)* With gamma 0 and the single reward, how many of the $T$ codes of a map have a return
# that is not 0? (In Eq. 3, $0^0$ counts as 1.)

# %%
answer = None
check(answer, float((ral.returns(torch.eye(T)[-1:], 0.0) != 0).sum()))

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown("One, the last code. With gamma 0 each code answers for the very next reward only, and only the last has one.")

# %% [markdown]
# **2.** *(Easy, 5 minutes.)* At one place, four roll-outs have the returns 1, 2, 3 and 6. What is the advantage of the
# last one, with the leave-one-out baseline?

# %%
answer = None
check(answer, ral.advantages(torch.tensor([[1.0], [2.0], [3.0], [6.0]]), "leave-one-out")[3].item(), within=0.01)

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown("The others have 2 on average, so its advantage is 6 - 2 = 4.")

# %% [markdown]
# **3.** *(Medium, 15 minutes.)* The double loop of section 4 costs $T^2 / 2$ additions. Write the returns with one loop
# from the last code to the first.


# %%
def my_returns(r, gamma):
    """Rewards r_1 .. r_T (B, T) -> returns Q (B, T)."""
    return None


r = torch.arange(8.0).view(2, 4)
answer = my_returns(r, 0.9)
check(None if answer is None else torch.allclose(answer, Q_by_definition(r, 0.9)), True)

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown(f"```python\n{inspect.getsource(ral.returns)}```")

# %% [markdown]
# **4.** *(Hard, 20 minutes.)* In training, a critic with batch normalisation scores a batch of images. Does the score of
# the first image depend on the second? Answer True or False, and say what that means for a gradient penalty *per image*.
# Does layer normalisation have the same problem?

# %%
answer = None
check(answer, True)

# %% tags=["solution"] jupyter={"source_hidden": true}
torch.manual_seed(seed)
for norm in (torch.nn.BatchNorm2d(8), torch.nn.GroupNorm(1, 8)):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), norm, torch.nn.LeakyReLU(0.2), torch.nn.Conv2d(8, 1, 3))
    net = net.to(world.device)
    with torch.no_grad():
        change = (net(torch.cat([real[:1], real[1:2]]))[0] - net(torch.cat([real[:1], fake[:1]]))[0]).abs().max()
    print(f"{type(norm).__name__}: the first image's scores change by {change:.1e} when the second is another one")
Markdown(
    "True. With the statistics of a batch, the score of one image also depends on the other images. So *the gradient "
    "of $D$ at one image* depends on the rest of the batch, and a penalty on it has no clear meaning. Layer "
    "normalisation (in PyTorch a `GroupNorm` of one group) takes its statistics over one image, so it does not have "
    "this problem."
)

# %% [markdown]
# **5.** *(Medium, 10 minutes.)* In [`ral_minimal.py`](ral_minimal.py), replace the intermediate reward with the single
# one and run it again. A comment in the function `advantages` has the line. Before you run it, say whether one run of
# each kind can show which reward is better. Think of the spread over seeds in table 1 of notebook 03.

# %% tags=["solution"] jupyter={"source_hidden": true}
Markdown(
    "No. In table 1 of notebook 03 the two rewards differ by less than the spread over seeds, so one run of each "
    "cannot tell them apart."
)

# %% [markdown]
# ## References
#
# * The paper: Ak et al., *Incorporating Reinforced Adversarial Learning in Autoregressive Image Generation*, ECCV
#   2020.
# * Williams, *Simple statistical gradient-following algorithms for connectionist reinforcement learning* (REINFORCE),
#   1992.
# * Sutton et al., *Policy gradient methods for reinforcement learning with function approximation*, NeurIPS 1999.
# * Gulrajani et al., *Improved training of Wasserstein GANs*, [1704.00028](https://arxiv.org/abs/1704.00028).
# * Isola et al., *Image-to-image translation with conditional adversarial networks* (PatchGAN),
#   [1611.07004](https://arxiv.org/abs/1611.07004).
# * Mescheder et al., *Which training methods for GANs do actually converge?* (R1),
#   [1801.04406](https://arxiv.org/abs/1801.04406).
# * Kool et al., *Buy 4 REINFORCE samples, get a baseline for free!*, 2019; Ahmadian et al., *Back to basics* (RLOO),
#   [2402.14740](https://arxiv.org/abs/2402.14740).
# * Caccia et al., *Language GANs falling short*, [1811.02549](https://arxiv.org/abs/1811.02549).
# * Yu et al., *SeqGAN*, [1609.05473](https://arxiv.org/abs/1609.05473).
