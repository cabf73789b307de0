"""ralkit: reinforced adversarial learning (RAL) for autoregressive image generation."""

__version__ = "0.1.0"
