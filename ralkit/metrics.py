"""The metrics: divergences under a known oracle, distance and overlap of features, AUC."""

import math

import torch
from torch import Tensor, nn

from .errors import RalkitError
from .protocols import Prior


def _code_log_prob(prior: Prior, codes: Tensor, temperature: float, batch: int) -> Tensor:
    """log p in nats of each code, given those before it, of code maps (B, H, W): (B, H, W)."""
    return torch.cat([prior.log_prob(c, temperature=temperature) for c in codes.split(batch)])


@torch.no_grad()
def map_log_prob(prior: Prior, codes: Tensor, temperature: float = 1.0, batch: int = 512) -> Tensor:
    """log p(c) in nats of each code map of codes (B, H, W), `batch` maps at a time: (B,)."""
    return _code_log_prob(prior, codes, temperature, batch).sum((1, 2))


@torch.no_grad()
def oracle_metrics(
    G: Prior,
    oracle: Prior,
    sampled: Tensor,
    oracle_codes: Tensor,
    temperature: float = 1.0,
    oracle_log_prob: Tensor | None = None,
    batch: int = 512,
) -> dict[str, float]:
    """Nats per image, from codes (N, H, W) sampled from G at `temperature` and fresh codes (M, H, W) of the oracle.

    NLL_oracle = -E_G log oracle (Eq. 7: quality); entropy = -E_G log G; KL(G||oracle) is their difference.
    NLL_test = -E_oracle log G (diversity); KL(oracle||G) = NLL_test - entropy of the oracle.
    JS = KL(G||M) / 2 + KL(oracle||M) / 2 is the Jensen-Shannon divergence, where M is the mixture of both, half and
    half. It is ln 2 for all that are far apart. JS by code has in place of M the model that mixes the two conditional
    distributions at each code; it can be as large as ln 2 a code. Both are finite where a KL divergence is not.
    Keys that end in _se are standard errors. `oracle_log_prob` (M, H, W) are the log-probabilities of the oracle's
    codes under the oracle, each code given those before it, if they are known already.
    """
    g_g, g_o = _code_log_prob(G, sampled, temperature, batch), _code_log_prob(oracle, sampled, 1.0, batch)
    o_g, o_o = _code_log_prob(G, oracle_codes, temperature, batch), oracle_log_prob
    o_o = _code_log_prob(oracle, oracle_codes, 1.0, batch) if o_o is None else o_o
    by_code = [(own - _mixed(own, other)).sum((1, 2)) for own, other in ((g_g, g_o), (o_o, o_g))]
    g_g, g_o, o_g, o_o = (x.sum((1, 2)) for x in (g_g, g_o, o_g, o_o))
    by_map = [own - _mixed(own, other) for own, other in ((g_g, g_o), (o_o, o_g))]
    se = lambda *x: sum((v.var() / len(v)).item() for v in x) ** 0.5 / len(x)  # noqa: E731
    half = lambda x: (x[0].mean() / 2 + x[1].mean() / 2).item()  # noqa: E731
    return {
        "NLL_oracle": -g_o.mean().item(),
        "NLL_oracle_se": se(g_o),
        "entropy": -g_g.mean().item(),
        "KL(G||oracle)": (g_g - g_o).mean().item(),
        "KL(G||oracle)_se": se(g_g - g_o),
        "NLL_test": -o_g.mean().item(),
        "NLL_test_se": se(o_g),
        "KL(oracle||G)": (o_o - o_g).mean().item(),
        "KL(oracle||G)_se": se(o_o - o_g),
        "JS": half(by_map),
        "JS_se": se(*by_map),
        "JS by code": half(by_code),
        "JS by code_se": se(*by_code),
    }


def _mixed(a: Tensor, b: Tensor) -> Tensor:
    """The log of the mean of two probabilities, from their logs."""
    return torch.logaddexp(a, b) - math.log(2)


class _Features(nn.Module):
    """Lets torchmetrics take features that are already computed."""

    def __init__(self, dim: int):
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def _check_features(a: Tensor, b: Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise RalkitError(f"two feature sets must be (N, D) and (M, D); these are {tuple(a.shape)}, {tuple(b.shape)}")
    if min(len(a), len(b)) < 2:
        raise RalkitError(f"{len(a)} and {len(b)} rows of features cannot be compared: give 2 or more of each")
    for x in (a, b):
        if bad := (~x.isfinite().all(1)).sum().item():
            raise RalkitError(
                f"{bad} of {len(x)} rows of features have a number that is not finite; look at the images"
            )


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two feature sets (N, D), (M, D), by torchmetrics.

    Raises RalkitError for features that are not finite, for fewer than 2 rows, and if torchmetrics is not installed.
    """
    _check_features(a, b)
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError as error:
        raise RalkitError(
            f"the Frechet distance needs a package that is not here ({error}): pip install torchmetrics"
        ) from error
    fid = FrechetInceptionDistance(feature=_Features(a.shape[1])).set_dtype(torch.float64)
    fid.update(a.double().cpu(), real=True)
    fid.update(b.double().cpu(), real=False)
    return fid.compute().item()


@torch.no_grad()
def fidelity(real: Tensor, fake: Tensor, k: int = 5, chunk: int = 512) -> dict[str, float]:
    """Precision, recall, density and coverage of two feature sets (N, D), (M, D): how much they overlap.

    The ball of a row reaches to the k-th nearest other row of its set, which is in it. precision: the share of fakes in
    a real ball; recall: of reals in a fake ball (Kynkäänniemi et al. 2019); density: how many real balls a fake is in,
    over k, 1 on average where both sets are drawn alike; coverage: the share of reals with a fake in their ball (Naeem
    et al. 2020). Distances are taken `chunk` rows at a time. Raises RalkitError if a set has k or fewer rows, if a
    feature is not finite, and if k or chunk is less than 1.
    """
    if min(k, chunk) < 1:
        raise RalkitError(f"k is {k} and chunk is {chunk}; both must be 1 or more")
    if min(len(real), len(fake)) <= k:
        raise RalkitError(
            f"{len(real)} real and {len(fake)} fake features have no {k} neighbours each: give {k + 1} or more."
        )
    _check_features(real, fake)
    real, fake = real.double(), fake.double()
    fake_radii = _radii(fake, k, chunk)
    balls, recalled, covered = 0, [], []
    for rows, radii in zip(real.split(chunk), _radii(real, k, chunk).split(chunk), strict=True):
        distances = torch.cdist(rows, fake)
        inside = distances <= radii[:, None]
        balls += inside.sum(0)  # of each fake: the real balls that it is in
        covered.append(inside.any(1))
        recalled.append((distances <= fake_radii).any(1))
    return {
        "precision": (balls > 0).double().mean().item(),
        "recall": torch.cat(recalled).double().mean().item(),
        "density": balls.double().mean().item() / k,
        "coverage": torch.cat(covered).double().mean().item(),
    }


def _radii(x: Tensor, k: int, chunk: int) -> Tensor:
    """The distances from the rows of x (N, D) to their k-th nearest other row: (N,)."""
    nearest = [torch.cdist(rows, x).topk(k + 1, largest=False).values for rows in x.split(chunk)]
    return torch.cat(nearest)[:, k]  # a row's nearest is itself


def auc(real: Tensor, fake: Tensor) -> float:
    """The chance that a real score is above a fake one (ties count half): scores (N,), (M,) -> .5 is chance.

    nan if a score is not finite.
    """
    real, fake = real.flatten().double(), fake.flatten().double().sort().values
    if not (real.isfinite().all() and fake.isfinite().all()):
        return float("nan")
    # A fake score that is below counts in both searches, one that is equal only in the second.
    twice = torch.searchsorted(fake, real) + torch.searchsorted(fake, real, right=True)
    return (twice.double() / (2 * len(fake))).mean().item()
