"""Runs the prior one group at a time with cached keys and values; equals the full form up to rounding.

Keys and values are in a ring buffer of frames: the frame that leaves the window is overwritten token by
token, and its remaining tokens are masked. Shapes depend only on the number of tokens pushed.

Axes: B clips in parallel, D width, A heads of X features, G groups of a token, K values of a group, S cached
positions.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from bitmill.bsq_model.token_models.token_layers import Block, rotary_angles

if TYPE_CHECKING:
    from bitmill.bsq_model.token_models.prior.prior_model import Prior


class PriorStepper:
    """Steps through B clips; call ``next_logits`` and ``push`` alternately, in the order (t, h, w, group)."""

    def __init__(self, prior: "Prior", num_clips: int, height: int, width: int) -> None:
        self._prior, self._height, self._width = prior, height, width
        self._blocks = [block for block in prior.blocks if isinstance(block, Block)]
        parameter = prior.start_D
        with torch.inference_mode():
            self._vectors_GKD = prior.vectors()
            self._previous_BD = parameter.expand(num_clips, -1)
            self._nothing_BD = torch.zeros_like(self._previous_BD)
        # Vectors of the last h·w tokens, among them the token above and the one a frame earlier.
        self._last_frame: list[Tensor | None] = [None] * (height * width)
        self._token, self._group = 0, 0
        self._sum_BD = self._nothing_BD
        self._x_BD: Tensor | None = None
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._valid_S = torch.zeros(0, dtype=torch.bool, device=parameter.device)

    @torch.inference_mode()
    def next_logits(self) -> Tensor:
        """Return natural logits of the next group's values, float32 [B, K], on the prior's device."""
        if self._x_BD is None:
            self._x_BD = self._trunk_step()
        return self._prior.group_logits(self._x_BD, self._vectors_GKD[self._group], self._group)

    @torch.inference_mode()
    def push(self, indices_B: Tensor) -> None:
        """Append the actual values of that group, int64 [B], each in [0, K)."""
        if self._x_BD is None:
            self._x_BD = self._trunk_step()
        group_BD = functional.embedding(indices_B.to(self._nothing_BD.device), self._vectors_GKD[self._group])
        self._sum_BD = self._sum_BD + group_BD
        self._group += 1
        if self._group < self._prior.config.num_groups:
            self._x_BD = self._prior.after_group(self._x_BD, group_BD, self._group)
            return
        self._last_frame[self._token % len(self._last_frame)] = self._sum_BD
        self._previous_BD, self._sum_BD = self._sum_BD, self._nothing_BD
        self._token += 1
        self._group, self._x_BD = 0, None

    def _trunk_step(self) -> Tensor:
        tokens_per_frame = len(self._last_frame)
        place = self._token % tokens_per_frame
        above_BD = self._last_frame[place - self._width] if place >= self._width else None
        before_BD = self._last_frame[place] if self._token >= tokens_per_frame else None
        x_BD = self._prior.carried(
            self._previous_BD,
            self._nothing_BD if above_BD is None else above_BD,
            self._nothing_BD if before_BD is None else before_BD,
        )
        return self._through_blocks(x_BD[:, None])[:, 0]

    def _through_blocks(self, x_B1D: Tensor) -> Tensor:
        slot = self._make_room(x_B1D)
        query_1R, key_1R = self._angles(self._token), self._angles(max(self._token - 1, 0))
        for number, block in enumerate(self._blocks):
            q_BA1X, k_BA1X, v_BA1X = block.project(x_B1D, query_1R, key_1R)
            self._keys[number][:, :, slot] = k_BA1X[:, :, 0]
            self._values[number][:, :, slot] = v_BA1X[:, :, 0]
            attended_BA1X = functional.scaled_dot_product_attention(
                q_BA1X, self._keys[number], self._values[number], attn_mask=self._valid_S[None]
            )
            x_B1D = block.finish(x_B1D, attended_BA1X)
        return x_B1D

    def _make_room(self, x_B1D: Tensor) -> int:
        """Return the ring slot of the next position; at a frame's start, masks that frame's slots."""
        tokens_per_frame = len(self._last_frame)
        frame, place = divmod(self._token, tokens_per_frame)
        if place == 0:
            if frame < self._prior.window_frames:
                self._grow(x_B1D, tokens_per_frame)
            start = frame % self._prior.window_frames * tokens_per_frame
            self._valid_S[start : start + tokens_per_frame] = False
        slot = self._token % len(self._valid_S)
        self._valid_S[slot] = True
        return slot

    def _grow(self, x_B1D: Tensor, tokens: int) -> None:
        """Add memory for one more frame; zeros, because masked values must still be finite."""
        num_clips, _, width = x_B1D.shape
        heads = self._blocks[0].num_heads
        fresh = x_B1D.new_zeros(num_clips, heads, tokens, width // heads)
        if not self._keys:
            self._keys = [fresh.clone() for _ in self._blocks]
            self._values = [fresh.clone() for _ in self._blocks]
        else:
            self._keys = [torch.cat([kept, fresh], dim=2) for kept in self._keys]
            self._values = [torch.cat([kept, fresh], dim=2) for kept in self._values]
        self._valid_S = torch.cat([self._valid_S, self._valid_S.new_zeros(tokens)])

    def _angles(self, token: int) -> Tensor:
        frame, place = divmod(token, len(self._last_frame))
        at = (frame, place // self._width, place % self._width)
        return rotary_angles(torch.tensor([at], dtype=torch.float32, device=self._nothing_BD.device))
