"""Compares a sample: stored bits with those of tokenizing again, reconstructions with originals."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.layers.pixels import pixels_from_uint8, uint8_from_pixels
from bitmill.bsq_model.metrics.reconstruction_quality import clip_psnr_db, ssim
from bitmill.pipeline.auditing.sample.drawing import DrawnClip
from bitmill.pipeline.auditing.sample.pictures import strip
from bitmill.pipeline.inspection.source_frames import SourceFrames
from bitmill.pipeline.shard.encoder import ModelEncoder
from bitmill.schemas.dataset.packing import unpack_bits
from bitmill.schemas.reports.audit_report import Sample, SampledClip

Bits = npt.NDArray[np.bool_]
Lpips = Callable[[Tensor, Tensor], Tensor]
"""Maps two float [B, H, W, 3] in [−1, 1] to [B]."""

_SSIM_LEAST_PX = 11
_SHOWN_PLACES = 8
_NO_ORIGINAL = "its source does not give this clip now"


def compare_sample(
    drawn: Sequence[DrawnClip],
    open_originals: Callable[[Sequence[str]], SourceFrames],
    tokenizer: BSQTokenizer,
    *,
    seed: int,
    lpips: Lpips | None,
    report: Callable[[int], None],
) -> tuple[Sample, dict[str, bytes]]:
    """Decode and tokenize every drawn clip again; returns the report's section and its pictures by file name.

    The tokenizer is already on its device, in its precision; ``open_originals`` receives the sources in the
    order of requests, ``report`` the number of finished clips. A clip whose source is missing is marked so.
    """
    in_order = sorted(drawn, key=_by_source)
    originals = open_originals([one.clip.source for one in in_order])
    comparison = _Comparison(originals, tokenizer, lpips)
    found: list[SampledClip] = []
    for one in in_order:
        found.append(comparison.compare(one))
        report(len(found))
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

    def __init__(self, originals: SourceFrames, tokenizer: BSQTokenizer, lpips: Lpips | None) -> None:
        self.pictures: dict[str, bytes] = {}
        self._originals = originals
        self._tokenizer = tokenizer
        self._encoder = ModelEncoder(tokenizer)
        self._lpips = lpips

    @torch.inference_mode()
    def compare(self, drawn: DrawnClip) -> SampledClip:
        config = self._tokenizer.config
        clip, (frames, height, width) = drawn.clip, drawn.shape
        side = config.grid_size
        told = SampledClip(
            clip=clip,
            num_frames=frames,
            psnr_db=None,
            ssim=None,
            lpips=None,
            bits_per_pixel=config.bits_per_token / config.patch_size_px**2,
            num_bits=frames * height * width * config.bits_per_token,
            differing_bits=None,
            differs_at=[],
        )
        if (height, width) != (side, side) or frames > config.num_frames:
            shape = f"{frames} frame{'s' if frames > 1 else ''} of {height} × {width} tokens"
            most = f"{config.num_frames} of {side} × {side}"
            return told.model_copy(update={"problem": f"it has {shape}; the tokenizer takes up to {most}"})
        flat = unpack_bits(drawn.codes, frames * height * width, config.bits_per_token)
        stored_ThwL = flat.reshape(frames, height, width, config.bits_per_token)
        made_THWC = self._tokenizer.decode_pixels([torch.from_numpy(stored_ThwL)])[0]
        shown_THWC = uint8_from_pixels(made_THWC).cpu().numpy()
        original_THWC = self._originals.find(clip.source, clip.key, clip.start_ns, frames)
        picture = f"sample-{clip.clip_id}.webp"
        self.pictures[picture] = strip(original_THWC, shown_THWC, drawn.frame_pts_ns)
        told = told.model_copy(update={"picture": picture})
        if original_THWC is None:
            more = f" ({self._originals.problem})" if self._originals.problem else ""
            return told.model_copy(update={"problem": _NO_ORIGINAL + more})
        again_ThwL = self._encoder.encode([original_THWC])[0]
        original = pixels_from_uint8(torch.from_numpy(original_THWC), torch.float32).to(made_THWC.device)
        return told.model_copy(
            update={
                "differing_bits": int((again_ThwL != stored_ThwL).sum()),
                "differs_at": places_of_difference(stored_ThwL, again_ThwL),
                **self._scores(original, made_THWC.float()),
            }
        )

    def _scores(self, original_THWC: Tensor, made_THWC: Tensor) -> dict[str, float]:
        scores = {"psnr_db": clip_psnr_db(made_THWC, original_THWC)}
        if min(original_THWC.shape[1:3]) >= _SSIM_LEAST_PX:
            scores["ssim"] = float(ssim(made_THWC, original_THWC).mean())
        if self._lpips is not None:
            scores["lpips"] = float(self._lpips(made_THWC, original_THWC).mean())
        return scores


def places_of_difference(a_ThwL: Bits, b_ThwL: Bits) -> list[str]:
    """Describe the first places where two clips' bits differ."""
    places = np.argwhere(a_ThwL != b_ThwL)[:_SHOWN_PLACES].tolist()
    return [f"frame {t}, row {y}, column {x}, bit {bit}" for t, y, x, bit in places]


def _by_source(drawn: DrawnClip) -> tuple[str, int]:
    # An archive's items are in file order, not key order, so an archive may be read more than once.
    return drawn.clip.source, drawn.clip.start_ns


def _worst_first(clip: SampledClip) -> tuple[bool, int, float, str]:
    """Sort key: differing bits before worse pictures; clips that could not be compared come last."""
    differing = clip.differing_bits or 0
    return (
        clip.differing_bits is None,
        -differing,
        clip.psnr_db if clip.psnr_db is not None else 0.0,
        clip.clip.clip_id,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
