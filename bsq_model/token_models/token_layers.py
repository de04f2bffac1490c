"""Transformer layers over a clip's grid of tokens.

Axes: B clips, T frames, h and w tokens, N = T·h·w positions in row-major order, S keys, D width, A heads of X
features, D dimensions of a code (L bits or some digits), G groups of a token (of g bits, or a digit each),
K = 2^g values of a group, R angles of a rotation.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.schemas.models.token_model_config import HEAD_DIM, TokenModelConfig

_AXES = ((4, 16.0), (6, 64.0), (6, 64.0))
"""(pairs, steps in which the slowest pair rotates by π) of time, height and width; 16 pairs per head."""

_NO_CHANCE = -1e9
"""Finite, so that differences of logits are, too."""


def places(num_frames: int, height: int, width: int) -> Tensor:
    """Return (t, h, w) of each position of a clip, float32 [N, 3]."""
    axes = (torch.arange(num_frames), torch.arange(height), torch.arange(width))
    return torch.cartesian_prod(*axes).view(-1, 3).float()


def rotary_angles(places_N3: Tensor) -> Tensor:
    """Return rotary embedding angles [N, R] (arXiv 2104.09864), which encode distances on each axis."""
    angles: list[Tensor] = []
    for axis, (count, slowest) in enumerate(_AXES):
        exponents = torch.linspace(0, 1, count, device=places_N3.device)
        angles.append(places_N3[:, axis : axis + 1] * (math.pi * slowest**-exponents))
    return torch.cat(angles, dim=1)


def rotate(x_xX: Tensor, angles_xR: Tensor) -> Tensor:
    """Rotate the feature pairs (i, i + X/2); angles broadcast over leading axes."""
    first, second = x_xX.chunk(2, dim=-1)
    cos, sin = angles_xR.cos().to(x_xX.dtype), angles_xR.sin().to(x_xX.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def signs_of_values(group_bits: int) -> Tensor:
    """Return the g bits of each value as ±1, float32 [K, g], most significant first."""
    shifts = torch.arange(group_bits - 1, -1, -1)
    return (torch.arange(2**group_bits)[:, None] >> shifts & 1).float() * 2 - 1


def values_of_bits(bits_xL: Tensor, group_bits: int) -> Tensor:
    """Convert bool [..., L] to group values, int64 [..., G]; a group's first bit is the most significant."""
    powers_g = 2 ** torch.arange(group_bits - 1, -1, -1, device=bits_xL.device)
    return (bits_xL.unflatten(-1, (-1, group_bits)).long() * powers_g).sum(-1)


def bits_of_values(values_xG: Tensor, group_bits: int) -> Tensor:
    """The inverse of ``values_of_bits``: bool [..., L]."""
    shifts_g = torch.arange(group_bits - 1, -1, -1, device=values_xG.device)
    return ((values_xG[..., None] >> shifts_g) & 1).bool().flatten(-2)


def values_of_codes(codes_xD: Tensor, config: TokenModelConfig) -> Tensor:
    """Return the values of groups, int64 [..., G], of bits (bool) or digits (int64)."""
    return values_of_bits(codes_xD, config.group_bits) if config.levels is None else codes_xD


def codes_of_values(values_xG: Tensor, config: TokenModelConfig) -> Tensor:
    """The inverse of ``values_of_codes``: [..., D]."""
    return bits_of_values(values_xG, config.group_bits) if config.levels is None else values_xG


def no_codes(config: TokenModelConfig, *grid: int) -> Tensor:
    """Return codes of value 0, [*grid, D]."""
    dtype = torch.bool if config.levels is None else torch.int64
    return torch.zeros(*grid, config.dimensions, dtype=dtype)


def padded_logits(logits_xK: Tensor, num_values: int) -> Tensor:
    """Return logits of ``num_values`` values, of which those that the group lacks have no chance."""
    missing = num_values - logits_xK.shape[-1]
    return functional.pad(logits_xK, (0, missing), value=_NO_CHANCE) if missing else logits_xK


class GroupVectors(nn.Module):
    """An embedding for each value of each group: a linear map of its bits, plus a vector per value.

    Values that share bits share parameters, so that rare values are learned too; 2^g independent vectors need
    far more clips.
    """

    signs_Kg: Tensor

    def __init__(self, num_groups: int, group_bits: int, width: int) -> None:
        super().__init__()
        self.of_bits_GgD = nn.Parameter(torch.randn(num_groups, group_bits, width) * 0.02)
        self.own_GKD = nn.Parameter(torch.randn(num_groups, 2**group_bits, width) * 0.02)
        self.register_buffer("signs_Kg", signs_of_values(group_bits), persistent=False)

    def forward(self) -> Tensor:
        """Return float32 [G, K, D]."""
        return self.signs_Kg @ self.of_bits_GgD + self.own_GKD


class Block(nn.Module):
    """A pre-norm block: attention with rotary embedding, then an MLP, each with a residual."""

    def __init__(self, width: int, mlp_ratio: float) -> None:
        super().__init__()
        self.num_heads = width // HEAD_DIM
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio)
        # With equal biases of queries and keys, attention starts at the token's own place in all frames,
        # where the same token often recurs. From random biases it learns that later.
        with torch.no_grad():
            self.qkv.bias.copy_(torch.cat([torch.ones(2 * width), torch.zeros(width)]))

    def project(self, x_BND: Tensor, query_NR: Tensor, key_NR: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys (both rotated) and values, each [B, A, N, X]."""
        heads_BNAx = self.qkv(self.norm_attention(x_BND)).unflatten(-1, (-1, 3 * HEAD_DIM))
        q_BANX, k_BANX, v_BANX = heads_BNAx.transpose(1, 2).chunk(3, dim=-1)
        return rotate(q_BANX, query_NR), rotate(k_BANX, key_NR), v_BANX

    def finish(self, x_BND: Tensor, attended_BANX: Tensor) -> Tensor:
        """Run everything after attention: [B, N, D]."""
        x_BND = x_BND + self.out(attended_BANX.transpose(1, 2).flatten(2))
        return x_BND + self.mlp(self.norm_mlp(x_BND))

    def forward(
        self, x_BND: Tensor, query_NR: Tensor, key_NR: Tensor, *, mask_NN: Tensor | None, is_causal: bool
    ) -> Tensor:
        """Return [B, N, D]; attends where the mask is True, or causally if ``is_causal``."""
        q_BANX, k_BANX, v_BANX = self.project(x_BND, query_NR, key_NR)
        attended_BANX = functional.scaled_dot_product_attention(
            q_BANX, k_BANX, v_BANX, attn_mask=mask_NN, is_causal=is_causal
        )
        return self.finish(x_BND, attended_BANX)


def mlp(width: int, ratio: float = 4.0) -> nn.Sequential:
    """Return linear, GELU, linear, with equal input and output width."""
    inner = int(width * ratio)
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
