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
# The VQ-VAE turned images into small maps of codes. A **prior** is a probability distribution over those maps. If we
# draw a map from it and decode the map, we get a new image. After this notebook you can
#
# * write the probability of a map as a product of conditionals (the probability of each code given the codes before
#   it), and compute all of them in one pass;
# * write a masked convolution, see its blind spot (earlier codes that it never reaches), and remove it with two
#   shifted streams;
# * test by gradients that a network is causal, so that no output depends on its own code or on later ones;
# * report a likelihood in nats per image, nats per code and bits, beside baselines that cost nothing;
# * sample with a cache, show that it changes nothing but the time, and say where it does not help.
#
# **The paper**: section 3 (stage 2), section 5.1 (PixelCNN, caching), section 5.5 (completion), S-Table 4.
#
# **Before**: `00_tour`, `01_vqvae`. **Next**: `03_oracle` (the prior of this notebook becomes the truth), `04_ral`.
#
# (Where the text says what a figure or table shows, it speaks of the committed run, with the preset `deep`.)

# %% tags=["parameters"]
preset = "deep"  # loads its weights; "quick" trains everything within the hour, "smoke" is tiny, "gpu" large
dataset = "faces"  # or the path of a folder, zip, CelebA or lmdb
seed = 1  # first of the seeds
pretrained = True  # loads the weights where there are any; False trains them here

# %%
import copy
import math
import time

import torch
import torch.nn.functional as F

from ralkit.course import diagrams, plots, widgets
from ralkit.course.exercises import check
from ralkit.course.oracle import OracleWorld
from ralkit.course.record import Record
from ralkit.diagnostics import cached_logits
from ralkit.metrics import map_log_prob
from ralkit.prior import GatedLayer, PixelCNN, gate
from ralkit.sampling import sample_naive
from ralkit.training import device_name

# %matplotlib inline

# %%
world = OracleWorld(preset, dataset, seed, pretrained=pretrained)
record, device = Record(world), world.device
K, (H, W) = world.config.vqvae.K, world.shapes[0]
T = H * W
print(record.about("02_pixelcnn"))

# %% [markdown]
# ## A distribution over maps
#
# A map $c$ has $T = H\,W$ codes, and each is one of $K$. The chain rule of probability writes $p(c)$ as a product over
# the codes, and it holds in any order. We take **raster order**, which goes row by row from the top left, so the code
# in row $i$ and column $j$ has the number $t = i\,W + j$:
#
# $$p(c) = \prod_{t=0}^{T-1} G(c_t \mid c_0, \dots, c_{t-1}) .$$
#
# The letter $G$ stands for any PixelCNN here, and the one that we train becomes the oracle of the next notebooks. (In
# the tour, $G$ came to mean the generator, which is a prior, too.) Each factor is called a **conditional**, because it
# is the probability of one code when the earlier codes are known. Nothing is lost by this product, because it is an
# identity. The gain is that $G$ is a plain classifier over $K$ classes. As the next cell shows, there are far too many
# maps for a table, so $G$ has to be a network.
#
# The figure then shows the order. The left panel gives the number $t$ of every position. In the right panel it is the
# turn of the yellow code. The grey codes are already known, and the dark ones are still unknown.

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
    colour = "white" if s < 0.7 * T else "black"
    axes[0].text(s % W, s // W, s, ha="center", va="center", color=colour, fontsize=56 / W)
plots.picture(axes[1], state.view(H, W), f"grey: known when code {t} is drawn", cmap="cividis")
record.figure("02-01-raster", fig, title="Raster order, and what is known when code t is drawn")

# %% [markdown]
# The right panel shows why we take raster order. The known codes always have the same form, which is whole rows above
# and the left part of the current row. So a convolution can use the same window at every position. There is a second
# advantage. If the upper rows of an image are known, they come first in this order, so the rest can be drawn after
# them.
#
# The next figure shows the maps that the prior has to learn. Each code map stands under the image that the decoder
# draws from it. Every code has a colour, and its number is written in. With so many codes some colours look alike, so
# trust the numbers. The colours are chosen at random, because two codes with neighbouring numbers need not be alike.

# %%
train, test = (world.codes[split][0].long() for split in ("train", "test"))
model = world.vqvae
fig = plots.code_maps(test[:4], K, images=model.decode(test[:4]), inch=1.9)
record.figure("02-02-codes", fig, title="Code maps of test images")

# %% [markdown]
# Along the upper edge of a map and along its two sides, where the background is, a few codes come again and again. They
# also come again in other images with the same background, for example in the first and the third. In the middle, where
# the face is, codes seldom repeat. So a prior can easily guess a background code from its neighbours, but for the face
# it has to know more of the past.
#
# ## A masked convolution
#
# We want all $T$ conditionals in one pass. So we need a **causal** network, which is a network whose output at $t$
# depends only on inputs before $t$. A **masked convolution** achieves this by setting the kernel's taps (its individual
# weights) on later positions to zero.
#
# There are two masks. **Mask A** also hides the position itself, and it belongs in the first layer. **Mask B** shows
# the position itself, and the later layers use it. After the first layer, a position holds only features of earlier
# codes, so mask B leaks nothing there. The figure shows both masks for a 5x5 kernel, where 1 marks a tap that is kept
# and 0 a tap that is hidden. The red frame marks the position itself.


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
    ax.plot((1.5, 2.5, 2.5, 1.5, 1.5), (1.5, 1.5, 2.5, 2.5, 1.5), color="red", linewidth=2)
record.figure("02-03-masks", fig, title="The two masks of a 5x5 kernel")

# %% [markdown]
# Both masks keep the rows above and what stands to the left, and both hide the rest. They differ in one tap only, which
# is the position itself.
#
# Does it work? To see this, we take the gradient of one output with respect to every input, as in notebook 01. If there
# is no path from an input to the output, this gradient is *exactly* zero. A zero could also come about when two paths
# cancel each other, so all weights of this test are positive. All inputs with a path form the **receptive field** of
# the output.
#
# The figure shows a stack of one to four masked layers on a 9x9 map. The red square is the position of the output. Grey
# and pink inputs have a gradient of exactly zero. Pink with a cross marks the positions before the output that even
# four layers do not reach, and the same positions are marked in every panel. The other colours give the size of the
# gradient, on a logarithmic scale that ends at the largest one of each panel. Look at how the coloured field grows from
# panel to panel, and at where it stops.


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
def gradient_bar(fig, axes):
    """The colour bar of panels that show receptive fields."""
    bar = fig.colorbar(axes.flat[0].images[0], ax=axes.ravel().tolist(), shrink=0.9)
    bar.set_label("log10(|gradient| / largest)", fontsize=8)


def mark_blind(ax, blind):
    """Pink with a cross where the map `blind` (H, W) is true."""
    pink = torch.tensor([0.80, 0.47, 0.65, 1.0])  # red, green, blue, opacity; where `blind` is false all four are 0
    ax.imshow(blind[..., None] * pink, interpolation="nearest")
    ax.plot(*blind.nonzero().flip(1).T, "x", color="black", markersize=5)


# %%
torch.manual_seed(seed)
side, at, depth = 9, (4, 4), 4
x = torch.randn(1, 3, side, side)
weights = [torch.rand(3, 3, 3, 3) for _ in range(depth)]  # positive, so that no path cancels another
gradients = [input_gradient(lambda x, n=n: naive_stack(x, weights[:n]), x, at) for n in range(1, depth + 1)]
before = torch.arange(side * side).view(side, side) < at[0] * side + at[1]  # in raster order
blind = (gradients[-1] == 0) & before

fig, (axes,) = plots.new_figure(1, depth, (2.0, 2.2))
for n, (ax, gradient) in enumerate(zip(axes, gradients, strict=True), 1):
    plots.receptive_field(gradient, at, ax, f"{n} masked layer{'s' * (n > 1)}")
    mark_blind(ax, blind)
gradient_bar(fig, axes)
record.figure("02-04-blind-spot", fig, title="Receptive field of masked 3x3 layers: the blind spot never closes")

# %% [markdown]
# Neither the red square itself nor any later position is seen, so the masks do their work. They are grey in all panels.
# In the first panels some earlier positions are grey, too, but more layers reach them. The pink wedge above the red
# square, on the right, also consists of earlier positions, but it is never seen, however many layers there are. This
# wedge is the **blind spot**. Within a row the mask lets a path go only to the left, so a path has to climb one row to
# get one column to the right. Therefore a position that is further to the right than up stays out of reach for ever.
# The next cell counts the pink positions.

# %%
assert (gradients[-1][~before] == 0).all()
print(f"after {depth} layers {blind.sum()} of the {before.sum()} earlier positions are still unseen")

# %% [markdown]
# ## Two streams, shifted instead of masked
#
# The cure comes from *Conditional Image Generation with PixelCNN Decoders*, the paper's reference 34. It splits the
# past into two rectangles, because plain convolutions can cover a rectangle. Each rectangle has a stack of layers of
# its own, called a *stream*.
#
# * The **vertical stream** $v$ sees the rows above, to both sides.
# * The **horizontal stream** $h$ sees the same row to the left, and at every layer it takes in what $v$ found. But $v$
#   must never read $h$, and below we shall see why.
#
# The input is shifted only once, by a row for $v$ and by a column for $h$. Each layer may then look at its own
# position, because the shift has put an earlier code there. So nothing has to be masked, and the kernels hold only taps
# that are kept.
#
# First we check one layer. The next cell splits a mask-A kernel into its upper rows, which act on the shifted $v$, and
# its left part, which acts on the shifted $h$. The sum of the two must equal the masked convolution. So for a single
# layer the two ways are the same, and they differ only when layers are stacked.

# %%
torch.manual_seed(seed)
x, w = torch.randn(2, 3, side, side), torch.randn(4, 3, 5, 5)
r = 5 // 2
# Padding by 1 at one end and by -1 at the other shifts a map: zeros come in, and the last row or column is cut off.
v, h = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1))  # the row above; the code to the left
# Zeros keep the map's size. The shift has added one row of them above (or one column at the left), so r - 1 suffice
# there.
above = F.conv2d(F.pad(v, (r, r, r - 1, 0)), w[:, :, :r])
left = F.conv2d(F.pad(h, (r - 1, 0, 0, 0)), w[:, :, r : r + 1, :r])
assert torch.allclose(masked_conv(x, w, "A"), above + left, atol=1e-4)
kept = int(mask(5, "A").sum())
assert kept == w[0, 0, :r].numel() + w[0, 0, r, :r].numel()
print(
    f"of {w[0, 0].numel()} kernel taps mask A keeps {kept}; the two parts have just those, and no mask; results equal"
)

# %% [markdown]
# Now we use the layers of `ralkit`, which run both streams, on the same 9x9 map. Their windows are a little larger than
# mask A. On the shifted maps a layer may look at its own position as well, as mask B does. So a layer that is 3 wide
# looks at two rows of $v$ and at two columns of $h$. After one layer, $h$ sees six codes above and two to the left,
# where mask A shows three and one. This larger window is not what removes the blind spot, because deeper masked stacks
# see further, too, and never close it.
#
# In the figure, the upper row shows the receptive field of $v$ and the lower row that of $h$, after one to four layers.
# The colours mean the same as before. Look at whether $h$, in the last panel, sees everything before the red square and
# nothing else.


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
gradient_bar(fig, axes)
record.figure(
    "02-05-two-streams", fig, title="Receptive fields of the vertical and the horizontal stream: no blind spot"
)

# %% [markdown]
# The field of $v$ is a rectangle, which grows upwards and to both sides. The field of $h$ is the same rectangle and a
# piece of the current row. In its last panel no earlier position is grey, so the blind spot is gone. Far positions are
# dark, because their gradient is small beside that of the nearest code, but it is not zero.
#
# Why may $v$ look to the right within a row, when a masked layer may not? A masked layer has only one map of features.
# After mask A, its value at a position holds the codes before that position. So the feature one step to the right in
# the same row already holds the code to be predicted, and the masks forbid that step. One kernel serves every row. So a
# path may climb to the right, but it can never step to the right within a row, not even in a row above, which is
# already finished. The vertical stream is a map of its own, and its value in row $i$ holds only codes of the rows above
# $i$. This is true at every place of the row, so looking to the right brings in nothing forbidden. Therefore a path
# gets to the right without climbing a row for each column, and no wedge is left.
#
# This is also why $v$ must never read $h$. The value of $h$ at a place also holds codes of the same row, namely those
# to the left of the place. If $v$ took it in, $v$ would hold these codes, too. The next layer of $v$ looks one step to
# the right, and seen from there, the code to be predicted stands on the left. So this code would enter $v$, and from
# $v$ it would get into $h$ and into its own prediction.
#
# The next cell tests that $h$ sees all earlier positions and no others.

# %%
# The loop above ended with h after all layers, so `gradient` is that of the last panel.
assert (gradient[~before] == 0).all() and (gradient[before] > 0).all()
print(f"after {depth} layers all {before.sum()} earlier positions are seen, and none of the {(~before).sum()} others")

# %% [markdown]
# ### The gate
#
# In each layer both streams go through a **gated activation**. It splits the channels into two halves $a$ and $b$. The
# half $a$ says *what* passes, and the half $b$ says *how much of it*:
#
# $$y = \tanh(a) \odot \sigma(b) .$$
#
# The figure shows $y$ in colour, with $a$ along the horizontal axis and $b$ along the vertical one. Where $b$ is very
# negative, the gate is closed and $y$ is near 0 for every $a$.

# %%
torch.manual_seed(seed)
x = torch.randn(1, 6, 2, 2)
a, b = x[:, :3], x[:, 3:]
assert torch.equal(gate(x), torch.tanh(a) * torch.sigmoid(b))

grid = torch.linspace(-4, 4, 81)
fig, ((ax,),) = plots.new_figure(size=(3.6, 3.0))
shown = ax.imshow(grid.tanh()[None] * grid.sigmoid()[:, None], extent=(-4, 4, -4, 4), origin="lower", cmap="RdBu")
ax.set(xlabel="a: what", ylabel="b: how much")
fig.colorbar(shown, label="y", shrink=0.75)  # about as tall as the square
record.figure("02-06-gate", fig, title="The gated activation tanh(a) sigmoid(b)")

# %% [markdown]
# At the top, where $b$ is large, the gate is open, and $y$ goes from -1 (red) to 1 (blue) as $a$ grows. Further down,
# all colours fade to white. So the network can switch a channel off at positions where it is of no use.
#
# ### The layer and the network
#
# One layer and the whole network are short enough to write here. These parts of `ralkit`'s network are needed:
#
# * `embedding` turns each code into a vector.
# * `vertical` and `horizontal` are the convolutions of the two streams of a layer. `reach` is how far their windows
#   look, which is 2 for a window 5 wide.
# * `link` is a 1x1 convolution. It brings what the vertical stream has seen, before its gate, into the horizontal
#   stream.
# * `out` is another 1x1 convolution, which mixes the channels behind the gate. The result is added to $h$. Such a sum
#   is called a skip connection or residual connection.
# * `head` turns the last $h$ into $K$ numbers for each position. They are called **logits**, and their softmax is $G$.
#
# The next figure draws this layer for a window 3 wide, and shows what it sees of a small map. Each code is named by its
# number $t$. First follow the framed place through both shifts. Then compare the three small maps below. They show what
# the output sees after one layer, after a few layers, and with masks in place of the two streams.

# %%
fig = diagrams.two_streams(7)
record.figure("02-06b-layer", fig, title="A gated layer of two streams, and what it sees beside masked layers")

# %% [markdown]
# In the shifted maps, the framed place holds the code above or the code to the left, and never its own. So one layer
# sees a few earlier codes, some of them through $v$ (blue) and some through $h$ (light orange). The dark orange cell is
# the code to be predicted. A few layers see all codes before it. Masked layers never see the pink codes.
#
# The next cell writes what the drawing shows. The function `vertical_part` is the upper row of boxes, `horizontal_part`
# is the lower row, and `logits_by_hand` shifts the codes once and then goes through all layers.


# %%
def vertical_part(layer, v):
    """The next v (B, C, H, W) of a layer, and what it has seen (B, 2C, H, W), which is its map before the gate."""
    p = layer.reach
    seen = layer.vertical(F.pad(v, (p, p, p, 0)))  # zeros above and at both sides keep the size of the map
    return gate(seen), seen


def horizontal_part(layer, h, seen):
    """The next h (B, C, H, W) of a layer."""
    update = gate(layer.horizontal(F.pad(h, (layer.reach, 0))) + layer.link(seen))
    return h + layer.out(update)


def logits_by_hand(prior, codes):
    """The logits (B, H, W, K) of all codes (B, H, W), in one pass."""
    e = prior.embedding(codes).movedim(-1, 1)  # (B, C, H, W)
    v, h = F.pad(e, (0, 0, 1, -1)), F.pad(e, (1, -1))  # the row above; the code to the left
    for layer in prior.layers:
        v, seen = vertical_part(layer, v)
        h = horizontal_part(layer, h, seen)
    return prior.head(h.movedim(1, -1))


# %%
torch.manual_seed(seed)
tiny = PixelCNN(K, channels=16, layers=3).to(device)  # not trained yet: only its arithmetic is compared
with torch.no_grad():
    ours, theirs = logits_by_hand(tiny, test[:2]), tiny(test[:2])
assert torch.allclose(ours, theirs, atol=1e-4)
print(f"{len(ours)} maps: logits {tuple(ours.shape)}, so {K} for each code; they equal those of `ralkit`")

# %% [markdown]
# In `ralkit` these parts stand in `prior.GatedLayer` and `prior.PixelCNN`, with dropout for the training, and with some
# things that only the larger priors of notebook 05 need.
#
# ## The oracle prior
#
# We train such a network on the codes of the real images. The next notebooks will *declare* it to be the true
# distribution, and for this reason it is called `world.oracle`. Its loss is the **negative log-likelihood** (NLL),
# which says how surprised the prior is by a map:
#
# $$-\log p(c) = -\sum_{t=0}^{T-1} \log G(c_t \mid c_0, \dots, c_{t-1}) .$$
#
# To make this loss small means to make the training maps probable, so this training is called **maximum likelihood**
# (MLE).
#
# The next cell shows the whole training loop. So that it takes only a second or two, it trains the small network `tiny`
# from above for 40 updates. Each update draws a batch of code maps at random and computes its loss. Then `backward`
# computes the gradient of the loss, and the optimiser Adam changes the weights a little, so that the loss falls.
# `F.cross_entropy` takes the softmax of the logits and adds up $-\log G$ over all codes of the batch.

# %%
optimiser = torch.optim.Adam(tiny.parameters(), lr=0.01)
torch.manual_seed(seed)
for update in range(1, 41):
    codes = train[torch.randint(len(train), (32,))]  # 32 maps of codes of real images
    logits = tiny(codes).movedim(-1, 1)  # (32, K, H, W), because `cross_entropy` wants the classes on axis 1
    loss = F.cross_entropy(logits, codes, reduction="sum") / len(codes)  # nats per map, the mean of the batch
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if update in (1, 20, 40):
        print(f"update {update:2}: -log p(c) is {loss.item():.1f}; uniform codes: T ln K = {T * math.log(K):.1f}")

# %% [markdown]
# The untrained network does no better than a guess among all $K$ codes, which would cost $T \ln K$ for each map. After
# 40 updates it already does much better. The oracle is trained by the same loop, `training.train_mle`, with a larger
# network and many more updates. There the learning rate falls to 0 over the second half of the updates.
#
# The network always reads real codes here, also as the past of each code. The section on exposure bias comes back to
# this.
#
# With the natural logarithm, the unit of the NLL is the **nat**. Three units are in use:
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
# | `NLL_train` | nats per image of the last training batch, with dropout, so it is noisy | must fall in the long run |
# | `NLL_test` | nats per image of test maps, not trained on, no dropout | rising while `NLL_train` falls: overfitting |
#
# In the tour, `NLL_test` belonged to the generator, and its test maps were samples of the oracle. Here it belongs to
# the oracle, and its test maps come from real images.
#
# A likelihood alone says little, so we compare it with two **baselines** that cost no training. In the *uniform*
# baseline, every code costs $\ln K$ nats. The baseline of *independent positions* ignores the neighbours. It only
# counts how often each code stands at each position of the training maps. We add one to every count, so that no code
# gets the probability 0. If a PixelCNN needs fewer nats than this baseline, then it knows something about the
# *relations* between codes.
#
# The next cell trains or loads the oracle, and computes what both baselines need on test maps.

# %%
with widgets.live(world.trainer):
    oracle = world.oracle  # trained now, its curves drawn meanwhile, or read from disk
cfg, size = world.config.oracle, sum(p.numel() for p in oracle.parameters())
print(f"the oracle has {cfg.layers} layers of {cfg.channels} channels, windows {cfg.k} wide, and {size:,} weights")
counts = torch.stack([torch.bincount(column, minlength=K) for column in train.flatten(1).T]) + 1.0  # (T, K)
log_p = (counts / counts.sum(1, keepdim=True)).log()
independent = -log_p[torch.arange(T, device=log_p.device), test.flatten(1)]  # (M, T), nats
uniform = T * math.log(K)

# %% [markdown]
# The figure shows both logged numbers against the updates. The dotted line is the uniform baseline, and the dashed
# line is that of independent positions. Look at how far the curves fall below the dashed line.

# %%
history = world.trainer.histories["oracle"]
fig, ((ax,),) = plots.new_figure(size=(5.5, 3.2))
for key in ("NLL_train", "NLL_test"):
    ax.plot(*plots.series(history, key), "o-", markersize=3, label=key)
ax.axhline(uniform, color="gray", linestyle=":", label="uniform")
ax.axhline(independent.sum(1).mean().item(), color="gray", linestyle="--", label="independent positions")
ax.set(xlabel="updates", ylabel="nats per image", ylim=(0, None))
ax.grid(alpha=0.3)
ax.legend(fontsize=8)
record.figure("02-07-training", fig, title="Training the oracle prior", data=history)

# %% [markdown]
# Before training, the prior is no better than uniform codes. At the next point it lies below the dashed line already,
# so it quickly learns relations between codes. Then `NLL_test` falls more and more slowly. `NLL_train` lies nearly on
# the same curve. Each of its points is a single batch, so small differences between the two curves may be chance. At
# the last point it lies a little below `NLL_test`, and the table below measures this gap on many maps. A prior
# **overfits** when it learns the training maps by heart and gets worse on others. `NLL_test` would then rise. It never
# does here, so this prior does not overfit yet.
#
# The next cell computes the likelihood by hand from the logits, and compares it with `ralkit`'s. The table after it
# lists the two baselines and the PixelCNN, on training maps and on test maps.

# %%
with torch.no_grad():
    logits = oracle(test[:16])  # (B, H, W, K)
    by_hand = logits.log_softmax(-1).gather(-1, test[:16, ..., None])[..., 0]  # log G(c_t | ...)
    assert torch.allclose(by_hand, oracle.log_prob(test[:16]), atol=1e-4)
print(f"the first test map: {-by_hand[0].sum():.1f} nats, {-by_hand[0].mean():.2f} nats a code")


# %%
@torch.no_grad()
def costs(codes):
    """Nats of every code under the oracle, (M, H, W)."""
    return torch.cat([-oracle.log_prob(part) for part in codes.split(500)])


per_code = costs(test)
nats = {
    "uniform": uniform,
    "independent positions": independent.sum(1).mean().item(),
    "PixelCNN, training maps": costs(train[: len(test)]).sum((1, 2)).mean().item(),
    "PixelCNN, test maps": per_code.sum((1, 2)).mean().item(),
}
rows = [
    {"model": name, "nats per image": x, "nats per code": x / T, "bits per code": x / T / math.log(2),
     "choices per code": math.exp(x / T)}
    for name, x in nats.items()
]  # fmt: skip
note = "Choices per code: the exponential of the nats, as if the model had to guess among so many equally likely codes."
record.table("02-08-likelihood", rows, title="Likelihood of the prior and two baselines", note=note)

# %%
knows = nats["independent positions"] - nats["PixelCNN, test maps"]
print(f"test maps, independent positions minus PixelCNN: {knows:+.1f} nats an image (above 0: the past helps)")
print(f"gap between test and training maps: {nats['PixelCNN, test maps'] - nats['PixelCNN, training maps']:.1f} nats")

# %% [markdown]
# The last column of the table is the easiest to imagine. Notebook 01 called such an exponential a perplexity. There it
# counted the codes in use, and here it counts the codes among which the model has to guess. A uniform prior guesses
# among all $K$ codes, and counting at each position makes the choice smaller. With the past known, only a handful of
# codes is left. The maps that the PixelCNN was trained on cost a little less than test maps, as at the end of the
# curves. But this gap is small beside what the past saves.
#
# Where in the map are the nats? The figure shows the mean nats of every position on test maps, for independent
# positions on the left and the PixelCNN on the right. Brighter positions cost more nats.

# %%
mean_cost = per_code.mean(0).cpu()  # (H, W)
maps = {"independent positions": independent.mean(0).view(H, W).cpu(), "PixelCNN": mean_cost}
top = max(map_.max().item() for map_ in maps.values())
fig, (axes,) = plots.new_figure(1, 2, (2.9, 2.6))
for ax, (name, map_) in zip(axes, maps.items(), strict=True):
    plots.picture(ax, map_, name, cmap="magma", vmin=0, vmax=top)
    ax.set(xlabel="column", ylabel="row", xticks=range(W), yticks=range(H))
fig.colorbar(axes[1].images[0], ax=axes.tolist(), label="nats per code")
i, j = divmod(mean_cost.argmax().item(), W)
print(f"first code {mean_cost[0, 0]:.2f} nats, the second {mean_cost[0, 1]:.2f}")
print(f"the most surprising one {mean_cost.max():.2f} nats, in row {i} and column {j} (the first ones are 0)")
print(f"first row {mean_cost[0].sum():.1f} nats, the middle one {mean_cost[H // 2].sum():.1f}")
record.figure(
    "02-09-nats-map", fig, title="Mean nats of every position on test maps", data={"nats": mean_cost.tolist()}
)

# %% [markdown]
# The first code has no past to lean on, so it costs the PixelCNN about as much as the other model. The codes beside it
# are cheap, because they mostly continue the same background. The face is the expensive part, even when all codes above
# it are known. There is also a lonely bright place in the last row, in column 1. The shirt begins about there, and
# nothing above tells its colour. Once this is known, the rest of the shirt is cheap.
#
# ## Causality, tested at every position
#
# If one shift is wrong, the network sees the code that it should predict. The loss is then wonderful, but the samples
# are rubbish. So we test the trained network for all pairs of positions. Is $\partial\,\text{logits}_t /
# \partial\,\text{input}_s$ exactly zero for every $s \ge t$? Codes have no gradient, but their embeddings do, so a
# hook makes the embeddings the input.
#
# Two details matter. First, we take the gradient of a random mixture of the logits. For the small tests above their
# plain sum was enough, because random weights hardly ever cancel exactly. In a trained network single logits may change
# while their sum stays the same, and then the sum would hide a leak. Second, a zero is tested only at this one map, so
# `tests/test_prior.py` tests other maps, and every kind of prior.
#
# In the left panel of the figure, each row is an output $t$, each column is an input $s$, and grey means exactly zero.
# So the diagonal and everything to the right of it must be grey. The ticks stand at the first code of each row of the
# map. The right panel shows one row of the left panel as a map, with the output's position in red. The left panel
# scales its colours by the largest of all gradients, and the right panel by the largest one of its own row. So compare
# colours only within a panel.


# %%
def dependence(prior, codes):
    """|d (w logits_t) / d embedded code_s|, (T, T), w random: row t, column s; codes (1, H, W)."""
    kept = []

    def keep(module, args, e):
        kept.append(e.detach().requires_grad_())
        return kept[0]  # what a forward hook returns takes the place of the module's output

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
reached = (matrix[past] > 0).float().mean()
print(f"at this map no output depends on itself or the future; of the past {reached:.0%} is in reach")

# %%
fig, (axes,) = plots.new_figure(1, 2, (3.6, 3.6))
shown = (matrix / matrix.max()).clamp(min=1e-30).log10().where(matrix > 0, torch.nan)
for ax in axes:
    ax.set_facecolor("#dddddd")
plots.picture(axes[0], shown, "all pairs", cmap="viridis", vmin=-4, vmax=0)
axes[0].set(xlabel="input s", ylabel="output t", xticks=range(0, T, W), yticks=range(0, T, W))
i, j = H // 2, W // 2
plots.receptive_field(matrix[i * W + j].view(H, W), (i, j), axes[1], f"row t = {i * W + j} as a map")
gradient_bar(fig, axes)
record.figure("02-10-causality", fig, title="Which outputs depend on which inputs (grey: exactly not)")

# %% [markdown]
# The upper triangle is grey, so the network is causal. The lower triangle is coloured everywhere, so it has no blind
# spot. It falls into blocks, and each block joins one row of outputs to one row of inputs of the map. A block tends to
# be brighter near its own diagonal, where the input stands in nearly the same column as the output. It is darkest in
# its upper right and lower left corners, where the input stands at the other side of the map. So at this map a code
# depends least on inputs that are many columns away. The right panel shows one output. Its brightest inputs are those
# just to the left of the red square and just above it.
#
# ## Sampling, the plain way
#
# Codes are drawn one after another. This takes $T$ forward passes, and each pass computes $T$ conditionals but uses
# only one. To draw a code from $K$ probabilities, we use one random number $u$, uniform in $[0, 1)$. We add up the
# probabilities of the codes 0, 1, 2 and so on, and choose the first code at which the sum exceeds $u$. We do not use
# `torch.multinomial`, because with our own $u$ two samplers can be compared code by code. (In the program, $u$ is
# multiplied by the last such sum, which is 1 except for rounding.)
#
# The figure shows decoded maps. The first row holds real maps, the next two rows hold maps drawn from the prior, and
# in the last row every code is drawn uniformly. Compare the drawn faces with the rows above and below them.


# %%
@torch.no_grad()
def sample_by_hand(prior, n, H, W, generator):
    u = torch.rand(n, H, W, device=device, generator=generator)
    # Later codes are still 0, which does no harm: the network is causal, so it does not read them.
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
record.figure("02-11-samples", fig, title="Maps drawn from the prior, decoded")

# %% [markdown]
# The drawn maps are faces, with one background, hair, two eyes and a shirt, each in its place. Some of them are smeared
# at the hair or at the mouth. Uniform codes give eyes and patches of skin at any place. So the decoder alone makes no
# face. The relations between the codes make it, and these are what the prior has learned.
#
# ## Sampling with a cache
#
# When one code is drawn, only one position of the map changes. So whatever does not look at this position need not be
# computed again, and a **cache** keeps those results:
#
# * The **vertical stream** of row $i$ looks only at rows above $i$, which are finished. So it is computed **once a
#   row**.
# * The **horizontal stream** at $(i, j)$ looks at the codes to the left. So it is computed for **one column** at a
#   time.
# * Each layer has to remember only what its window reaches. This is the last rows of $v$, the current row of $h$, and
#   what `link` brings to this row.
#
# The figure shows the work for one new code, the framed one. On the left, the plain sampler computes both streams at
# every position, for each code again. On the right, the cached sampler computes one row of $v$ when the row begins, and
# then $h$ at one place for each code. It reads the pale places from memory. So in the cached sampler each stream visits
# each position once per map, while the plain sampler visits every position for each code.

# %%
fig = diagrams.cache(W, oracle.layers[0].reach)
title = "To draw one code: what the plain and the cached sampler compute, keep and leave out"
print(f"positions computed for one map, in each stream: plain {T * T}, cached {T}")
record.figure("02-12-cache", fig, title=title)

# %% [markdown]
# So the cached sampler computes far fewer positions. It will not be faster by the same factor, because many small steps
# use a machine less well than one large pass. Below we measure the time.
#
# The next cells write the idea with the functions from above. When a row begins, `seen_above` runs the vertical stream
# once, and keeps what each layer has seen in this row. Then each code of the row runs only the horizontal stream, and
# only on this row.
#
# This program still wastes work. It computes $v$ for all rows and $h$ for a whole row, and then it uses only one row or
# one place of them. `ralkit.cache` leaves that out, too, and keeps the last rows and columns in buffers that are made
# once, before the first row.


# %%
def seen_above(prior, codes, i):
    """What each layer has seen in the rows above row i: a list of (n, 2C, 1, W)."""
    v, kept = F.pad(prior.embedding(codes).movedim(-1, 1), (0, 0, 1, -1)), []
    for layer in prior.layers:
        v, seen = vertical_part(layer, v)
        kept.append(seen[:, :, i : i + 1])  # in row i, `horizontal_part` reads no other row of it
    return kept


# %%
@torch.no_grad()
def sample_row_by_row(prior, n, H, W, generator):
    """As `sample_by_hand`, but v runs once a row, and h runs on one row only."""
    u = torch.rand(n, H, W, device=device, generator=generator)
    codes = torch.zeros(n, H, W, dtype=torch.long, device=device)
    for i in range(H):
        kept = seen_above(prior, codes, i)  # once a row is enough, because the rows above do not change any more
        for j in range(W):
            h = F.pad(prior.embedding(codes[:, i : i + 1]).movedim(-1, 1), (1, -1))  # (n, C, 1, W)
            for layer, seen in zip(prior.layers, kept, strict=True):
                h = horizontal_part(layer, h, seen)
            cdf = prior.head(h.movedim(1, -1))[:, 0, j].softmax(-1).cumsum(-1)  # (n, K)
            codes[:, i, j] = (cdf <= u[:, i, j, None] * cdf[:, -1:]).sum(-1)
    return codes


# %% [markdown]
# A cache must change *nothing*. So the same random numbers must give the same codes, and the logits must be those of
# the full pass. The next cell checks this for our program and for `ralkit`'s sampler, `prior.sample`, whose logits
# `cached_logits` returns.
#
# For the codes we use a copy of the network in double precision. In single precision the two ways round differently. So
# in rare cases $u$ falls between the two rounded values of a sum, and then the two ways choose different codes.

# %%
exact = copy.deepcopy(oracle).double()
assert torch.equal(sample_row_by_row(exact, 4, H, W, dice()), sample_by_hand(exact, 4, H, W, dice()))
with torch.no_grad():
    largest = (cached_logits(oracle, test[:8]) - oracle(test[:8])).abs().max().item()
    assert (cached_logits(exact, test[:8]) - exact(test[:8])).abs().max() < 1e-8
fast, slow = exact.sample(4, (H, W), generator=dice()), sample_naive(exact, 4, (H, W), generator=dice())
assert torch.equal(fast, slow)
print(f"positions computed by our program for one map: {H * T} of v and {T * W} of h, instead of {T * T} each")
print(f"in single precision the logits differ by at most {largest:.1e}; all {fast.numel()} sampled codes are equal")

# %% [markdown]
# (A coarser number format, such as bfloat16, can make sampling faster still, but then the codes come from a slightly
# different distribution. The docstring of `ralkit/cache.py` says how to use it.)
#
# How much time does the cache save? The table is measured here and now, on the machine that runs this notebook. Each
# row is a number of maps and their size. The speed-up is the time of the plain sampler divided by the time with the
# cache. A step draws one code in each of the maps, so there are 64 steps for 8x8 maps and 256 for 16x16 maps. The
# larger maps are only there for timing, which works because the network is convolutional and takes any size. The last
# column is one forward pass over the same maps. Such a pass gives all conditionals when all codes are known, as in
# training, but without the backward pass that training needs.


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
    plain, cached = seconds(lambda: sample_naive(oracle, n, shape), 1), seconds(lambda: oracle.sample(n, shape))
    codes = torch.zeros(n, *shape, dtype=torch.long, device=device)
    with torch.no_grad():
        forward = seconds(lambda: oracle(codes))
    return {"maps": n, "size": f"{side}x{side}", "plain, s": plain, "cache, s": cached, "speed-up": plain / cached,
            "ms a step, cached": 1000 * cached / side**2, "one full pass, s": forward}  # fmt: skip


rows = [timing(n, side) for n, side in ((1, H), (16, H), (4, 2 * H))]
note = f"Measured on {device_name(world.device)}; all but the plain sampler by the faster of two calls."
record.table("02-13-timing", rows, title="Time to sample, without and with the cache", note=note)

# %%
one, small, large = rows
for row in (small, large):
    print(f"{row['maps']} maps of {row['size']}: {row['speed-up']:.1f} times faster with the cache")
print(f"{small['maps']} maps take {small['cache, s'] / one['cache, s']:.1f} times as long as one, with the cache")
print(f"{large['size']}: cached sampling takes {large['cache, s'] / large['one full pass, s']:.0f} times one full pass")

# %% [markdown]
# On 8x8 maps the cache computes 64 times fewer positions, and on 16x16 maps 256 times fewer. The time falls by less
# than this. In the committed run, the speed-up is smallest for a single small map, larger for 16 maps of the same size,
# and largest for the 16x16 maps. A single small map gains less, probably because much of its time goes into starting
# each small product and not into arithmetic. This also fits the printed line that 16 maps take only about twice as long
# as one. For the larger maps, cached sampling takes only about three times as long as one full pass, although it has
# 256 steps. All these steps together compute no more positions than this one pass.
#
# **Where the cache does not help.** The $T$ steps remain *sequential*, because the cache makes steps cheaper, but not
# fewer. Many small steps leave a processor waiting. So it is best to draw many maps at once, because a batch costs far
# less than its maps one by one. (On a GPU, `sample` launches the work of a whole row at once, see `ralkit/graphs.py`.)
#
# The cache is also no use in training by maximum likelihood, where all codes are known and a single pass is enough.
# RAL, however, has to sample in every update, and that is why it needs the cache at all. It is also why the paper uses
# partial generation (section 4.3), in which some rows are given. Rows that are given cost only their vertical stream.
# This work remains, and exercise 4 measures how much time is left.
#
# ## Temperature
#
# The **temperature** $\tau$ is a number by which we divide the logits before drawing:
#
# $$p_\tau(c_t) \propto \exp(\text{logits}_t / \tau) .$$
#
# At a temperature below 1, the likely codes become likelier still. The figure shows the distribution of one code at
# four temperatures. The horizontal axis is the rank of the codes, with the likeliest first, and the vertical axis is
# their probability. Only the 20 likeliest of the $K$ codes are shown. Look at how the first codes gain as the
# temperature falls.

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
record.figure("02-14-temperature", fig, title="One conditional distribution at four temperatures")

# %% [markdown]
# The curves cross. The few likeliest codes gain whenever the temperature falls, and codes far behind them lose. In
# between, a code can first gain a little and then lose. The order of the codes stays the same, so a temperature never
# changes which code is the likeliest. It only changes how far this code is ahead of the others.
#
# The next figure shows decoded samples, with one row for each temperature. All samples in a column use the same random
# numbers. Still, they are different faces, because one changed code changes everything that is drawn after it.

# %%
by_tau = {tau: oracle.sample(10, (H, W), temperature=tau, generator=dice()) for tau in taus}
fig = plots.labelled_rows({f"temperature {tau}": model.decode(codes) for tau, codes in by_tau.items()})
record.figure("02-15-temperature-samples", fig, title="Samples at four temperatures, the same random numbers")

# %% [markdown]
# The hottest row has the most broken faces, for example the fourth, the sixth and the tenth. The three other rows are
# harder to tell apart by eye. Ten samples are also too few to show whether cooler samples are more alike. So the next
# cells measure how varied the samples are and how likely they are.
#
# The next figure has the temperature along both horizontal axes. The left panel shows **entropy** in nats per code,
# which says how uncertain a draw is. It is 0 if only one code is possible, and $\ln K$ if all codes are equally likely.
# The panel shows only the range of its two curves, and its title gives $\ln K$. The solid curve takes real maps as the
# past and averages the entropy of all conditionals. The dashed curve lets the sampler draw its own past. Entropy is the
# mean surprise of a distribution at its own draws. So this curve is the mean of $-\log p_\tau$ over maps that were
# drawn at $\tau$, divided by $T$ to give nats per code, too. When the curve is low, the sampler draws from few maps, so
# they are more alike.
#
# The right panel measures the same samples with the prior at $\tau = 1$, in nats per image. A lower NLL means that the
# prior finds the samples more likely, and the dashed line is the NLL of real test maps. At temperature 1 this NLL is
# the sampler's entropy times $T$.

# %%
grid, n = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4), min(world.config.n_curve, 256)
with torch.no_grad():
    logits = oracle(test[:n])
entropy = [torch.special.entr((logits / tau).softmax(-1)).sum(-1).mean().item() for tau in grid]
draws = [oracle.sample(n, (H, W), temperature=tau, generator=dice()) for tau in grid]
own = [-map_log_prob(oracle, codes, temperature=t).mean().item() / T for t, codes in zip(grid, draws, strict=True)]
under_prior = [-map_log_prob(oracle, codes) for codes in draws]
nll = [x.mean().item() for x in under_prior]
error = [x.std().item() / len(x) ** 0.5 for x in under_prior]  # the standard error of the mean

# %%
fig, (axes,) = plots.new_figure(1, 2, (3.8, 2.9))
axes[0].plot(grid, entropy, "o-", label="conditionals, on real maps")
axes[0].plot(grid, own, "s--", label="sampler")
axes[0].set(xlabel="temperature", ylabel="nats per code", title=f"entropy (of uniform codes: {math.log(K):.2f})")
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
record.figure("02-16-temperature-entropy", fig, title="Temperature trades diversity for likelihood", data=data)

# %%
real = nats["PixelCNN, test maps"]
for tau, value, e in zip(grid, nll, error, strict=True):
    print(f"temperature {tau}: {value:6.1f} nats an image, {value - real:+.1f} ± {2 * e:.1f} against real test maps")

# %% [markdown]
# (The numbers after ± are two standard errors.) All curves rise with the temperature. The right one meets the dashed
# line near temperature 1, where a perfect prior would meet it exactly. Colder samples lie below this line, so they are
# *more* likely than real maps. A low NLL alone does not make samples real. In the left panel, the sampler's curve is
# the steeper one, and the two curves cross near 0.8. A cold sampler draws a past of likely codes, and after such a past
# it is surer than after a real one. A hot sampler draws a past with unlikely codes, and after this it is less sure. At
# temperature 1 the two curves of a perfect prior would meet, because its own maps would be like real ones. Here the
# sampler's curve lies a little higher.
#
# Keep this in mind for RAL. A lower temperature needs no training, and it makes samples more likely under the oracle.
# But it makes them more alike, too. So each temperature gives a pair of numbers, which say how likely the samples are
# and how varied they are. If a method has more likely samples, we must ask whether some temperature would have given
# the same. The method is better only where its samples are more likely than those of the plain prior *at the same
# diversity*. Notebook 03 makes this comparison.
#
# ## Completion: some rows given
#
# **Completion** means to finish an image whose upper part is given. Raster order makes this easy. We keep the first
# rows of a real map and draw the rest after them, so sampling and completion are one function, `sample`.
#
# In the figure, the first row shows real images as decoded from their codes. In the second row the part that will be
# drawn is hidden in grey. The last three rows are different completions of the same images.

# %%
upper, some = H // 2, test[:10]  # how many rows are given, and of which maps
given = model.decode(some).clone()
given[:, :, upper * world.config.size // H :] = 0.7  # what is hidden, light grey
rows = {"real": model.decode(some), f"{upper} rows given": given}
generator = dice()
for n in (1, 2, 3):
    codes = oracle.sample(len(some), (H, W), given=some, given_rows=upper, generator=generator)
    assert torch.equal(codes[:, :upper], some[:, :upper])
    rows[f"completion {n}"] = model.decode(codes)
fig = plots.labelled_rows(rows)
record.figure("02-17-completion", fig, title="Real images completed from their upper half")

# %% [markdown]
# The completions keep the background, and they mostly continue the hair where the given rows show it. They differ in
# the colour of the eyes, in the mouth, at the sides of the hair and most of all in the shirt. The shirt varies most,
# because the upper half of a face says nothing about it.
#
# The upper half of a completion has the same codes as the real image, but some of its pixels differ a little. The
# reason is that the decoder looks across the seam between given and drawn codes.
#
# ## Exposure bias: where RAL comes in
#
# In training, every conditional $G(c_t \mid c_0 \dots c_{t-1})$ is asked about *real* codes. In sampling, it is asked
# about codes that the prior drew itself. After one unlikely code, the next step has to continue a past that is unlike
# all pasts of the training. Nothing has taught the prior what to answer there, so errors may pile up towards the bottom
# right. This mismatch is called **exposure bias**. The paper describes it in section 4: *"during the training, all
# latent codes are estimated from the real images while during inference each code is sampled, which could never be
# observed during the MLE training."*
#
# There is a second problem, because the likelihood looks only at codes and never at the *image*. If two wrong codes
# have the same probability, they cost the same. But the decoder may hide one of them, and turn the other into an ugly
# patch. RAL is meant to answer both problems at once. It trains on the model's own samples, and it lets a critic (a
# network that tells real images from generated ones) judge the decoded images.
#
# With a known truth this can be tested. The next notebook measures what RAL does to quality and diversity, and
# notebook 08 measures exposure bias itself.
#
# ## Explorer: temperature and given rows
#
# You can choose a temperature, a number of given rows and an image. At the left stands the real image, and to the right
# of the gap stand eight drawn ones. The title gives the mean NLL of these eight maps, in which their given codes count
# as well. The first call draws a static figure, and if a kernel is running, the sliders draw it again.


# %%
def complete(temperature=1.0, given_rows=upper, image=0):
    real = test[image : image + 1].expand(8, -1, -1)
    codes = oracle.sample(8, (H, W), temperature=temperature, given=real, given_rows=given_rows, generator=dice())
    nll = -map_log_prob(oracle, codes).mean().item()
    title = f"real | drawn, {given_rows} of {H} rows given, temperature {temperature}: {nll:.0f} nats an image"
    first, drawn = model.decode(real[:1]), model.decode(codes)
    return plots.image_grid(torch.cat([first, torch.ones_like(first), drawn]), columns=10, title=title)  # ones: white


complete()

# %% [markdown]
# With half of the rows given, all eight drawn images keep the background and the top of the hair. Below, they differ in
# the shirt, in the colour of the eyes and at the sides of the hair. In some of them, most clearly in the second and the
# sixth drawn one, a piece of hair even has another colour. Give no rows, and other backgrounds appear. Lower the
# temperature, and the images become more alike.

# %%
widgets.explore(complete, temperature=(0.2, 1.6, 0.1), given_rows=(0, H), image=(0, min(99, len(test) - 1)))

# %% [markdown]
# ## Readings and deviations
#
# 1. *"PixelCNN is used to learn priors in the latent space"* (section 3, reference 34). We read this as the gated
#    PixelCNN with two streams. `prior.PixelCNN`, `prior.GatedLayer`
# 2. *"Similar to VQ-VAE-2, we use PixelCNN with self-attention layers to model top-priors"* (section 5.1). But the
#    oracle experiment's priors have *"Attention layers 0"* (S-Table 4), and so have ours. `PixelCNN`
# 3. *"Layers 5, Conv Filter size 5, Hidden units 256, Residual units 256"* (S-Table 4a). We read these as the gated
#    layers, the width of the window, and the channels. The last two are always equal, so we have one number for both.
#    `PriorConfig.layers`, `.k`, `.channels`
# 4. *"Output stack layers 5"* (S-Table 4). We read these as gated 1x1 residual blocks before the logits. The presets
#    for small machines leave them out. `prior.OutputLayer`, `PriorConfig.output_layers`
# 5. *"To improve the sampling speed from prior networks, we use caching similar to [36] and avoid redundant
#    computation"* (section 5.1). We compute the vertical stream once a row, and the horizontal stream a code at a
#    time. `cache.Cache`
# 6. *"Dropout 0.1"* (S-Table 4). Dropout is on in training where the preset has it, and always off in sampling and
#    measuring. `PriorConfig.dropout`, `PixelCNN.sample`
# 7. The paper never gives the sampling temperature. We use 1 wherever methods are compared, and other temperatures
#    only where the temperature itself is the question. `sample(temperature=1.0)`
# 8. *"NLL 7.55"* for the MLE generator (Table 1). As a sum over 64 codes (Eq. 7) this is far too little, because it
#    means only 0.12 for each code. As a mean per code it is too much, because a guess among all 128 codes (S-Table 4)
#    costs only ln 128 = 4.85 nats (7 bits). We report nats per image and per code. `metrics.map_log_prob`
# 9. *"we first train a PixelCNN on the 8×8 latent codes"* of CelebA (section 5.2). Ours is trained on the codes of the
#    data set that you name, and on the cartoon faces if you name none. `OracleWorld.oracle`
# 10. *"mode-1 provides real latent codes as context and is useful for the image completion task"* (section 4.3). For
#     us completion is sampling with rows given. `sample(given=..., given_rows=...)`

# %% [markdown]
# ## To take away
#
# * A prior is a classifier over $K$ codes, applied $T$ times. Its likelihood is exact, and we measure it in nats.
# * Masks give causality but leave a blind spot, while two shifted streams see the whole past. The gradient shows both.
# * Always quote a likelihood beside the uniform baseline and the baseline of independent positions.
# * The cache changes the time and nothing else. The steps stay sequential.
# * Temperature is the cheapest way to get likelier samples at the price of diversity. So every other way has to be
#   compared with it first.
#
# ## Exercises
#
# **1.** *(Easy, 5 minutes.)* At temperature 1, one code is 1.1 times as likely as another. How many times as likely is
# it at temperature 0.01, to the nearest hundred? What does this mean for maps that are drawn at this temperature?

# %%
answer = None
check(answer, 1.1 ** (1 / 0.01), within=100)

# %% tags=["solution"] jupyter={"source_hidden": true}
# The logits are divided by 0.01, so every ratio of two probabilities is raised to the power 1 / 0.01 = 100. Each draw
# takes the likeliest code unless two are all but level. So maps repeat: they are cheap in nats, but poor as a sample.
cold = oracle.sample(64, (H, W), temperature=0.01, generator=dice())
different, cost = len(cold.flatten(1).unique(dim=0)), -map_log_prob(oracle, cold).mean()
print(f"the ratio becomes {1.1**100:.0f}")
print(f"{different} different maps of 64, {cost:.1f} nats an image; real test maps cost {real:.1f}")

# %% [markdown]
# **2.** *(Medium, 10 minutes.)* Take masked layers with 5x5 kernels in place of 3x3, on the same 9x9 map and with the
# same red square at its centre. How many of the earlier positions does the output never see, however many layers there
# are? Count them on paper first. How far to the right does a path get when it climbs one row?

# %%
answer = None
torch.manual_seed(seed)
x, wide = torch.randn(1, 3, side, side), [torch.rand(3, 3, 5, 5) for _ in range(depth)]
wide_gradient = input_gradient(lambda x: naive_stack(x, wide), x, at)
check(answer, float(((wide_gradient == 0) & before).sum()))

# %% tags=["solution"] jupyter={"source_hidden": true}
# A path now gets two columns to the right for each row that it climbs. So a position is blind only where it is more
# than twice as far to the right as up. On this map these are the last two positions of the row just above. The blind
# spot (pink) is smaller than with 3x3 kernels, but more layers do not close it either.
fig, axes = plots.new_figure(size=(3.3, 2.6))
plots.receptive_field(wide_gradient, at, axes[0, 0], f"{depth} masked layers, 5x5")
mark_blind(axes[0, 0], (wide_gradient == 0) & before)
gradient_bar(fig, axes)
fig

# %% [markdown]
# **3.** *(Medium, 15 minutes.)* The network `leaking` leaves out the shift of the horizontal stream. Fill in `leaks`,
# which finds such a mistake by the gradient. The check calls it for the right network and for the leaking one. Then
# think about the training log of a network with this leak. What would `NLL_train` and `NLL_test` do, and how would the
# samples look?


# %%
def causal(x):
    return streams(x, layers)[1]


def leaking(x):
    v, h = F.pad(x, (0, 0, 1, -1)), x  # h is not shifted
    for layer in layers:
        v, h = layer(v, h)
    return h


# %%
def leaks(f, x, at):
    """Whether the output of f at position `at` depends on x there or later; use input_gradient(f, x, at)."""
    return None


torch.manual_seed(seed)
x = torch.randn(1, 8, side, side)
answers = [leaks(f, x, at) for f in (causal, leaking)]
check(None if None in answers else [bool(a) for a in answers], [False, True])


# %% tags=["solution"] jupyter={"source_hidden": true}
# The leaking network sees the very code that it predicts, so NLL_train and NLL_test would both fall towards 0. But the
# samples would be bad, because in sampling the code at this place is not known yet. (In the figure the red mark is left
# out, so that the gradient at its place can be seen.)
def leaks(f, x, at):
    gradient = input_gradient(f, x, at)
    return (gradient.flatten()[at[0] * gradient.shape[1] + at[1] :] > 0).any().item()


leaked = input_gradient(leaking, x, at)
print(f"a leak in `causal`: {leaks(causal, x, at)}; in `leaking`: {leaks(leaking, x, at)}")
print(f"gradient at the position itself: {leaked[at]:.2f}, where it must be exactly 0")
fig, axes = plots.new_figure(size=(3.3, 2.6))
plots.receptive_field(leaked, (-1, -1), axes[0, 0], "without the shift").set(xlim=(-0.5, 8.5), ylim=(8.5, -0.5))
gradient_bar(fig, axes)
fig

# %% [markdown]
# **4.** *(Hard, 30 minutes.)* Write completion the plain way, as a change of `sample_by_hand`. Draw the random
# numbers for the whole map at once, as there, so that your codes can equal those of `ralkit`. Then think about the
# cached sampler. Which work remains for a row that is given? Before you open the solution, guess what share of the
# time is left when half of the rows are given. Is it a little over 50 %, or much more, and why? (The measurement is
# short. So if the computer is busy with other things meanwhile, the printed share can be far off, and even lie below
# 50 %.)


# %%
@torch.no_grad()
def complete_by_hand(prior, given, given_rows, generator):
    """Codes (n, H, W): the first rows are those of `given`, and the others are drawn after them."""
    return None


known = test[torch.arange(16) % len(test)]
right = sample_naive(oracle, 4, (H, W), given=known[:4], given_rows=H // 2, generator=dice())
answer = complete_by_hand(oracle, known[:4], H // 2, dice())
check(None if answer is None else torch.equal(answer, right), True)


# %% tags=["solution"] jupyter={"source_hidden": true}
@torch.no_grad()
def complete_by_hand(prior, given, given_rows, generator):
    n, H, W = given.shape
    u = torch.rand(n, H, W, device=device, generator=generator)
    codes = torch.zeros_like(given)
    codes[:, :given_rows] = given[:, :given_rows]
    for i in range(given_rows, H):
        for j in range(W):
            cdf = prior(codes)[:, i, j].softmax(-1).cumsum(-1)  # (n, K)
            codes[:, i, j] = (cdf <= u[:, i, j, None] * cdf[:, -1:]).sum(-1)
    return codes


# With the cache, given rows skip all their horizontal steps, but their vertical stream must still run, a row at a time.
# If it takes a share s of the time, then x = s + (1 - s) / 2 is left when half of the rows are given: 80% if s is 60%.
# So the printed share x tells what s is here, namely s = 2 x - 1. The vertical stream is no small part. With windows 5
# wide it looks at 3 rows of 5 places, so it has 15 taps, and the horizontal stream looks at 1 row of 3 places.
assert torch.equal(complete_by_hand(oracle, known[:4], H // 2, dice()), right)
full = seconds(lambda: oracle.sample(16, (H, W)), calls=5)
half = seconds(lambda: oracle.sample(16, (H, W), given=known, given_rows=H // 2), calls=5)
print(f"{T} steps {full:.3f} s, {T - H // 2 * W} steps {half:.3f} s: {half / full:.0%} of the time")

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
