"""A convolutional encoder and decoder that process each frame separately, for comparison with the ViT.

Residual blocks of group norm, SiLU and 3×3 convolutions, as in arXiv 2012.09841 (appendix A) without its
attention. For frames of side s they run at s, s/2, …, s/p pixels; channels double at each halving.

Axes: B clips, T frames, M frames of all clips, h and w tokens of a frame, C channels, H and W cells, F input
and G output features of a token, L bits, P values of a patch in (channel, row, column) order.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bitmill.bsq_model.layers.backbone import Backbone, LatentProjection
from bitmill.bsq_model.layers.output import values_per_patch
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig

_MOST_GROUPS = 32


class ResidualBlock(nn.Module):
    """``x + conv(silu(norm(conv(silu(norm(x))))))`` with the same number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_1 = _norm(channels)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_2 = _norm(channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_MCHW: Tensor) -> Tensor:
        """Return the same shape."""
        inner = self.conv_1(functional.silu(self.norm_1(x_MCHW)))
        return x_MCHW + self.conv_2(functional.silu(self.norm_2(inner)))


class FrameCNN(Backbone):
    """Base of both CNNs: runs clips, batches and streams over ``frames``, which subclasses implement."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.num_frames = config.num_frames
        self._patch_size_px = config.patch_size_px
        self.blocks = nn.ModuleList()

    @abstractmethod
    def frames(self, x_MhwF: Tensor) -> Tensor:
        """Process each frame separately: [M, h, w, G]."""

    def forward(self, x_BThwF: Tensor) -> Tensor:
        """Run all frames as one batch: [B, T, h, w, G]."""
        return self.frames(x_BThwF.flatten(0, 1)).unflatten(0, x_BThwF.shape[:2])

    def infer(self, clips_ThwF: Sequence[Tensor]) -> list[Tensor]:
        """Run frame by frame on CPU, so that results are bit-identical to ``stream``; one batch elsewhere."""
        if all(clip.device.type == "cpu" for clip in clips_ThwF):
            return [torch.cat([self.frames(x_hwF[None]) for x_hwF in clip]) for clip in clips_ThwF]
        # By default cuDNN rounds float32 to TF32's 10 bits, and may choose another algorithm each time.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            outputs = self.frames(torch.cat(list(clips_ThwF)))
        return list(outputs.split([clip.shape[0] for clip in clips_ThwF]))

    def stream(self) -> "CountedStream":
        """Start a stream over one clip."""
        return CountedStream(self)

    def run_blocks(self, x_MCHW: Tensor) -> Tensor:
        """Run ``blocks`` in order, recomputed in the backward pass if ``checkpoint_blocks``."""
        for block in self.blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                x_MCHW = checkpoint(block, x_MCHW, use_reentrant=False)
            else:
                x_MCHW = block(x_MCHW)
        return x_MCHW


class CNNEncoder(FrameCNN):
    """Encodes patches [h, w, P] to latents [h, w, L]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        channels = _channels(config.encoder, config.patch_size_px)
        self.embed = nn.Conv2d(3, channels[0], 3, padding=1)
        for level, width in enumerate(channels):
            if level:
                self.blocks.append(nn.Conv2d(channels[level - 1], width, 3, stride=2, padding=1))
            self.blocks.extend(ResidualBlock(width) for _ in range(config.encoder.layers))
        self.norm_out = _norm(channels[-1])
        self.head = LatentProjection(channels[-1], config.bits_per_token)

    def frames(self, x_MhwF: Tensor) -> Tensor:
        """Encode patches [M, h, w, P] to latents [M, h, w, L], float32."""
        x_MFhw = x_MhwF.flatten(1, 2).mT.unflatten(2, x_MhwF.shape[1:3])
        pixels = functional.pixel_shuffle(x_MFhw, self._patch_size_px)
        x_MCHW = self.run_blocks(self.embed(pixels))
        x_MCHW = functional.silu(self.norm_out(x_MCHW))
        return self.head(x_MCHW.flatten(2).mT).unflatten(1, x_MhwF.shape[1:3])


class CNNDecoder(FrameCNN):
    """Decodes codes [h, w, L] to output values [h, w, X]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        channels = _channels(config.decoder, config.patch_size_px)[::-1]
        self.embed = nn.Linear(config.bits_per_token, channels[0])
        for level, width in enumerate(channels):
            if level:
                self.blocks.append(nn.Upsample(scale_factor=2, mode="nearest"))
                self.blocks.append(nn.Conv2d(channels[level - 1], width, 3, padding=1))
            self.blocks.extend(ResidualBlock(width) for _ in range(config.decoder.layers))
        self.norm_out = _norm(channels[-1])
        self.head = nn.Conv2d(channels[-1], values_per_patch(config) // config.patch_size_px**2, 3, padding=1)

    def frames(self, x_MhwF: Tensor) -> Tensor:
        """Decode codes [M, h, w, L] to values [M, h, w, X]."""
        x_MCHW = self.embed(x_MhwF.flatten(1, 2)).mT.unflatten(2, x_MhwF.shape[1:3])
        x_MCHW = functional.silu(self.norm_out(self.run_blocks(x_MCHW)))
        return functional.pixel_unshuffle(self.head(x_MCHW), self._patch_size_px).movedim(1, -1)


class CountedStream:
    """A stream over one clip; its only state is the number of frames, because frames are independent."""

    def __init__(self, network: FrameCNN) -> None:
        self._network = network
        self._frame_index = 0

    def push(self, x_hwF: Tensor) -> Tensor:
        """Return the next frame's output [h, w, G], on CPU bit-identical to that of the whole clip."""
        self._network.check_frame(self._frame_index)
        self._frame_index += 1
        return self._network.frames(x_hwF[None])[0]


def _channels(sizes: TransformerConfig, patch_size_px: int) -> list[int]:
    """Channels at s, s/2, …, s/p pixels."""
    return [sizes.width * 2**level for level in range(patch_size_px.bit_length())]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_MOST_GROUPS, channels), channels)
