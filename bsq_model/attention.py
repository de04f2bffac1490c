"""Block-causal attention in its three exact forms; functions and a cache, no weights.

A token sees every token of its own frame and of all earlier frames, none of a later one (arXiv 2406.07548,
section 3). The forms compute the same numbers up to rounding:

- ``masked_attention``: the full sequence under a mask; training.
- ``prefix_attention``: frame by frame over the clip's prefix, no mask, no padding; a batch on an accelerator.
- ``cached_attention``: one frame against the cached keys and values of the frames before it; streams, and
  whole clips on CPU.

Axes: B clips, S = T·N tokens of a clip (T frames of N tokens), D features, E = 3·D (queries, keys, values in
this order), and inside SDPA B, heads, S, D/heads.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def block_causal_mask(num_frames: int, tokens_per_frame: int, device: torch.device) -> Tensor:
    """Bool [S, S], row: query, column: key; True where the query may attend (SDPA's convention)."""
    frame_S = torch.arange(num_frames, device=device).repeat_interleave(tokens_per_frame)
    return frame_S[:, None] >= frame_S[None, :]


def masked_attention(qkv_BSE: Tensor, heads: int, mask_SS: Tensor | None) -> Tensor:
    """Attention over the whole sequence where the mask says True (everywhere without one): [B, S, D]."""
    q, k, v = (_split_heads(x, heads) for x in qkv_BSE.chunk(3, dim=-1))
    return _merge_heads(scaled_dot_product_attention(q, k, v, attn_mask=mask_SS))


def prefix_attention(qkv_BSE: Tensor, heads: int, tokens_per_frame: int) -> Tensor:
    """Each frame's queries over the keys of its own and all earlier frames of the clip: [B, S, D]."""
    q, k, v = (_split_heads(x, heads) for x in qkv_BSE.chunk(3, dim=-1))
    frames: list[Tensor] = []
    for start in range(0, qkv_BSE.shape[1], tokens_per_frame):
        end = start + tokens_per_frame
        frames.append(scaled_dot_product_attention(q[:, :, start:end], k[:, :, :end], v[:, :, :end]))
    return _merge_heads(torch.cat(frames, dim=2))


class KeyValueCache:
    """Keys and values of one layer for one clip's frames so far; one buffer, doubled when full."""

    def __init__(self, capacity_frames: int = 1) -> None:
        self._capacity_frames = capacity_frames
        self._buffer: Tensor | None = None
        self._num_tokens = 0

    def append(self, kv_NX: Tensor) -> Tensor:
        """Add one frame's keys and values [N, 2·D]; returns those of all frames so far [S, 2·D], a view."""
        end = self._num_tokens + kv_NX.shape[0]
        if self._buffer is None:
            self._buffer = kv_NX.new_empty(self._capacity_frames * kv_NX.shape[0], kv_NX.shape[1])
        elif end > self._buffer.shape[0]:
            grown = kv_NX.new_empty(2 * self._buffer.shape[0], kv_NX.shape[1])
            grown[: self._num_tokens] = self._buffer
            self._buffer = grown
        self._buffer[self._num_tokens : end] = kv_NX
        self._num_tokens = end
        return self._buffer[:end]


def cached_attention(qkv_NE: Tensor, heads: int, cache: KeyValueCache) -> Tensor:
    """One frame's attention over the cached frames and itself [N, D]; its keys and values join the cache."""
    width = qkv_NE.shape[-1] // 3
    k, v = (_split_heads(x[None], heads) for x in cache.append(qkv_NE[:, width:]).chunk(2, dim=-1))
    q = _split_heads(qkv_NE[None, :, :width], heads)
    return _merge_heads(scaled_dot_product_attention(q, k, v))[0]


def _split_heads(x_BSD: Tensor, heads: int) -> Tensor:
    return x_BSD.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge_heads(x_BHSX: Tensor) -> Tensor:
    return x_BHSX.transpose(1, 2).flatten(2)
