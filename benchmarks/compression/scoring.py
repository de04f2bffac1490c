"""From items and contenders to points: bits a pixel of whole files, and distortions of 8-bit pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.compression.contender import Contender
from benchmarks.compression.media import Frames, Item
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.metrics.reconstruction_quality import MS_SSIM_LEAST_PX, ms_ssim, psnr_db

Distance = Callable[[Tensor, Tensor], Tensor]

_EQUAL_DB = 100.0
_FRAMES_AT_ONCE = 4
_JUDGED_EVERY = 4
"""MS-SSIM and LPIPS of a video are those of each fourth frame."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting of a contender: means over items."""

    contender: str
    setting: int
    bits_per_pixel: float
    """Bits of all files over pixels of all frames."""
    psnr_db: float
    """Of a whole clip, then the mean over clips."""
    ms_ssim: float | None
    """Mean over each fourth frame, then over clips; null below 161 pixels."""
    lpips: float | None


@torch.inference_mode()
def measure(contender: Contender, items: Sequence[Item], setting: int, lpips: Distance | None) -> Point:
    """The point of one setting."""
    num_bits = num_pixels = 0
    rows: list[tuple[float, float | None, float | None]] = []
    for item in items:
        coded = contender.code(item, setting)
        if coded.frames_THWC.shape != item.frames_THWC.shape:
            raise ValueError(f"{contender.name} gave frames of {coded.frames_THWC.shape}")
        num_bits += coded.num_bytes * 8
        num_pixels += item.frames_THWC[..., 0].size
        rows.append(_scores(item.frames_THWC, coded.frames_THWC, lpips))
    means = [
        sum(values) / len(values) if (values := [value for value in column if value is not None]) else None
        for column in zip(*rows, strict=True)
    ]
    return Point(
        contender=contender.name,
        setting=setting,
        bits_per_pixel=num_bits / num_pixels,
        psnr_db=means[0] or 0.0,
        ms_ssim=means[1],
        lpips=means[2],
    )


def _scores(
    original: Frames, made: Frames, lpips: Distance | None
) -> tuple[float, float | None, float | None]:
    a, b = (pixels_from_uint8(torch.from_numpy(x.copy()), torch.float32) for x in (made, original))
    score = float(psnr_db(a[None], b[None])[0].clamp_max(_EQUAL_DB))
    a, b = a[::_JUDGED_EVERY], b[::_JUDGED_EVERY]
    structure = [ms_ssim(x, y) for x, y in _pieces(a, b)] if a.shape[1] >= MS_SSIM_LEAST_PX else []
    distance = [lpips(x, y) for x, y in _pieces(a, b)] if lpips is not None else []
    return (
        score,
        float(torch.cat(structure).mean()) if structure else None,
        float(torch.cat(distance).mean()) if distance else None,
    )


def _pieces(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(a.split(_FRAMES_AT_ONCE), b.split(_FRAMES_AT_ONCE), strict=True)
