"""Loads a job's tokenizer and checks that the job can use it; the bundled one without importing torch."""

from typing import TYPE_CHECKING

from bitmill.jobs.preparation.models.find_frame_sizes import job_frame_sizes
from bitmill.jobs.preparation.models.loaded_tokenizer import LoadedTokenizer, loaded_bundled
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig, TokenizerConfigOfAnyFamily
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.requests.job import JobSpec, TokenizerSpec

if TYPE_CHECKING:
    from bitmill.bsq_model import BSQTokenizer


def job_tokenizer(job: JobSpec) -> LoadedTokenizer:
    """Load a job's tokenizer for its frame size. Raises UsageError if the job cannot use it."""
    tokenizer = _of_frame_size(_of_spec(job.tokenizer), job)
    if job.sampling.clip_frames is not None:
        check_clip_frames(tokenizer.geometry, job.sampling.clip_frames, option="sampling.clip_frames")
    _check_causal(tokenizer.config)
    _check_dtype(tokenizer.config, job.compute.dtype)
    return tokenizer


def _of_spec(spec: TokenizerSpec) -> LoadedTokenizer:
    if spec.bundled is not None:
        return loaded_bundled(spec.bundled)
    from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec

    return load_tokenizer_spec(spec)


def _of_frame_size(loaded: LoadedTokenizer, job: JobSpec) -> LoadedTokenizer:
    """Returns the tokenizer itself, or a BSQ-ViT as it takes the job's frame sizes."""
    if isinstance(loaded.config, TokenizerConfig) and not job.frames.is_square:
        loaded = _of_any_size(loaded, job)
    config, size_px = loaded.config, job.frames.size_px
    takes_its_sizes = not job.frames.is_square or loaded.geometry.size_px is None
    if not isinstance(config, TokenizerConfig) or takes_its_sizes:
        job_frame_sizes(job, loaded.geometry)
        return loaded
    if size_px is None or size_px == config.image_size_px:
        return loaded
    if size_px % config.patch_size_px:
        raise UsageError(
            f"frames.size_px {size_px} is not divisible by the tokenizer's patch size {config.patch_size_px}."
        )
    if not job.frames.interpolate_positions:
        raise UsageError(
            f"frames.size_px {size_px} is not the size that the tokenizer was made for "
            f"({config.image_size_px}); leave it out, name a tokenizer of that size, or set "
            "frames.interpolate_positions to true (which costs quality, see docs/model.md)."
        )
    from bitmill.bsq_model.resolution import resize_tokenizer

    return _made_of(loaded, resize_tokenizer(loaded.bsq_vit(), size_px))


def _of_any_size(loaded: LoadedTokenizer, job: JobSpec) -> LoadedTokenizer:
    """Returns the tokenizer itself if the job has its size alone, else with interpolated positions."""
    own = loaded.geometry.size_px
    if own is None or job.frames.buckets == (own,):
        return loaded
    if job.frames.interpolate_positions:
        from bitmill.bsq_model.resolution import interpolating

        return _made_of(loaded, interpolating(loaded.bsq_vit()))
    raise UsageError(
        f"The tokenizer was made for frames of {own[0]}×{own[1]} pixels; for others set "
        "frames.interpolate_positions to true (which costs quality, see docs/model.md)."
    )


def _made_of(loaded: LoadedTokenizer, tokenizer: "BSQTokenizer") -> LoadedTokenizer:
    from bitmill.jobs.preparation.models import find_tokenizers

    return find_tokenizers.loaded(tokenizer, loaded.origin, is_random=loaded.is_random)


def check_clip_frames(geometry: Geometry, clip_frames: int, *, option: str) -> None:
    """Raise UsageError, naming ``option`` and the nearest lengths, unless the tokenizer takes such clips."""
    if geometry.is_legal(clip_frames):
        return
    nearest = geometry.legal_at_most(clip_frames), geometry.legal_at_least(clip_frames)
    told = " and ".join(str(length) for length in nearest if length is not None)
    raise UsageError(
        f"{option} {clip_frames} is no length of clips that the tokenizer takes; the nearest "
        f"{'is' if None in nearest else 'are'} {told}."
    )


def _check_causal(config: TokenizerConfigOfAnyFamily) -> None:
    if isinstance(config, CausalConvConfig) and config.time == "both":
        setting, instead = "time 'both'", "time 'causal'"
    elif isinstance(config, TokenizerConfig) and config.attention == "full" and config.num_frames > 1:
        setting, instead = "attention 'full'", "attention 'block-causal'"
    else:
        return
    raise UsageError(
        f"The tokenizer has {setting}: its tokens depend on later frames, which a dataset does not allow. "
        f"Use one with {instead}; this one can only be evaluated."
    )


def _check_dtype(config: TokenizerConfigOfAnyFamily, dtype: str) -> None:
    if isinstance(config, PublishedConfig | CausalConvConfig) and dtype == "int8":
        raise UsageError("compute.dtype int8 is for BSQ-ViT alone; use float32 or bfloat16.")
