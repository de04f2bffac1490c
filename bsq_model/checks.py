"""Checks of the tokenizer's inputs and outputs; each error names what is wrong."""

import torch
from torch import Tensor

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.geometry import Geometry, Grid, grid_name


def check_clip(clip_THWC: Tensor, config: TokenizerConfig) -> None:
    """Raise ValueError unless the clip is uint8 [T, H, W, 3] of the config's size, 1 ≤ T ≤ ``num_frames``.

    If positions are interpolated, H and W are multiples of the patch size.
    """
    if clip_THWC.dtype != torch.uint8:
        raise ValueError(f"a clip must be uint8 (grey levels 0 to 255), not {clip_THWC.dtype}")
    _check_shape("clip", clip_THWC, config.patch_size_px, 3, config)


def check_bits(bits_ThwL: Tensor, config: TokenizerConfig) -> None:
    """Raise ValueError unless bits are bool [T, h, w, L] of the tokenizer's grid, 1 ≤ T ≤ ``num_frames``.

    If positions are interpolated, h and w are at least 1.
    """
    if bits_ThwL.dtype != torch.bool:
        raise ValueError(f"bits must be bool, not {bits_ThwL.dtype}")
    _check_shape("bits", bits_ThwL, 1, config.bits_per_token, config)


def check_clip_fits(clip_THWC: Tensor, geometry: Geometry) -> None:
    """Raise ValueError unless the clip is uint8 [T, H, W, 3] of a legal length and size."""
    check_frames_fit(clip_THWC, geometry)
    if not geometry.is_legal(len(clip_THWC)):
        most = "" if geometry.most_frames is None else f", at most {geometry.most_frames}"
        raise ValueError(
            f"a clip must have {geometry.least_frames} + k·{geometry.frames_per_token} frames{most}, "
            f"not {len(clip_THWC)}"
        )


def check_frames_fit(frames_THWC: Tensor, geometry: Geometry) -> None:
    """Raise ValueError unless frames are uint8 [T, H, W, 3] of a size that the geometry allows."""
    if frames_THWC.dtype != torch.uint8:
        raise ValueError(f"a clip must be uint8 (grey levels 0 to 255), not {frames_THWC.dtype}")
    down, across = geometry.multiple_px
    shape = tuple(frames_THWC.shape)
    if len(shape) != 4 or shape[3] != 3 or shape[1] % down or shape[2] % across or not shape[1] * shape[2]:
        raise ValueError(
            f"a clip must have shape [T, H, W, 3] with H a multiple of {down} and W of {across}, "
            f"not {list(shape)}"
        )
    check_schedule(geometry, geometry.grid(*shape[1:3]))


def check_schedule(geometry: Geometry, grid_hw: tuple[int, int]) -> None:
    """Raise ValueError if the geometry is of pyramids and none has this full grid h, w."""
    if geometry.schedules is not None and grid_name(*grid_hw) not in geometry.schedules:
        height, width = (side * pixels for side, pixels in zip(grid_hw, geometry.patch_px, strict=True))
        raise ValueError(f"the tokenizer has no schedule for {height}×{width} pixels")


def check_scales_fit(codes_nD: Tensor, geometry: Geometry, shape_thw: Grid) -> None:
    """Raise ValueError unless these can be the bits of an image's first scales, or of all."""
    check_schedule(geometry, shape_thw[1:])
    dimensions, shape = geometry.code.dimensions, tuple(codes_nD.shape)
    if codes_nD.dtype != torch.bool or len(shape) != 2 or shape[1] != dimensions:
        raise ValueError(f"codes must be bool [n, {dimensions}], not {codes_nD.dtype} {list(shape)}")


def check_codes_fit(codes_thwD: Tensor, geometry: Geometry) -> None:
    """Raise ValueError unless these can be codes of a grid, t ≥ 1, of the geometry's kind and values."""
    code, shape = geometry.code, tuple(codes_thwD.shape)
    what = "indices" if code.kind == "index" else code.kind
    dtype = torch.bool if code.kind == "bits" else torch.int64
    if codes_thwD.dtype != dtype:
        raise ValueError(f"{what} must be {str(dtype).removeprefix('torch.')}, not {codes_thwD.dtype}")
    if len(shape) != 4 or shape[3] != code.dimensions or not codes_thwD.numel():
        raise ValueError(f"{what} must have shape [t, h, w, {code.dimensions}], not {list(shape)}")
    if code.kind == "bits":
        return
    bases_D = torch.tensor(code.bases, device=codes_thwD.device)
    if bool(((codes_thwD < 0) | (codes_thwD >= bases_D)).any()):
        raise ValueError(f"{what} must lie in [0, n), n being {' and '.join(map(str, code.bases))}")


def check_finite(x: Tensor, what: str) -> Tensor:
    """Return ``x``; raise UsageError if any value is not finite: NaN would pass as a bit or a pixel."""
    refuse_unless(torch.isfinite(x).all(), what)
    return x


def refuse_unless(finite: Tensor, what: str) -> None:
    """Raise UsageError if ``finite``, a bool scalar, is False; waits for its device."""
    if not bool(finite):
        raise UsageError(
            f"the tokenizer computed {what} that are not finite: its weights are damaged, or too large for "
            "their dtype; reload the weights and run it in float32"
        )


def _check_shape(name: str, x: Tensor, per_token: int, depth: int, config: TokenizerConfig) -> None:
    """``per_token``: rows and columns of x per token of a frame."""
    if config.positions == "fixed":
        side = config.grid_size * per_token
        fits = x.shape[1:] == (side, side, depth)
        expected = f"[T, {side}, {side}, {depth}]"
    else:
        fits = x.ndim == 4 and x.shape[3] == depth and x.shape[1] * x.shape[2] > 0
        fits = fits and not (x.shape[1] % per_token or x.shape[2] % per_token)
        expected = f"[T, height, width, {depth}], height and width multiples of {per_token}"
    if not fits:
        raise ValueError(f"{name} must have shape {expected}, not {list(x.shape)}")
    if not 1 <= x.shape[0] <= config.num_frames:
        raise ValueError(f"{name} must have 1 to {config.num_frames} frames, not {x.shape[0]}")
