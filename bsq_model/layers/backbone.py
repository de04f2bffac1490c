"""What encoder and decoder have in common whatever they are made of; the kinds stand in ``vit`` and ``cnn``.

Axes: B clips, T frames, N tokens of a frame, D width, F input and G output features of a token, L bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class FrameStream(Protocol):
    """One clip through a backbone, a frame at a time."""

    def push(self, x_NF: Tensor) -> Tensor:
        """The next frame's output [N, G]; ValueError after the backbone's last frame."""
        ...


class Backbone(nn.Module, ABC):
    """Tokens of F features to tokens of G features, over clips of at most ``num_frames`` frames.

    An encoder's input is patches and its output latents, a decoder's is codes and patches. ``embed`` and
    ``head`` are the first and last layer, on each token alone (a CNN has convolutions beyond them).
    """

    num_frames: int
    blocks: nn.ModuleList
    checkpoint_blocks: bool = False
    """Whether ``forward`` recomputes its blocks in the backward pass: less memory, more work, same values."""

    @abstractmethod
    def forward(self, x_BTNF: Tensor) -> Tensor:
        """All clips of one length, for training: [B, T, N, G]; differentiable."""

    @abstractmethod
    def infer(self, clips_TNF: Sequence[Tensor]) -> list[Tensor]:
        """Each clip's [T, N, G]; on CPU a causal backbone gives the bits that ``stream`` gives."""

    @abstractmethod
    def stream(self) -> FrameStream:
        """A stream over one clip, before its first frame; UsageError where later frames would count."""

    def check_frame(self, frame_index: int) -> None:
        """ValueError for a stream's frame after the last."""
        if frame_index >= self.num_frames:
            raise ValueError(
                f"the stream has had all {self.num_frames} frames that the tokenizer has "
                "positions for; start a new stream for the next clip"
            )


class LatentProjection(nn.Linear):
    """Width to L in float32, whatever the weights' dtype or autocast, since signs decide bits."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Linear's name)
        """[..., D] of any float dtype to float32 [..., L]."""
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), self.weight.float(), self.bias.float())
