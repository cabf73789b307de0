# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. PixelCNN: a prior over code maps, and sampling it fast
#
# The VQ-VAE turned images into small maps of codes. A **prior** is a probability distribution over those maps: draw a
# map, decode it, and there is a new image. After this notebook you can
#
# * write the probability of a map as a product of conditionals, and compute all of them in one pass;
# * write a masked convolution, see its blind spot, and remove it with two shifted streams;
# * test by gradients that a network is causal, at every position;
# * report a likelihood in nats per image, nats per code and bits, beside baselines that cost nothing;
# * sample with a cache, show that it changes nothing but the time, and say what it cannot help.
#
# **The paper**: section 3 (stage 2), section 5.1 (PixelCNN, caching), section 5.5 (completion), S-Table 4.
#
# **Before**: `00_tour`, `01_vqvae`. **Next**: `03_oracle` (the prior of this notebook becomes the truth), `04_ral`.

# %% tags=["parameters"]
preset = "quick"  # smoke, quick, deep or gpu
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # the weights in data/pretrained/ where they fit; False trains them here (README: how long)

# %%
import copy
import inspect
import math
import time

import torch
import torch.nn.functional as F
from IPython.display import Markdown

from ralkit.cache import Cache, GatedCache, HorizontalCache, VerticalCache
from ralkit.course import plots, widgets
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record
from ralkit.diagnostics import cached_logits
from ralkit.metrics import map_log_prob
from ralkit.prior import GatedLayer, PixelCNN, gate
from ralkit.sampling import sample_naive
from ralkit.training import device_name

# %matplotlib inline

world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
record, device = Record(world), world.device
K, (H, W) = world.config.vqvae.K, world.shapes[0]
T = H * W
print(record.about("02_pixelcnn"))

# %% [markdown]
# ## A distribution over maps
#
# A map $c$ has $T = H\,W$ codes, each one of $K$. The chain rule holds in any order; we take raster order, row by row
# from the top left, $t = i\,W + j$:
#
# $$p(c) = \prod_{t=0}^{T-1} G(c_t \mid c_0, \dots, c_{t-1}) .$$
#
# Nothing is lost by this: it is an identity. What is gained is that $G$ is a plain classifier over $K$ classes. There
# are far too many maps for a table, so $G$ has to be a network:

# %%
print(
    f"{T} codes of {K} values: 10^{T * math.log10(K):.0f} maps; the training set holds {len(world.codes['train'][0])}"
)

# %%
t = (H // 2) * W + W // 2  # the code whose turn it is
state = torch.zeros(T)
state[:t], state[t] = 1, 2
fig, (axes,) = plots.new_figure(1, 2, (2.6, 2.7))
plots.picture(axes[0], torch.arange(T).view(H, W), "raster order: t", cmap="viridis")
for s in range(T):
    axes[0].text(s % W, s // W, s, ha="center", va="center", color="white", fontsize=56 / W)
plots.picture(axes[1], state.view(H, W), f"t = {t}; known (grey), unknown", cmap="cividis")
record.save_figure("02-01-raster", fig, title="Raster order, and what is known when code t is drawn")
fig

# %% [markdown]
# Why raster order? The codes already known then fill whole rows above and a part of this row, which a convolution
# can cover with a fixed window; and images can be completed downwards from any row.
#
# These are the maps to be learned, under their reconstructions:

# %%
train, test = (world.codes[split][0].long() for split in ("train", "test"))
model = world.vqvae
fig = plots.code_maps(test[:6], K, images=model.decode(test[:6]))
record.save_figure("02-02-codes", fig, title="Code maps of test images")
fig

# %% [markdown]
# ## A masked convolution
#
# All $T$ conditionals in one pass: a convolutional network whose output at $t$ depends on inputs before $t$ only. So
# the kernel's taps on later positions are set to zero. **Mask A** also hides the position itself and belongs into the
# first layer; **mask B** shows it, for the layers after, where a position no longer holds the code, only what came
# before it.


# %%
def mask(k, kind):
    """The k x k mask of kind "A" or "B"."""
    m = torch.ones(k, k)
    m[k // 2, k // 2 + (kind == "B") :] = 0  # this row: to the right (and, for A, the centre)
    m[k // 2 + 1 :] = 0  # rows below
    return m


def masked_conv(x, weight, kind):
    k = weight.shape[-1]
    return F.conv2d(x, weight * mask(k, kind).to(weight), padding=k // 2)


# %%
fig, (axes,) = plots.new_figure(1, 2, (2.0, 2.2))
for ax, kind in zip(axes, "AB", strict=True):
    plots.picture(ax, mask(5, kind), f"mask {kind}", cmap="cividis")
    for s, kept in enumerate(mask(5, kind).flatten().int().tolist()):
        ax.text(s % 5, s // 5, kept, ha="center", va="center", color="black" if kept else "white")
record.save_figure("02-03-masks", fig, title="The two masks of a 5x5 kernel")
fig

# %% [markdown]
# Does it work? Take the gradient of one output with respect to every input. Where it is *exactly* zero (grey in the
# picture), there is no path.


# %%
def input_gradient(f, x, at):
    """|d f(x)[:, at] / d x| summed over channels, (H, W); f maps (1, C, H, W) to (1, C', H, W)."""
    x = x.detach().requires_grad_()
    f(x)[0, :, at[0], at[1]].sum().backward()
    return x.grad[0].abs().sum(0)


def naive_stack(x, weights):
    """Mask A first, mask B in every layer after it."""
    for i, weight in enumerate(weights):
        x = masked_conv(x, weight, "A" if i == 0 else "B")
    return x


# %%
torch.manual_seed(seed)
side, at, depth = 9, (4, 4), 4
x = torch.randn(1, 3, side, side)
weights = [torch.rand(3, 3, 3, 3) for _ in range(depth)]  # positive, so that no path cancels another

fig, (axes,) = plots.new_figure(1, depth, (2.0, 2.2))
for n, ax in enumerate(axes, 1):
    gradient = input_gradient(lambda x, n=n: naive_stack(x, weights[:n]), x, at)
    plots.receptive_field(gradient, at, ax, f"{n} masked layer{'s' * (n > 1)}")
record.save_figure("02-04-blind-spot", fig, title="Receptive field of masked 3x3 layers: the blind spot never closes")
fig

# %% [markdown]
# Nothing after the centre is seen: the masks do their work. But to the right above the centre there is a wedge that is
# never seen however many layers there are: the **blind spot**. Within a row the mask lets a path go left only; to get
# one column to the right it has to climb one row. What lies further right than up is out of reach for ever.

# %%
before = torch.arange(side * side).view(side, side) < at[0] * side + at[1]
blind = (gradient == 0) & before
assert (gradient[~before] == 0).all()
print(f"after {depth} layers {blind.sum()} of the {before.sum()} earlier positions are still unseen")

# %% [markdown]
# ## Two streams, shifted instead of masked
#
# The cure (van den Oord et al. 2016, the paper's reference 34): split the past into two rectangles, each of which plain
# convolutions can cover.
#
# * The **vertical stream** $v$ sees the rows above, to any side.
# * The **horizontal stream** $h$ sees the same row to the left, and at every layer takes in what $v$ found.
#
# Shift the input once, by a row for $v$ and by a column for $h$; from then on a layer may look at its own position,
# and kernels hold kept taps only: nothing is masked. First the check that this is the same thing. A mask-A kernel
# is the sum of its upper rows on the shifted $v$ and its left part on the shifted $h$:

# %%
torch.manual_seed(seed)
x, w = torch.randn(2, 3, side, side), torch.randn(4, 3, 5, 5)
r = 5 // 2
v, h = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1))  # the row above; the code to the left
above = F.conv2d(F.pad(v, (r, r, r - 1, 0)), w[:, :, :r])
left = F.conv2d(F.pad(h, (r - 1, 0, 0, 0)), w[:, :, r : r + 1, :r])
assert torch.allclose(masked_conv(x, w, "A"), above + left, atol=1e-4)
kept = int(mask(5, "A").sum())
assert kept == w[0, 0, :r].numel() + w[0, 0, r, :r].numel()
print(
    f"of {w[0, 0].numel()} kernel taps mask A keeps {kept}; the two parts have just those, and no mask; results equal"
)

# %% [markdown]
# Now the layers of `ralkit`, two streams of them, on the same 9x9 map:


# %%
def streams(x, layers):
    """Both streams, v and h, after the layers; x (B, C, H, W)."""
    v, h = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1))
    for layer in layers:
        v, h = layer(v, h)
    return v, h


torch.manual_seed(seed)
x = torch.randn(1, 8, side, side)
layers = [GatedLayer(8, k=3, dropout=0.0) for _ in range(depth)]
fig, axes = plots.new_figure(2, depth, (2.0, 2.2))
for row, stream, name in zip(axes, (0, 1), ("v", "h"), strict=True):
    for n, ax in enumerate(row, 1):
        gradient = input_gradient(lambda x, n=n, s=stream: streams(x, layers[:n])[s], x, at)
        plots.receptive_field(gradient, at, ax, f"{name} after {n} layer{'s' * (n > 1)}")
record.save_figure(
    "02-05-two-streams", fig, title="Receptive fields of the vertical and the horizontal stream: no blind spot"
)
fig

# %%
assert (gradient[~before] == 0).all() and (gradient[before] > 0).all()
print(f"after {depth} layers all {before.sum()} earlier positions are seen, and none of the {(~before).sum()} others")

# %% [markdown]
# ### The gate
#
# In each layer either stream goes through a gated activation: one half of the channels says *what*, the other *how much of it*,
#
# $$y = \tanh(a) \odot \sigma(b) .$$

# %%
torch.manual_seed(seed)
x = torch.randn(1, 6, 2, 2)
a, b = x[:, :3], x[:, 3:]
assert torch.equal(gate(x), torch.tanh(a) * torch.sigmoid(b))

grid = torch.linspace(-4, 4, 81)
fig, ((ax,),) = plots.new_figure(size=(3.6, 3.0))
shown = ax.imshow(grid.tanh()[None] * grid.sigmoid()[:, None], extent=(-4, 4, -4, 4), origin="lower", cmap="RdBu")
ax.set(xlabel="a: what", ylabel="b: how much")
fig.colorbar(shown)
record.save_figure("02-06-gate", fig, title="The gated activation tanh(a) sigmoid(b)")
fig

# %% [markdown]
# One layer, and the whole network, are short enough to read here. `down` is the vertical stream (`conv` is its
# convolution, padded), `right` the horizontal one: what `down` has `seen` enters it by `link`, a 1x1 convolution; `out`,
# another, mixes the channels behind the gate, and the sum with `h` is a skip connection. `reach` is how far a window looks,
# 2 for 5x5. `condition` (codes of a level above) and its `features`, `Attention` and `recompute` are for the larger
# priors of notebook 05 and do nothing here.

# %%
for part in (GatedLayer.down, GatedLayer.right, PixelCNN.forward):
    print(inspect.getsource(part))

# %% [markdown]
# ## The oracle prior
#
# We train such a network on the codes of the real images. The next notebooks will *declare* it to be the true
# distribution, hence its name, `world.oracle`. Its loss is the negative log-likelihood (NLL):
#
# $$-\log p(c) = -\sum_{t=0}^{T-1} \log G(c_t \mid c_0, \dots, c_{t-1}) .$$
#
# | unit | definition |
# |---|---|
# | nats per image | the sum above, natural logarithm |
# | nats per code | divided by $T$ |
# | bits per code | divided by $T \ln 2$; what an ideal compressor would need |
#
# **What each logged number means**
#
# | number | meaning | watch for |
# |---|---|---|
# | `NLL_train` | nats per image of the last training batch, with dropout: noisy | must fall in the long run |
# | `NLL_test` | nats per image of test maps, never trained on, without dropout | rising while `NLL_train` falls: overfitting |
#
# Two **baselines** cost no training. *Uniform*: every code costs $\ln K$. *Independent positions*: count how often
# each code stands at each position of the training maps (add one to every count), and ignore the neighbours. What a
# PixelCNN saves below that is what it knows about *relations* between codes.

# %%
with widgets.live(world.trainer):
    oracle = world.oracle  # trained now, its curves drawn meanwhile, or read from disk
counts = torch.stack([torch.bincount(column, minlength=K) for column in train.flatten(1).T]) + 1.0  # (T, K)
log_p = (counts / counts.sum(1, keepdim=True)).log()
independent = -log_p[torch.arange(T, device=log_p.device), test.flatten(1)]  # (M, T), nats
uniform = T * math.log(K)

# %%
history = world.trainer.histories["oracle"]
fig = plots.curves({"oracle": [history]}, ["NLL_train", "NLL_test"])
for ax in fig.axes:
    ax.axhline(uniform, color="gray", linestyle=":", label="uniform")
    ax.axhline(independent.sum(1).mean().item(), color="gray", linestyle="--", label="independent positions")
fig.axes[0].legend(fontsize=8)
record.save_figure("02-07-training", fig, title="Training the oracle prior", data=history)
fig

# %% [markdown]
# The likelihood by hand, from the logits, and `ralkit`'s:

# %%
with torch.no_grad():
    logits = oracle(test[:16])  # (B, H, W, K)
    by_hand = logits.log_softmax(-1).gather(-1, test[:16, ..., None])[..., 0]  # log G(c_t | ...)
    assert torch.allclose(by_hand, oracle.log_prob(test[:16]), atol=1e-4)
print(f"the first test map: {-by_hand[0].sum():.1f} nats, {-by_hand[0].mean():.2f} nats a code")

# %%
nats = {
    "uniform": uniform,
    "independent positions": independent.sum(1).mean().item(),
    "PixelCNN, training maps": -map_log_prob(oracle, train[: len(test)]).mean().item(),
    "PixelCNN, test maps": -map_log_prob(oracle, test).mean().item(),
}
rows = [
    {"model": name, "nats per image": x, "nats per code": x / T, "bits per code": x / T / math.log(2),
     "choices per code": math.exp(x / T)}
    for name, x in nats.items()
]  # fmt: skip
note = "Choices per code: the exponential of the nats, as if the model had to guess among so many equally likely codes."
Markdown(record.save_table("02-08-likelihood", rows, title="Likelihood of the prior and two baselines", note=note))

# %%
knows = nats["independent positions"] - nats["PixelCNN, test maps"]
print(f"test maps, independent positions minus PixelCNN: {knows:+.1f} nats an image (above 0: the past helps)")
print(f"gap between test and training maps: {nats['PixelCNN, test maps'] - nats['PixelCNN, training maps']:.1f} nats")

# %% [markdown]
# Where in the map are the nats? The first code has no past to lean on; flat background is cheap once its colour is
# known; what is dear is the face.

# %%
with torch.no_grad():
    per_code = torch.cat([-oracle.log_prob(part) for part in test.split(512)]).mean(0).cpu()  # (H, W)
maps = {"independent positions": independent.mean(0).view(H, W).cpu(), "PixelCNN": per_code}
top = max(map_.max().item() for map_ in maps.values())
fig, (axes,) = plots.new_figure(1, 2, (2.9, 2.6))
for ax, (name, map_) in zip(axes, maps.items(), strict=True):
    plots.picture(ax, map_, f"{name}, nats per code", cmap="magma", vmin=0, vmax=top)
fig.colorbar(axes[1].images[0], ax=axes.tolist())
record.save_figure(
    "02-09-nats-map", fig, title="Mean nats of every position on test maps", data={"nats": per_code.tolist()}
)
dearest = divmod(per_code.argmax().item(), W)
print(
    f"first code {per_code[0, 0]:.2f} nats, the second {per_code[0, 1]:.2f}, the dearest {per_code.max():.2f}, at {dearest};"
)
print(f"first row {per_code[0].sum():.1f} nats, the middle one {per_code[H // 2].sum():.1f}")
fig

# %% [markdown]
# ## Causality, tested at every position
#
# One wrong shift and the network sees what it is to predict: the loss is then wonderful and the samples are rubbish.
# So test it, on the trained network, for all pairs: is $\partial\,\text{logits}_t / \partial\,\text{input}_s$ exactly
# zero for every $s \ge t$? Codes have no gradient, but their embeddings do; a hook makes those the input. (The gradient is
# that of a random mixture of the logits: of their plain sum it would be one that the softmax does not see. And a zero is one
# at this map; `tests/test_prior.py` has others, and every kind of prior.)


# %%
def dependence(prior, codes):
    """|d (w logits_t) / d embedded code_s|, (T, T), w random: row t, column s; codes (1, H, W)."""
    kept = []

    def keep(module, args, e):
        kept.append(e.detach().requires_grad_())
        return kept[0]

    hook = prior.embedding.register_forward_hook(keep)
    logits = prior(codes).flatten(1, 2)[0]  # (T, K)
    hook.remove()
    w = torch.randn(prior.K, device=logits.device)
    rows = [torch.autograd.grad(row @ w, kept[0], retain_graph=True)[0] for row in logits]
    return torch.stack([g.abs().sum(-1).flatten() for g in rows])


torch.manual_seed(seed)
matrix = dependence(oracle, test[:1]).cpu()
past = torch.ones(T, T, dtype=torch.bool).tril(-1)
assert (matrix[~past] == 0).all()
print(
    f"at this map no output depends on itself or the future; of the past {(matrix[past] > 0).float().mean():.0%} is in reach"
)

# %%
fig, (axes,) = plots.new_figure(1, 2, (3.6, 3.6))
shown = (matrix / matrix.max()).clamp(min=1e-30).log10().where(matrix > 0, torch.nan)
for ax in axes:
    ax.set_facecolor("#dddddd")
plots.picture(axes[0], shown, "all pairs", cmap="viridis", vmin=-4, vmax=0)
axes[0].set(xlabel="input s", ylabel="output t")
i, j = H // 2, W // 2
plots.receptive_field(matrix[i * W + j].view(H, W), (i, j), axes[1], f"row t = {i * W + j} as a map")
record.save_figure("02-10-causality", fig, title="Which outputs depend on which inputs (grey: exactly not)")
fig

# %% [markdown]
# ## Sampling, the plain way
#
# Codes are drawn one after another: $T$ forward passes, each of which computes $T$ conditionals and uses one. A draw
# inverts the distribution function: with $u$ uniform in $[0, 1)$, take the first code whose cumulated probability
# exceeds $u$ (times the last one, which is 1 but for rounding).


# %%
@torch.no_grad()
def sample_by_hand(prior, n, H, W, generator):
    u = torch.rand(n, H, W, device=device, generator=generator)
    codes = torch.zeros(n, H, W, dtype=torch.long, device=device)
    for i in range(H):
        for j in range(W):
            cdf = prior(codes)[:, i, j].softmax(-1).cumsum(-1)  # (n, K)
            codes[:, i, j] = (cdf <= u[:, i, j, None] * cdf[:, -1:]).sum(-1)
    return codes


def dice():
    """The same random numbers at every call."""
    return torch.Generator(device).manual_seed(seed)


drawn = sample_by_hand(oracle, 16, H, W, dice())
assert torch.equal(drawn, sample_naive(oracle, 16, (H, W), generator=dice()))

# %%
anything = torch.randint(K, (8, H, W), device=device, generator=dice())
rows = {"real": test[:8], "drawn from the prior": drawn[:8], "and again": drawn[8:], "uniform codes": anything}
fig = plots.labelled_rows({name: model.decode(codes) for name, codes in rows.items()})
record.save_figure("02-11-samples", fig, title="Maps drawn from the prior, decoded")
fig

# %% [markdown]
# ## Sampling with a cache
#
# Drawing one code changes one position. Whatever does not look at it need not be computed again:
#
# * the **vertical stream** of row $i$ looks at rows above $i$ only, which are finished: compute it **once a row**;
# * the **horizontal stream** at $(i, j)$ looks at the codes to the left: compute it for **one column**;
# * each layer must remember only what its window reaches: the last rows of $v$, this row of $h$, and what `link` brings to
#   this row.

# %%
i, j, reach = H // 2, W // 2, oracle.layers[0].reach
panels = {
    name: torch.zeros(H, W) for name in ("plain: everything", "cache: v, at the start of a row", "cache: h, a code")
}
everything, vertical, horizontal = panels.values()
everything[:] = 2
vertical[max(0, i - reach) : i, :], vertical[i, :] = 1, 2
horizontal[i, max(0, j - reach) : j], horizontal[i, j] = 1, 2

fig, (axes,) = plots.new_figure(1, 3, (2.4, 2.6))
for ax, (name, map_) in zip(axes, panels.items(), strict=True):
    plots.picture(ax, map_, name, cmap="cividis", vmin=0, vmax=2)
    ax.plot(j, i, "s", color="red", markersize=5)
record.save_figure(
    "02-12-cache", fig, title="To draw one code (red): computed (bright), remembered (grey), untouched (dark)"
)
print(f"positions computed for one map: plain {T * T}, cached {T} vertical + {T} horizontal")
fig

# %% [markdown]
# This is what runs for each row and each code; compare with `down` and `right` above. (What it names by row or column, such as
# `rows`, `columns` and `targets`, are views of the same few buffers, cut once before the first row.) `VerticalCache` takes the place of the convolution in
# `down`: it keeps the last rows of its input, place by place, and multiplies them with one column of the kernel after the
# other, once a row. `HorizontalCache` keeps this row's last columns, so that the horizontal convolution at one place is the
# product of a `window` of them and a `matrix`; it is added to what `link` makes of the vertical stream, computed for the
# whole row at its start. `step` is `right` at one place, with the gate's halves `a` and `b`; its result is written to
# where the next layer's `HorizontalCache` looks for it. A row or a code that is not there is a code `K`, whose embedding is zero:

# %%
for part in (VerticalCache.__call__, HorizontalCache.start_row, GatedCache.step, Cache.logits):
    print(inspect.getsource(part))

# %% [markdown]
# A cache must change *nothing*. Two checks: the logits are those of the full pass, and with the same random numbers the
# codes are the same. (The codes are compared with the network in double precision: in single precision a rounding difference
# may, once in a great many draws, fall on the other side of $u$.)

# %%
with torch.no_grad():
    error = (cached_logits(oracle, test[:8]) - oracle(test[:8])).abs().max().item()
exact = copy.deepcopy(oracle).double()
with torch.no_grad():
    assert (cached_logits(exact, test[:8]) - exact(test[:8])).abs().max() < 1e-8
fast, slow = exact.sample(16, (H, W), generator=dice()), sample_naive(exact, 16, (H, W), generator=dice())
assert torch.equal(fast, slow)
print(f"largest difference of the logits in single precision: {error:.1e}; all {fast.numel()} sampled codes are equal")

# %% [markdown]
# **Coarser numbers are not the same thing.** bfloat16 weights are half as many bytes to read, and `prior.bfloat16()`
# samples with them. But of each number only 8 significant bits are kept, so it draws from another distribution. How far are its
# conditionals, in nats, after the codes of test maps?

# %%
halved = copy.deepcopy(oracle).bfloat16()
with torch.no_grad():
    few = test[:256]
    log_p, log_q = oracle(few).log_softmax(-1), cached_logits(halved, few).float().log_softmax(-1)
rounding = F.kl_div(log_q, log_p, reduction="sum", log_target=True).item() / len(few)
cost = nats["PixelCNN, test maps"]
print(f"KL(float32 || bfloat16) of the conditionals: {rounding:.3f} nats an image, beside an NLL of {cost:.0f}")

# %% [markdown]
# What does it save? Measured here, now, on this machine (the larger maps are only for timing: the network is
# convolutional and takes any size). The last column is one forward pass over the same maps, which gives all
# conditionals when all codes are known, as in training (without its backward pass).


# %%
def seconds(f, calls=2):
    """Wall time of the fastest of some calls."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        f()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


# %%
def timing(n, side):
    torch.manual_seed(seed)
    shape = (side, side)
    plain, cached = (seconds(f) for f in (lambda: sample_naive(oracle, n, shape), lambda: oracle.sample(n, shape)))
    codes = torch.zeros(n, *shape, dtype=torch.long, device=device)
    with torch.no_grad():
        forward = seconds(lambda: oracle(codes))
    return {"maps": n, "size": f"{side}x{side}", "plain, s": plain, "cache, s": cached, "speed-up": plain / cached,
            "ms a step, cached": 1000 * cached / side**2, "one full pass, s": forward}  # fmt: skip


rows = [timing(n, side) for n, side in ((1, H), (16, H), (4, 2 * H))]
note = f"Measured on {device_name(world.device)}; the faster of two calls."
Markdown(record.save_table("02-13-timing", rows, title="Time to sample, without and with the cache", note=note))

# %%
one, small, large = rows
for row in (small, large):
    print(f"{row['maps']} maps of {row['size']}: {row['speed-up']:.1f} times faster with the cache")
print(f"{small['maps']} maps take {small['cache, s'] / one['cache, s']:.1f} times as long as one, with the cache")
print(f"{large['size']}: cached sampling takes {large['cache, s'] / large['one full pass, s']:.0f} times one full pass")

# %% [markdown]
# **What the cache does not help.** The $T$ steps remain *sequential*: it makes steps cheaper, not fewer. Many small
# steps leave a machine waiting, so draw many maps at once: a batch costs far less than its maps one by one. A GPU waits
# for Python, too, which tells it one small product after the other; so `sample` has it record what one row takes, and
# replay that for each row that follows (a *CUDA graph*). And the cache is no use in training by maximum likelihood,
# which knows all codes and needs a single pass. RAL has to sample in every update; that is why it needs the cache at all,
# and why the paper resorts to partial generation (section 4.3): rows that are given cost only their vertical stream.
#
# ## Temperature
#
# Divide the logits by $\tau$ before drawing:
#
# $$p_\tau(c_t) \propto \exp(\text{logits}_t / \tau) .$$
#
# Below 1 the likely codes become likelier still. Here is one position's distribution, the likeliest codes first:

# %%
taus = (0.6, 0.8, 1.0, 1.2)
with torch.no_grad():
    row = oracle(test[:1])[0, H // 2, W // 2]
fig, ((ax,),) = plots.new_figure(size=(5.5, 2.7))
for tau in taus:
    probabilities = (row / tau).softmax(-1).sort(descending=True).values[:20].cpu()
    ax.plot(range(1, len(probabilities) + 1), probabilities, "o-", markersize=3, label=f"temperature {tau}")
ax.set(xlabel="rank of the code", ylabel="probability", xticks=range(1, 21, 3))
ax.grid(alpha=0.3)
ax.legend(fontsize=8)
record.save_figure("02-14-temperature", fig, title="One conditional distribution at four temperatures")
fig

# %% [markdown]
# Samples, each column from the same random numbers. Cooler means cleaner and plainer, hotter more broken. Cooler also means
# more alike, which ten samples can't show; the cell after them measures it.

# %%
by_tau = {tau: oracle.sample(10, (H, W), temperature=tau, generator=dice()) for tau in taus}
fig = plots.labelled_rows({f"temperature {tau}": model.decode(codes) for tau, codes in by_tau.items()})
record.save_figure("02-15-temperature-samples", fig, title="Samples at four temperatures, the same random numbers")
fig

# %% [markdown]
# Numbers for it. Left, in nats a code: the mean entropy of the conditionals on real maps, at each temperature, and the entropy
# of the sampler itself, $-\mathbb{E}_{p_\tau} \log p_\tau$: the lower, the more alike are its maps. Right: how likely the
# samples are under the prior itself ($\tau = 1$), beside real test maps.

# %%
grid, n = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4), min(world.config.n_curve, 256)
with torch.no_grad():
    logits = oracle(test[:n])
entropy = [torch.special.entr((logits / tau).softmax(-1)).sum(-1).mean().item() for tau in grid]
draws = [oracle.sample(n, (H, W), temperature=tau, generator=dice()) for tau in grid]
own = [-map_log_prob(oracle, codes, tau).mean().item() / T for tau, codes in zip(grid, draws, strict=True)]
under_prior = [-map_log_prob(oracle, codes) for codes in draws]
nll, error = ([f(x).item() for x in under_prior] for f in (torch.mean, lambda x: x.std() / len(x) ** 0.5))

# %%
fig, (axes,) = plots.new_figure(1, 2, (3.8, 2.9))
axes[0].plot(grid, entropy, "o-", label="conditionals, on real maps")
axes[0].plot(grid, own, "s--", label="sampler")
axes[0].axhline(math.log(K), color="gray", linestyle=":", label="uniform")
axes[0].set(xlabel="temperature", ylabel="nats per code", title="entropy", ylim=(0, None))
axes[1].plot(grid, nll, "o-", label="samples")
axes[1].axhline(nats["PixelCNN, test maps"], color="gray", linestyle="--", label="real test maps")
axes[1].set(xlabel="temperature", ylabel="nats per image", title="NLL under the prior")
for ax in axes:
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
data = {
    "temperature": grid,
    "entropy": entropy,
    "entropy of the sampler": own,
    "nll": nll,
    "nll, standard error": error,
}
record.save_figure("02-16-temperature-entropy", fig, title="Temperature trades diversity for likelihood", data=data)
fig

# %%
real = nats["PixelCNN, test maps"]
for tau, value, e in zip(grid, nll, error, strict=True):
    print(f"temperature {tau}: {value:6.1f} nats an image, {value - real:+.1f} ± {2 * e:.1f} against real test maps")

# %% [markdown]
# (± are two standard errors. At temperature 1 the two would be equal for a perfect prior.)
#
# Keep this in mind for RAL: lowering the temperature alone makes samples more likely under the oracle, for free, at
# the price of diversity. A method that claims better samples has to beat *this* curve, not the one point at 1.
#
# ## Completion: some rows given
#
# Raster order makes completion trivial: keep the first rows of a real map, draw the rest. Sampling and completion are
# one function.

# %%
kept, some = H // 2, test[:10]
given = model.decode(some).clone()
given[:, :, kept * world.config.size // H :] = 0.7  # what is hidden, light grey
rows = {"real": model.decode(some), f"{kept} rows given": given}
generator = dice()
for n in (1, 2, 3):
    codes = oracle.sample(len(some), (H, W), given=some, given_rows=kept, generator=generator)
    assert torch.equal(codes[:, :kept], test[:10, :kept])
    rows[f"completion {n}"] = model.decode(codes)
fig = plots.labelled_rows(rows)
record.save_figure("02-17-completion", fig, title="Real images completed from their upper half")
fig

# %% [markdown]
# The upper half of a completion is not pixel for pixel that of the real image: the codes are the same, but the decoder
# looks across the seam.
#
# ## Exposure bias: where RAL comes in
#
# In training, every conditional $G(c_t \mid c_0 \dots c_{t-1})$ is asked about *real* codes. In sampling it is asked
# about codes that it drew itself. One unlikely code, and the next step stands on a past that training never showed;
# its answer is then anybody's guess, and errors may pile up towards the bottom right. The paper (section 4): *"during
# the training, all latent codes are estimated from the real images while during inference each code is sampled, which
# could never be observed during the MLE training."* Nor does the likelihood ever look at the *image*: a code that is
# wrong costs the same whether the decoder hides the error or makes it glare. RAL answers both at once: it trains on the
# model's own samples, and lets a critic judge the decoded images. With a known truth this can be tested:
# the next notebook measures what RAL does to quality and diversity, notebook 08 exposure bias itself.
#
# ## Explorer: temperature and given rows
#
# The first call draws a static figure; with a running kernel the sliders draw it again.


# %%
def complete(temperature=1.0, given_rows=kept, image=0):
    real = test[image : image + 1].expand(8, -1, -1)
    codes = oracle.sample(8, (H, W), temperature=temperature, given=real, given_rows=given_rows, generator=dice())
    nll = -map_log_prob(oracle, codes).mean().item()
    title = f"{given_rows} of {H} rows given, temperature {temperature}: {nll:.0f} nats an image"
    return plots.labelled_rows({"real": model.decode(real[:1]), "drawn": model.decode(codes)}, title=title, inch=0.9)


complete()

# %%
widgets.explore(complete, temperature=(0.2, 1.6, 0.1), given_rows=(0, H), image=(0, min(99, len(test) - 1)))

# %% [markdown]
# ## Readings and deviations
#
# 1. *"PixelCNN is used to learn priors in the latent space"* (section 3, reference 34): read as the gated PixelCNN with
#    two streams. `prior.PixelCNN`, `prior.GatedLayer`
# 2. *"Similar to VQ-VAE-2, we use PixelCNN with self-attention layers to model top-priors"* (section 5.1): the oracle
#    experiment's priors have *"Attention layers 0"* (S-Table 4), and so have ours. `PixelCNN`
# 3. *"Layers 5, Conv Filter size 5, Hidden units 256, Residual units 256"* (S-Table 4a): gated layers, window width,
#    and channels (the two are always equal, so there is one number). `PriorConfig.layers`, `.k`, `.channels`
# 4. *"Output stack layers 5"* (S-Table 4): gated 1x1 residual blocks before the logits; the presets for small machines
#    leave them out. `prior.OutputLayer`, `PriorConfig.output_layers`
# 5. *"To improve the sampling speed from prior networks, we use caching similar to [36] and avoid redundant
#    computation"* (section 5.1): vertical stream once a row, horizontal a code at a time. `cache.Cache`
# 6. *"Dropout 0.1"* (S-Table 4): on in training where the preset has it, always off in sampling and measuring.
#    `PriorConfig.dropout`, `PixelCNN.sample`
# 7. The sampling temperature is never given; 1 wherever methods are compared; other temperatures only
#    where the temperature itself is the question.
#    `sample(temperature=1.0)`
# 8. *"NLL 7.55"* for the MLE generator (Table 1) fits neither a sum over 64 codes (Eq. 7) nor a mean per code, which
#    exceeds ln 128 nats (7 bits) for no sensible model. We report nats per image and per code. `metrics.map_log_prob`
# 9. *"we first train a PixelCNN on the 8×8 latent codes"* of CelebA (section 5.2): ours is trained on the codes of the
#    data set that you name, the cartoon faces unless you do. `OracleWorld.oracle`
# 10. *"mode-1 provides real latent codes as context and is useful for the image completion task"* (section 4.3):
#     completion is sampling with rows given. `sample(given=..., given_rows=...)`

# %% [markdown]
# ## To take away
#
# * A prior is a classifier over $K$ codes, applied $T$ times; its likelihood is exact, in nats.
# * Masks give causality but leave a blind spot; two shifted streams see the whole past. The gradient shows both.
# * Always quote a likelihood beside the uniform and the independent baseline.
# * The cache changes the time and nothing else. Steps stay sequential.
# * Temperature is the cheapest way to trade diversity for quality, and so the first opponent of every other way.
#
# ## Exercises
#
# 1. **A leak.** Leave out the shift of the horizontal stream. What does the receptive field show, and which
#    number of the training log would betray it?
# 2. **Nearly greedy.** Draw 64 maps at temperature 0.01. How many different maps are there, and what do they cost?
# 3. **Given rows are cheap.** Time `sample` with no rows given and with half of them. What share of the time is left,
#    and which work of the given rows remains?

# %% tags=["solution"] jupyter={"source_hidden": true}
# 1. The position itself gets a gradient (its red mark is left out, so that it can be seen): the network sees the very code
# that it predicts, and NLL_train and NLL_test fall towards 0.
torch.manual_seed(seed)
x = torch.randn(1, 8, side, side)


def leaking(x):
    v, h = F.pad(x, (0, 0, 1, -1)), x  # h is not shifted
    for layer in layers:
        v, h = layer(v, h)
    return h


gradient = input_gradient(leaking, x, at)
print(f"gradient at the position itself: {gradient[at]:.2f}, where it must be exactly 0")
fig, ((ax,),) = plots.new_figure(size=(2.4, 2.6))
plots.receptive_field(gradient, (-1, -1), ax, "without the shift").set(xlim=(-0.5, 8.5), ylim=(8.5, -0.5))
fig

# %% tags=["solution"] jupyter={"source_hidden": true}
# 2. Every draw takes the likeliest code unless two are all but level: maps repeat, cheap in nats, poor as a sample.
cold = oracle.sample(64, (H, W), temperature=0.01, generator=dice())
different, cost = len(cold.flatten(1).unique(dim=0)), -map_log_prob(oracle, cold).mean()
print(f"{different} different maps of 64, {cost:.1f} nats an image; real test maps cost {real:.1f}")

# %% tags=["solution"] jupyter={"source_hidden": true}
# 3. The given rows skip all their horizontal steps; their vertical stream must still run, a row at a time.
known = test[torch.arange(16) % len(test)]
full = seconds(lambda: oracle.sample(16, (H, W)), calls=5)
half = seconds(lambda: oracle.sample(16, (H, W), given=known, given_rows=H // 2), calls=5)
print(f"{H * W} steps {full:.3f} s, {H * W - H // 2 * W} steps {half:.3f} s: {half / full:.0%} of the time")

# %% [markdown]
# ## References
#
# * Ak, Xu, Lin, Wang: *Incorporating Reinforced Adversarial Learning in Autoregressive Image Generation*, ECCV 2020:
#   the paper of this course.
# * van den Oord, Kalchbrenner, Kavukcuoglu: *Pixel Recurrent Neural Networks*, arXiv 1601.06759: the masks.
# * van den Oord et al.: *Conditional Image Generation with PixelCNN Decoders*, arXiv 1606.05328: two streams, the
#   gate.
# * Ramachandran et al.: *Fast Generation for Convolutional Autoregressive Models*, arXiv 1704.06001: the cache.
# * Razavi, van den Oord, Vinyals: *Generating Diverse High-Fidelity Images with VQ-VAE-2*, arXiv 1906.00446.
# * Caccia et al.: *Language GANs Falling Short*, arXiv 1811.02549: temperature as the opponent to beat.
