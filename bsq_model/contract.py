"""The contract of a tokenizer: what the pipeline and the jobs know of it, whatever its family.

Axes: T frames, H and W pixels, t, h and w of the token grid, N = all tokens of a pyramid, D dimensions of a
code.
"""

from collections.abc import Sequence
from math import prod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from bitmill.bsq_model.layers.patches import pixels_from_uint8, uint8_from_pixels
from bitmill.schemas.errors import BrokenContractError, UsageError
from bitmill.schemas.models.geometry import Geometry, Grid


class Tokenizer(Protocol):
    """A discrete tokenizer in eval mode: clips of frames to codes and back.

    A clip is uint8 [T, H, W, 3], RGB, of a length and size that ``geometry`` allows. Its codes are
    [t, h, w, D] (of a pyramid [N, D]): bool if ``geometry.code`` is bits, else int64 with dimension d in
    [0, ``code.bases[d]``). A clip's codes depend on no other clip of the call.
    """

    @property
    def geometry(self) -> Geometry:
        """Constant."""
        ...

    @property
    def fingerprint(self) -> str:
        """32 hex digits over config and float32 weights: equal ones give equal codes."""
        ...

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> object:
        """Move to a device and a dtype, in place. Raises UsageError if it cannot compute in the dtype."""
        ...

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        """Encode clips, on any device, to codes on any device, in order. Raises UsageError if a latent is not
        finite."""
        ...

    def decode(self, codes: Sequence[Tensor], /) -> list[Tensor]:
        """Decode codes to clips of as many frames as their rows stand for.

        A pyramid's codes do not tell their grid: see ``DecodesPyramids``, and call ``decode_clips``.
        """
        ...


class StartedCodes(Protocol):
    """Codes that an accelerator may still be computing."""

    @property
    def codes(self) -> list[Tensor]:
        """As ``Tokenizer.encode`` returns them."""
        ...

    @property
    def finite(self) -> Tensor:
        """Bool scalar: whether all latents are finite; if not, the codes are meaningless."""
        ...


@runtime_checkable
class StartsEncode(Protocol):
    """A tokenizer that can encode without waiting for its accelerator."""

    def start_encode(self, clips: Sequence[Tensor], /) -> StartedCodes:
        """Queue ``encode``; check ``finite`` before using the codes."""
        ...


@runtime_checkable
class DecodesPixels(Protocol):
    """A tokenizer that can decode to values before they are rounded to grey levels."""

    def decode_pixels(self, codes: Sequence[Tensor], /) -> list[Tensor]:
        """Decode to float32 [T, H, W, 3] in [−1, 1]."""
        ...


@runtime_checkable
class DecodesPyramids(Protocol):
    """A tokenizer of pyramids that decodes them by their grids. It needs no ``decode``."""

    def decode_pyramids(self, codes: Sequence[Tensor], grids: Sequence[Grid], /) -> list[Tensor]:
        """Decode codes [n, D] to float32 [T, H, W, 3] in [−1, 1], given the full grid t, h, w of each.

        The n tokens are those of all scales or of the first ones. These give a picture of the full size, too:
        what is known of it by then.
        """
        ...


class ClipStream(Protocol):
    """Encodes one clip chunk by chunk."""

    def push(self, frames_nHWC: Tensor, /) -> Tensor:
        """Encode the next n frames, uint8 [n, H, W, 3], to codes [rows, h, w, D].

        The first chunk has a legal length, later ones a multiple of ``frames_per_token``.
        """
        ...


@runtime_checkable
class Streams(Protocol):
    """A tokenizer that promises ``streams``."""

    def stream_encoder(self) -> ClipStream:
        """Return an encoder for one clip."""
        ...


def decode_clips(tokenizer: Tokenizer, codes: Sequence[Tensor], grids: Sequence[Grid]) -> list[Tensor]:
    """Decode codes of any layout to uint8 [T, H, W, 3], given the (full) grid t, h, w of each.

    Raises UsageError if a pyramid's tokenizer has no ``decode_pyramids`` and needs it.
    """
    if tokenizer.geometry.layout == "grid":
        return tokenizer.decode(codes)
    return [uint8_from_pixels(pixels_THWC) for pixels_THWC in decode_pixels(tokenizer, codes, grids)]


def decode_pixels(tokenizer: Tokenizer, codes: Sequence[Tensor], grids: Sequence[Grid]) -> list[Tensor]:
    """``decode_clips`` to float32 [T, H, W, 3] in [−1, 1]; from grey levels if it gives no others."""
    if tokenizer.geometry.layout == "pyramid":
        if isinstance(tokenizer, DecodesPyramids):
            return tokenizer.decode_pyramids(codes, grids)
        for codes_ND, grid in zip(codes, grids, strict=True):
            _check_grid_is_told(tokenizer.geometry, len(codes_ND), grid)
    elif isinstance(tokenizer, DecodesPixels):
        return tokenizer.decode_pixels(codes)
    return [pixels_from_uint8(clip_THWC, torch.float32) for clip_THWC in tokenizer.decode(codes)]


def decodes_scales(tokenizer: Tokenizer) -> bool:
    """Whether the first scales of its pyramids can be decoded without the others."""
    made_by_plugin = getattr(tokenizer, "inner", tokenizer)
    return tokenizer.geometry.layout == "pyramid" and isinstance(made_by_plugin, DecodesPyramids)


def _check_grid_is_told(geometry: Geometry, num_tokens: int, grid: Grid) -> None:
    """Raise UsageError unless a pyramid's number of tokens tells its grid."""
    if num_tokens != geometry.num_tokens(grid):
        raise UsageError("without decode_pyramids, it decodes pyramids only as a whole")
    alike = [
        name for name, grids in (geometry.schedules or {}).items() if sum(map(prod, grids)) == num_tokens
    ]
    if len(alike) > 1:
        raise UsageError(
            f"the pyramids of {' and '.join(alike)} have {num_tokens} tokens each, so that it needs "
            "decode_pyramids, which is told the grid"
        )


def device_of(tokenizer: Tokenizer) -> torch.device:
    """Return the tokenizer's ``device``, or that of its first parameter; CPU if there is none to be seen."""
    device = getattr(tokenizer, "device", None)
    if isinstance(device, torch.device):
        return device
    if isinstance(tokenizer, torch.nn.Module):
        for parameter in tokenizer.parameters():
            return parameter.device
    return torch.device("cpu")


def check_codes(codes: Tensor, geometry: Geometry, shape_THW: Sequence[int]) -> None:
    """Raise BrokenContractError unless these can be the codes of a clip of this shape."""
    code, (num_frames, height, width) = geometry.code, shape_THW
    grid = geometry.token_rows(num_frames), *geometry.grid(height, width)
    tokens = grid if geometry.layout == "grid" else (geometry.num_tokens(grid),)
    shape = (*tokens, code.dimensions)
    dtype = torch.bool if code.kind == "bits" else torch.int64
    if tuple(codes.shape) != shape or codes.dtype != dtype:
        raise BrokenContractError(
            f"codes are {codes.dtype} {list(codes.shape)}, not {dtype} {list(shape)}, for a clip of "
            f"{num_frames} frames of {height}×{width} pixels"
        )
    if code.kind == "bits" or not codes.numel():
        return
    largest = torch.tensor([base - 1 for base in code.bases], device=codes.device)
    if bool(((codes < 0) | (codes > largest)).any()):
        raise BrokenContractError(f"a code lies outside [0, {' × '.join(map(str, code.bases))})")


def check_pixels(pixels: Tensor, shape_THWC: Sequence[int]) -> None:
    """Raise BrokenContractError unless these can be the pixels of a decoded clip of this shape."""
    if pixels.dtype != torch.float32 or tuple(pixels.shape) != tuple(shape_THWC):
        raise BrokenContractError(
            f"decoded pixels are {pixels.dtype} {list(pixels.shape)}, not torch.float32 {list(shape_THWC)}"
        )
    if not bool((pixels.abs() <= 1).all()):
        raise BrokenContractError("a decoded pixel lies outside [−1, 1]")


def check_frames(frames: Tensor, shape_THWC: Sequence[int]) -> None:
    """Raise BrokenContractError unless these can be a decoded clip of this shape."""
    if frames.dtype != torch.uint8 or tuple(frames.shape) != tuple(shape_THWC):
        raise BrokenContractError(
            f"decoded frames are {frames.dtype} {list(frames.shape)}, not uint8 {list(shape_THWC)}"
        )
