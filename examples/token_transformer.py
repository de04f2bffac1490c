"""The network that both language models here are made of: a small transformer over a clip's grid of tokens.

Axes: B clips, T frames, H and W tokens of a frame, N = T·H·W positions in row-major order, D width, A heads,
L bits of a token, G groups of a token, g bits of a group, K = 2^g indices, R angles of a rotation.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_DIM = 32
# A head's 16 rotated pairs, shared out among time, height and width; the slowest turns by π in so many steps.
_AXES = ((4, 16.0), (6, 64.0), (6, 64.0))


def places(num_frames: int, height: int, width: int) -> Tensor:
    """(t, h, w) of each position of a clip, float32 [N, 3]."""
    return torch.cartesian_prod(torch.arange(num_frames), torch.arange(height), torch.arange(width)).float()


def rotary_angles(places_N3: Tensor) -> Tensor:
    """Angles [N, R] by which rotary embedding turns queries and keys, so that attention sees distances."""
    angles: list[Tensor] = []
    for axis, (count, slowest) in enumerate(_AXES):
        frequencies = math.pi * slowest ** -torch.linspace(0, 1, count)
        angles.append(places_N3[:, axis : axis + 1] * frequencies)
    return torch.cat(angles, dim=1)


def group_bits_of_indices(group_bits: int) -> Tensor:
    """The g bits of each index as ±1, float32 [K, g], most significant first, as in the view ``groups``."""
    shifts = torch.arange(group_bits - 1, -1, -1)
    return (torch.arange(2**group_bits)[:, None] >> shifts & 1).float() * 2 - 1


class GroupVectors(nn.Module):
    """A vector for each index of each group: a linear map of its bits, plus one of its own.

    Indices that share bits begin alike, so that a rare one can be told, too: 2^g vectors that know nothing of
    each other take far more clips.
    """

    bits_Kg: Tensor

    def __init__(self, num_groups: int, group_bits: int, width: int) -> None:
        super().__init__()
        self.of_bits_GgD = nn.Parameter(torch.randn(num_groups, group_bits, width) * 0.02)
        self.own_GKD = nn.Parameter(torch.randn(num_groups, 2**group_bits, width) * 0.02)
        self.register_buffer("bits_Kg", group_bits_of_indices(group_bits), persistent=False)

    def forward(self) -> Tensor:
        """float32 [G, K, D]."""
        return self.bits_Kg @ self.of_bits_GgD + self.own_GKD


class Block(nn.Module):
    """Attention with rotary embedding, then an MLP; each behind a LayerNorm and around it a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = mlp(width)
        # Equal biases of queries and keys: attention starts out looking at its own place in all frames, where
        # the same token often stands again. Begun at random, it finds that later.
        with torch.no_grad():
            self.qkv.bias.copy_(torch.cat([torch.ones(2 * width), torch.zeros(width)]))

    def forward(self, x_BND: Tensor, query_NR: Tensor, key_NR: Tensor, *, causal: bool) -> Tensor:
        """[B, N, D] → [B, N, D]; angles say where each query and each key stands."""
        qkv_BNAx = self.qkv(self.norm_attention(x_BND)).unflatten(-1, (-1, 3 * HEAD_DIM))
        q_BANd, k_BANd, v_BANd = qkv_BNAx.transpose(1, 2).chunk(3, dim=-1)
        y_BANd = F.scaled_dot_product_attention(
            _rotate(q_BANd, query_NR), _rotate(k_BANd, key_NR), v_BANd, is_causal=causal
        )
        x_BND = x_BND + self.out(y_BANd.transpose(1, 2).flatten(2))
        return x_BND + self.mlp(self.norm_mlp(x_BND))


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def _rotate(x_BANd: Tensor, angles_NR: Tensor) -> Tensor:
    first, second = x_BANd.chunk(2, dim=-1)
    cos, sin = angles_NR.cos(), angles_NR.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
