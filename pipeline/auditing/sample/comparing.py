"""Compares a sample: stored codes with those of tokenizing again, reconstructions with originals.

Axes: t, h, w of the token grid, D dimensions of a code (bits, digits, or one index).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from math import prod
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitmill.bsq_model.contract import Tokenizer, decode_pixels
from bitmill.bsq_model.layers.patches import pixels_from_uint8, uint8_from_pixels
from bitmill.bsq_model.metrics.reconstruction_quality import clip_psnr_db, ssim
from bitmill.pipeline.auditing.sample.choose_sample import DrawnClip
from bitmill.pipeline.auditing.sample.pictures import strip
from bitmill.pipeline.inspection.source_frames import SourceFrames
from bitmill.pipeline.shard.encoder import Codes
from bitmill.pipeline.shard.model_encoder import ModelEncoder
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.packing import unpack_codes
from bitmill.schemas.models.geometry import Geometry, Grid
from bitmill.schemas.reports.audit_report import DIMENSION, Sample, SampledClip
from bitmill.schemas.requests.training import LPIPS_LEAST_PX

Lpips = Callable[[Tensor, Tensor], Tensor]
"""Maps two float [B, H, W, 3] in [−1, 1] to [B]."""

_SSIM_LEAST_PX = 11
_SHOWN_PLACES = 8
_NO_ORIGINAL = "its source does not give this clip now"


def compare_sample(
    drawn: Sequence[DrawnClip],
    originals: SourceFrames,
    tokenizer: Tokenizer,
    *,
    seed: int,
    lpips: Lpips | None,
    on_progress: Callable[[int], None],
) -> tuple[Sample, dict[str, bytes]]:
    """Decode and tokenize every drawn clip again; returns the report's section and its pictures by file name.

    The tokenizer is already on its device, in its precision; ``on_progress`` receives the number of finished
    clips. A clip whose source is missing is marked so.
    """
    comparison = _Comparison(originals, tokenizer, lpips)
    found: list[SampledClip] = []
    for one in sorted(drawn, key=lambda one: (one.clip.source, one.clip.start_ns)):
        found.append(comparison.compare(one))
        on_progress(len(found))
    found.sort(key=_worst_first)
    compared = [clip for clip in found if clip.differing_bits is not None]
    sample = Sample(
        seed=seed,
        num_clips=len(found),
        compared=len(compared),
        psnr_db=_mean(clip.psnr_db for clip in compared),
        ssim=_mean(clip.ssim for clip in compared),
        lpips=_mean(clip.lpips for clip in compared),
        num_bits=sum(clip.num_bits for clip in compared),
        differing_bits=sum(clip.differing_bits or 0 for clip in compared),
        clips=found,
    )
    return sample, comparison.pictures


class _Comparison:
    """Compares clips one by one."""

    def __init__(self, originals: SourceFrames, tokenizer: Tokenizer, lpips: Lpips | None) -> None:
        self.pictures: dict[str, bytes] = {}
        self._originals = originals
        self._tokenizer = tokenizer
        self._encoder = ModelEncoder(tokenizer)
        self._lpips = lpips

    @torch.inference_mode()
    def compare(self, drawn: DrawnClip) -> SampledClip:
        geometry, code = self._tokenizer.geometry, self._tokenizer.geometry.code
        clip, num_real = drawn.clip, len(drawn.frame_pts_ns)
        num_tokens = geometry.num_tokens(drawn.shape)
        num_pixels = num_real * prod(drawn.shape[1:]) * prod(geometry.patch_px)
        told = SampledClip(
            clip=clip,
            num_frames=num_real,
            psnr_db=None,
            ssim=None,
            lpips=None,
            bits_per_pixel=num_tokens * code.bits_per_token / num_pixels,
            num_bits=num_tokens * code.dimensions,
            differing_bits=None,
            differs_at=[],
        )
        problem = _foreign_shape(geometry, drawn.shape)
        if problem is not None:
            return told.model_copy(update={"problem": problem})
        grid = drawn.shape if geometry.layout == "grid" else (num_tokens,)
        stored: Any = unpack_codes(drawn.codes, num_tokens, code).reshape(*grid, code.dimensions)
        made_THWC = decode_pixels(self._tokenizer, [torch.from_numpy(stored)], [drawn.shape])[0][:num_real]
        shown_THWC = uint8_from_pixels(made_THWC).cpu().numpy()
        original_THWC = self._originals.find(clip.source, clip.key, clip.start_ns, num_real)
        picture = f"sample-{clip.clip_id}.webp"
        self.pictures[picture] = strip(original_THWC, shown_THWC, drawn.frame_pts_ns)
        told = told.model_copy(update={"picture": picture})
        if original_THWC is None:
            more = f" ({self._originals.problem})" if self._originals.problem else ""
            return told.model_copy(update={"problem": _NO_ORIGINAL + more})
        again: Any = self._encoder.encode([padded(original_THWC, geometry)])[0]
        original = pixels_from_uint8(torch.from_numpy(original_THWC), torch.float32).to(made_THWC.device)
        return told.model_copy(
            update={
                "differing_bits": int((again != stored).sum()),
                "differs_at": places_of_difference(stored, again, geometry, drawn.shape),
                **self._scores(original, made_THWC.float()),
            }
        )

    def _scores(self, original_THWC: Tensor, made_THWC: Tensor) -> dict[str, float]:
        scores = {"psnr_db": clip_psnr_db(made_THWC, original_THWC)}
        if min(original_THWC.shape[1:3]) >= _SSIM_LEAST_PX:
            scores["ssim"] = float(ssim(made_THWC, original_THWC).mean())
        if self._lpips is not None and min(original_THWC.shape[1:3]) >= LPIPS_LEAST_PX["lpips-alexnet"]:
            scores["lpips"] = float(self._lpips(made_THWC, original_THWC).mean())
        return scores


def _foreign_shape(geometry: Geometry, shape_thw: tuple[int, int, int]) -> str | None:
    """Return why the tokenizer cannot have made this grid, or None."""
    rows, height, width = shape_thw
    most, size_px = geometry.most_frames, geometry.size_px
    fits = rows >= geometry.lead_frames and geometry.is_legal(geometry.frames_of_rows(rows))
    own = None if size_px is None else geometry.grid(*size_px)
    if fits and own in (None, (height, width)):
        return None
    limits = [] if most is None else [f"up to {geometry.token_rows(most)}"]
    limits += [] if own is None else [f"of {own[0]} × {own[1]}"]
    shape = f"{counted(str(rows), _row_name(geometry))} of {height} × {width} tokens"
    return f"it has {shape}; the tokenizer takes {' '.join(limits) or 'others'}"


def places_of_difference(a: Codes, b: Codes, geometry: Geometry, shape_thw: Grid) -> list[str]:
    """Describe the first places where codes [t, h, w, D] (of a pyramid [N, D]) of two clips of a (full) grid
    differ."""
    differing_n2 = np.argwhere((a != b).reshape(-1, a.shape[-1]))[:_SHOWN_PLACES]
    return [
        f"{_place(token, geometry, shape_thw)}, {DIMENSION[geometry.code.kind]} {dimension}"
        for token, dimension in differing_n2.tolist()
    ]


def _place(token: int, geometry: Geometry, shape_thw: Grid) -> str:
    """Where a clip's token lies: in its grid, or in which scale of a pyramid, counted from 1."""
    grids = geometry.scales(shape_thw)
    firsts = list(accumulate(map(prod, grids), initial=0))
    scale = bisect_right(firsts, token) - 1
    frame, row, column = np.unravel_index(token - firsts[scale], grids[scale])
    of_frame = f"{_row_name(geometry)} {frame}, " if geometry.layout == "grid" or grids[scale][0] > 1 else ""
    of_scale = f"scale {scale + 1} of {len(grids)}, " if geometry.layout == "pyramid" else ""
    return f"{of_scale}{of_frame}row {row}, column {column}"


def _row_name(geometry: Geometry) -> str:
    """What a row of tokens along time is called."""
    return "frame" if geometry.frames_per_token == 1 else "token row"


def _worst_first(clip: SampledClip) -> tuple[bool, int, float, str]:
    """Sort key: differing bits before worse pictures; clips that could not be compared come last."""
    return (
        clip.differing_bits is None,
        -(clip.differing_bits or 0),
        clip.psnr_db if clip.psnr_db is not None else 0.0,
        clip.clip.clip_id,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
