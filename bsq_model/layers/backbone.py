"""Base classes of encoder and decoder; ``vit`` and ``cnn`` contain the implementations.

Axes: B clips, T frames, h and w tokens of a frame, D width, F input and G output features of a token, L bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class FrameStream(Protocol):
    """Runs one clip through a backbone, one frame at a time."""

    def push(self, x_hwF: Tensor) -> Tensor:
        """Return the next frame's output [h, w, G]; raises ValueError after ``num_frames`` frames."""
        ...


class Network(nn.Module):
    """An encoder or a decoder."""

    checkpoint_blocks: bool = False
    """Activation checkpointing: ``forward`` recomputes its blocks in the backward pass; same values."""


class Backbone(Network, ABC):
    """Maps tokens of F features to tokens of G features, over clips of at most ``num_frames`` frames.

    An encoder maps patches to latents, a decoder codes to patches. ``embed`` and ``head`` are the first and
    last layer; in the ViT they act on each token separately, in the CNN some of them are convolutions.
    """

    num_frames: int
    blocks: nn.ModuleList

    @abstractmethod
    def forward(self, x_BThwF: Tensor) -> Tensor:
        """Run clips of one length, for training: [B, T, h, w, G]; differentiable."""

    @abstractmethod
    def infer(self, clips_ThwF: Sequence[Tensor]) -> list[Tensor]:
        """Return each clip's [T, h, w, G], of clips of one grid; on CPU a causal backbone is bit-identical to
        ``stream``."""

    @abstractmethod
    def stream(self) -> FrameStream:
        """Start a stream over one clip; raises UsageError if frames depend on later frames."""

    def check_frame(self, frame_index: int) -> None:
        """Raise ValueError if a stream already had ``num_frames`` frames."""
        if frame_index >= self.num_frames:
            raise ValueError(
                f"the stream already had {self.num_frames} frames, the most that this tokenizer "
                "supports; start a new stream for the next clip"
            )


class LatentProjection(nn.Linear):
    """Projects width to L in float32, whatever the weights' dtype or autocast, because signs decide bits."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Linear's name)
        """Map [..., D] of any float dtype to float32 [..., L]."""
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), self.weight.float(), self.bias.float())
