"""Architectures of public image tokenizers, untrained, as peers in speed; left out where not installed."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

Coder = tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor]]
"""Encode, and encode with decode, of pixels float [B, 3, H, W] in [−1, 1]."""

_SDXL_VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 1024,
}
"""The published configuration: 83.7 M parameters, 8×8 pixels a latent."""

_VQ_F8: dict[str, Any] = {
    **_SDXL_VAE,
    "latent_channels": 4,
    "num_vq_embeddings": 16384,
    "vq_embed_dim": 4,
    "sample_size": 256,
}
"""The VQGAN of latent diffusion at 8×8 pixels a token, with 2^14 codes."""


def diffusers_peers(device: torch.device, dtype: torch.dtype) -> dict[str, Coder]:
    """By name; empty where diffusers is missing."""
    if find_spec("diffusers") is None:
        return {}
    from diffusers import AutoencoderKL, VQModel

    torch.manual_seed(0)
    kl = AutoencoderKL(**_SDXL_VAE).to(device, dtype).eval()
    vq = VQModel(**_VQ_F8).to(device, dtype).eval()
    return {
        "SDXL-VAE (diffusers)": (
            lambda x: kl.encode(x).latent_dist.mean,
            lambda x: kl.decode(kl.encode(x).latent_dist.mean).sample,
        ),
        "VQGAN f8 (diffusers)": (
            lambda x: vq.encode(x).latents,
            lambda x: vq.decode(vq.encode(x).latents).sample,
        ),
    }
