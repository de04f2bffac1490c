"""Vector quantization by a learned codebook (arXiv 1711.00937): a code is the index of the nearest row.

Axes: t, h and w of the token grid, n tokens, K rows of the codebook, L channels of a row.
"""

import torch
from torch import Tensor

from bitmill.bsq_model.acceleration.workspace import empty_as

_DISTANCES = 1 << 20
"""Of tokens to rows that are in memory at a time."""


def indices_of_latents(latents_thwL: Tensor, codebook_KL: Tensor) -> Tensor:
    """Return the index of the nearest row to each latent, the first of equally near ones: int64 [t, h, w].

    Distances are |z|² + |e|² − 2·z·e in float32. Rows of tokens are computed one by one: what a token's index
    is must not depend on how many there are.
    """
    codebook_KL = codebook_KL.float()
    norms_K = codebook_KL.square().sum(-1)
    return torch.stack([_indices(row.float(), codebook_KL, norms_K) for row in latents_thwL])


def _indices(latents_hwL: Tensor, codebook_KL: Tensor, norms_K: Tensor) -> Tensor:
    parts = latents_hwL.flatten(0, 1).split(max(1, _DISTANCES // len(codebook_KL)))
    room_2nK = empty_as(codebook_KL, (2, len(parts[0]), len(codebook_KL)))
    found: list[Tensor] = []
    for latents_nL in parts:
        distances_nK, products_nK = room_2nK[:, : len(latents_nL)]
        torch.add(latents_nL.square().sum(-1, keepdim=True), norms_K, out=distances_nK)
        torch.matmul(latents_nL, codebook_KL.T, out=products_nK)
        found.append(distances_nK.sub_(products_nK, alpha=2).argmin(-1))
    return torch.cat(found).view(latents_hwL.shape[:2])
