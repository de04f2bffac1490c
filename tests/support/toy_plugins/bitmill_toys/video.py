"""toy-video: tokens of 4×8×8 pixels with a lead frame, four digits each, with memory of earlier frames.

Its weights are integers and its sums stay below 2²⁴, so that float32 computes them exactly, in any order.

Axes: T frames, H and W pixels, t, h and w tokens, D digits.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bitmill.bsq_model.fingerprint import update_with_weights
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.models.tokenizer_origin import TokenizerOrigin

_STEP, _PATCH = 4, 8


class ToyVideo(nn.Module):
    """Each digit is a weighted sum over the token's pixels, and half of what the row before it summed to."""

    geometry = Geometry(
        patch_px=(_PATCH, _PATCH),
        frames_per_token=_STEP,
        lead_frames=1,
        code=Code.of_digits((8, 8, 5, 5)),
        promises=("causal", "prefix", "streams"),
    )
    origin = TokenizerOrigin(origin="drawn from a seed", licence="CC0-1.0")

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(-3, 4, (_STEP * _PATCH * _PATCH * 3, 4), generator=generator)
        self.weight = nn.Parameter(drawn.float(), requires_grad=False)
        self.register_buffer("bases", torch.tensor(self.geometry.code.bases).float(), persistent=False)

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(b"toy-video 1")
        update_with_weights(digest, self.state_dict())
        return digest.hexdigest()[:32]

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "ToyVideo":  # type: ignore[override]
        if dtype != torch.float32:
            raise UsageError(f"toy-video computes in float32 alone, not {dtype}")
        return super().to(device)

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [self.stream_encoder().push(clip) for clip in clips]

    def decode(self, codes: Sequence[Tensor], /) -> list[Tensor]:
        return [self._decoded(codes_thwD) for codes_thwD in codes]

    def stream_encoder(self) -> "ToyStream":
        return ToyStream(self)

    def _decoded(self, codes_thwD: Tensor) -> Tensor:
        grey_thw = (codes_thwD[..., :2].sum(-1) * 16).clamp(0, 255).to(torch.uint8)
        repeats = [1, *[_STEP] * (len(grey_thw) - 1)]
        grey_Thw = grey_thw.repeat_interleave(torch.tensor(repeats, device=grey_thw.device), 0)
        grey_THW = grey_Thw.repeat_interleave(_PATCH, 1).repeat_interleave(_PATCH, 2)
        return grey_THW[..., None].expand(-1, -1, -1, 3).contiguous()


class ToyStream:
    """The encoder of one clip."""

    def __init__(self, tokenizer: ToyVideo) -> None:
        self._tokenizer = tokenizer
        self._memory_hwD: Tensor | None = None

    def push(self, frames_nHWC: Tensor) -> Tensor:
        rows = [self._row(frames) for frames in self._grouped(frames_nHWC)]
        return torch.stack(rows)

    def _grouped(self, frames_nHWC: Tensor) -> list[Tensor]:
        lead: list[Tensor] = []
        if self._memory_hwD is None:
            lead, frames_nHWC = [frames_nHWC[:1].expand(_STEP, -1, -1, -1)], frames_nHWC[1:]
        if len(frames_nHWC) % _STEP:
            raise UsageError(f"{len(frames_nHWC)} frames are no multiple of {_STEP}")
        return [*lead, *frames_nHWC.split(_STEP)] if len(frames_nHWC) else lead

    def _row(self, frames_4HWC: Tensor) -> Tensor:
        weight = self._tokenizer.weight
        frames = frames_4HWC.to(weight.device)
        patches = frames.unfold(1, _PATCH, _PATCH).unfold(2, _PATCH, _PATCH).permute(1, 2, 0, 4, 5, 3)
        sums_hwD = patches.flatten(2).float() @ weight
        if not bool(torch.isfinite(sums_hwD).all()):
            raise UsageError("a latent is not finite")
        if self._memory_hwD is not None:
            sums_hwD = sums_hwD + (self._memory_hwD / 2).floor()
        self._memory_hwD = sums_hwD.remainder(4096)
        return (self._memory_hwD / 16).floor().remainder(self._tokenizer.bases).long()
