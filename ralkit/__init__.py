"""ralkit: reinforced adversarial learning (RAL) for autoregressive image generation.

The method is here and imports with torch alone; the course is `ralkit.course`.
"""

from .critic import PatchCritic, image_score
from .errors import RalkitError
from .prior import PixelCNN, PixelSNAIL, PriorConfig, SnailConfig, make_prior
from .protocols import Codes, Critic, Decoder, Prior
from .ral import RalConfig, advantages, policy_gradient_loss, ral_iteration, returns, rewards
from .sampling import AutoregressiveMixin, complete, sample_levels
from .vqvae import VQVAE, VQVAE2, VQVAEConfig, make_vqvae

__version__ = "0.1.0"

__all__ = [
    "VQVAE",
    "VQVAE2",
    "AutoregressiveMixin",
    "Codes",
    "Critic",
    "Decoder",
    "PatchCritic",
    "PixelCNN",
    "PixelSNAIL",
    "Prior",
    "PriorConfig",
    "RalConfig",
    "RalkitError",
    "SnailConfig",
    "VQVAEConfig",
    "advantages",
    "complete",
    "image_score",
    "make_prior",
    "make_vqvae",
    "policy_gradient_loss",
    "ral_iteration",
    "returns",
    "rewards",
    "sample_levels",
]
