"""Validation during training: decodes held-out media once, reconstructs them with the averaged weights."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.metrics.codes import CodeCounts
from bitmill.bsq_model.metrics.reconstruction_quality import psnr_db
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.bsq_model.training.losses import Perceptual
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets
from bitmill.pipeline.isolation.decode_process import DecodeProcess
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.sources.listing import find_sources, refuse_archives
from bitmill.pipeline.training.reconstruction_grid import write_grid
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from bitmill.schemas.requests.training import TrainSpec

_GRID_PICTURES = 32


def validation_clips(spec: TrainSpec) -> list[Tensor]:
    """Return each chosen source's first clip, as ``tokenize`` cuts it, without frames that fill no row of
    tokens: uint8 [T, H, W, 3].

    Skips bad sources, because these clips only monitor training (``evaluate`` accounts for every source).
    Raises UsageError if no source yields a clip.
    """
    if spec.validation is None:
        return []
    sources = find_sources(spec.validation.source).sources
    refuse_archives(sources, purpose="validation")
    count = min(spec.validation.items, len(sources))
    chosen = np.unique(np.linspace(0, len(sources) - 1, count).round().astype(int)) if count else []
    settings = DecodeSettings(
        sampling=SamplingSpec(fps=spec.data.fps, clip_frames=spec.clip_frames),
        limits=LimitsSpec(),
        sizes=Buckets(spec.sizes),
        pixel_rule=spec.pixel_rule,
    )
    geometry = spec.model.geometry
    clips: list[Tensor] = []
    with DecodeProcess(settings) as decoder:
        for index in chosen:
            events = decoder.events(sources[int(index)])
            first = next((event for event in events if isinstance(event, DecodedClip)), None)
            length = None if first is None else geometry.legal_at_most(len(first.frames_THWC))
            if first is not None and length is not None:
                clips.append(torch.from_numpy(first.frames_THWC[:length].copy()))
    if not clips:
        raise UsageError("No source of validation.source could be decoded; check the path.")
    return clips


@torch.inference_mode()
def validate(
    tokenizer: TrainableTokenizer, clips: list[Tensor], perceptual: Perceptual | None, grid: Path
) -> dict[str, float]:
    """Encode and decode ``clips`` and write a grid of their first frames.

    Returns ``validation_psnr_db`` (mean over clips), ``validation_lpips`` (mean over frames) if there is a
    network, and the minimum and mean entropy of a bit over all tokens, in bits; of a digit, as a share of the
    largest that it could have.
    """
    scores_db: list[float] = []
    lpips: list[Tensor] = []
    counts = CodeCounts(tokenizer.geometry.code)
    decoded: list[npt.NDArray[np.uint8]] = []
    for clip in clips:
        codes = tokenizer.encode([clip])[0]
        counts.add(codes)
        pixels = tokenizer.decode_pixels([codes])[0]
        original = pixels_from_uint8(clip.to(pixels.device), torch.float32)
        scores_db.append(float(psnr_db(pixels[None], original[None]).clamp_max(100)))
        if perceptual is not None:
            lpips.append(perceptual(pixels, original).float())
        decoded.append(((pixels[0] + 1) * 127.5).round().to(torch.uint8).cpu().numpy())
    write_grid([clip[0].numpy() for clip in clips[:_GRID_PICTURES]], decoded[:_GRID_PICTURES], grid)
    measured = {"validation_psnr_db": sum(scores_db) / len(scores_db)}
    if lpips:
        measured["validation_lpips"] = float(torch.cat(lpips).mean())
    return measured | {
        "validation_weakest_bit": float(counts.shares.min()),
        "validation_mean_bit": float(counts.shares.mean()),
    }
