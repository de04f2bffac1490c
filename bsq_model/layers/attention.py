"""Block-causal attention in three exact forms; functions and a key-value cache, no weights.

A token attends to all tokens of its own and earlier frames, and to none of a later frame (arXiv 2406.07548,
section 3). The forms compute the same numbers up to rounding:

- ``masked_attention``: the full sequence under a mask; for training.
- ``prefix_attention``: frame by frame over the clip's prefix, without mask or padding; for a batch on an
  accelerator.
- ``cached_attention``: one frame against the cached keys and values of earlier frames; for streams, and whole
  clips on CPU.

Axes: B clips, S = T·N tokens of a clip (T frames of N tokens), D features, E = 3·D (queries, keys, values in
this order), and inside SDPA B, heads, S, D/heads.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def block_causal_mask(num_frames: int, tokens_per_frame: int, device: torch.device) -> Tensor:
    """Return bool [S, S], row: query, column: key; True where the query may attend (SDPA's convention)."""
    frame_S = torch.arange(num_frames, device=device).repeat_interleave(tokens_per_frame)
    return frame_S[:, None] >= frame_S[None, :]


def masked_attention(qkv_BSE: Tensor, heads: int, mask_SS: Tensor | None) -> Tensor:
    """Attend over the whole sequence where the mask is True (everywhere if it is None): [B, S, D]."""
    q, k, v = (_split_heads(x, heads) for x in qkv_BSE.chunk(3, dim=-1))
    return _merge_heads(scaled_dot_product_attention(q, k, v, attn_mask=mask_SS))


def prefix_attention(qkv_BSE: Tensor, heads: int, tokens_per_frame: int) -> Tensor:
    """Attend from each frame to its own and all earlier frames of the clip: [B, S, D]."""
    q, k, v = (_split_heads(x, heads) for x in qkv_BSE.chunk(3, dim=-1))
    if qkv_BSE.shape[1] == tokens_per_frame:
        return _merge_heads(scaled_dot_product_attention(q, k, v))
    attended_BSD = qkv_BSE.new_empty(*qkv_BSE.shape[:2], qkv_BSE.shape[2] // 3)
    attended_BHSX = _split_heads(attended_BSD, heads)
    for start in range(0, qkv_BSE.shape[1], tokens_per_frame):
        end = start + tokens_per_frame
        attended_BHSX[:, :, start:end] = scaled_dot_product_attention(
            q[:, :, start:end], k[:, :, :end], v[:, :, :end]
        )
    return attended_BSD


class KeyValueCache:
    """Keys and values of one layer for one clip's frames so far; capacity doubles when full.

    Each head's rows are contiguous: attention reads them again for every later frame, and a layout with all
    heads interleaved makes it a tenth slower (docs/performance.md).
    """

    def __init__(self, capacity_frames: int = 1) -> None:
        self._capacity_frames = capacity_frames
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._num_tokens = 0

    def append(self, k_HNX: Tensor, v_HNX: Tensor) -> tuple[Tensor, Tensor]:
        """Add one frame's keys and values [heads, N, D/heads]; return those of all frames [heads, S, …]."""
        end = self._num_tokens + k_HNX.shape[1]
        self._keys = self._with(self._keys, k_HNX, end)
        self._values = self._with(self._values, v_HNX, end)
        self._num_tokens = end
        return self._keys[:, :end], self._values[:, :end]

    def clear(self) -> None:
        """Remove all frames but keep the memory, for the next layer."""
        self._num_tokens = 0

    def _with(self, buffer: Tensor | None, x_HNX: Tensor, end: int) -> Tensor:
        heads, num_tokens, width = x_HNX.shape
        if buffer is None:
            buffer = x_HNX.new_empty(heads, self._capacity_frames * num_tokens, width)
        elif end > buffer.shape[1]:
            grown = x_HNX.new_empty(heads, 2 * buffer.shape[1], width)
            grown[:, : self._num_tokens] = buffer[:, : self._num_tokens]
            buffer = grown
        buffer[:, self._num_tokens : end] = x_HNX
        return buffer


def cached_attention(qkv_NE: Tensor, heads: int, cache: KeyValueCache) -> Tensor:
    """Attend from one frame to itself and the cached frames: [N, D]; caches its keys and values."""
    q, k, v = (_split_heads(x[None], heads) for x in qkv_NE.chunk(3, dim=-1))
    keys, values = cache.append(k[0], v[0])
    return _merge_heads(scaled_dot_product_attention(q, keys[None], values[None]))[0]


def _split_heads(x_BSD: Tensor, heads: int) -> Tensor:
    return x_BSD.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge_heads(x_BHSX: Tensor) -> Tensor:
    return x_BHSX.transpose(1, 2).flatten(2)
