"""Loads tokenizers (bundled, preset, or from a folder) and checks that a job can use them."""

from dataclasses import dataclass

from bitmill.bsq_model import BSQTokenizer, fingerprint, make_preset, tokenizer_files, tokenizer_from_files
from bitmill.bsq_model.bundled import BUNDLED, bundled_files
from bitmill.bsq_model.presets import PRESETS
from bitmill.bsq_model.resolution import resize_tokenizer
from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import InfrastructureError, TransientError, UsageError
from bitmill.schemas.models.tokenizer_config import TokenizerConfig
from bitmill.schemas.requests.job import JobSpec, TokenizerSpec


@dataclass(frozen=True, kw_only=True)
class LoadedTokenizer:
    """A tokenizer's files as sent to the actors, and their parsed config and fingerprint."""

    config_bytes: bytes
    weights_bytes: bytes
    config: TokenizerConfig
    fingerprint: str
    is_random: bool
    """Whether its weights are random (a preset's): its tokens are good for trials only."""


def job_tokenizer(job: JobSpec) -> LoadedTokenizer:
    """Load a job's tokenizer for its frame size. Raises UsageError if the job cannot use it."""
    tokenizer = _of_frame_size(load_tokenizer_spec(job.tokenizer), job)
    _check_clip_length(job, tokenizer.config)
    _check_causal(tokenizer.config)
    return tokenizer


def tokenizer_spec(name: str) -> TokenizerSpec:
    """Parse a tokenizer's name on the command line: bundled, else a preset, else a folder."""
    if name in BUNDLED:
        return TokenizerSpec(bundled=name)
    return TokenizerSpec(preset=name) if name in PRESETS else TokenizerSpec(path=name)


def load_tokenizer_spec(spec: TokenizerSpec) -> LoadedTokenizer:
    """Load or create the tokenizer that a job names. Raises UsageError or FormatError."""
    if spec.preset is not None:
        tokenizer = make_preset(spec.preset, bits_per_token=spec.bits_per_token, seed=spec.seed)
        return _loaded(tokenizer, is_random=True)
    if spec.bundled is not None:
        return _from_files(*_bundled(spec.bundled))
    folder = Folder(spec.path or "")
    return _from_files(_tokenizer_file(folder, CONFIG_FILE), _tokenizer_file(folder, WEIGHTS_FILE))


def _from_files(config_bytes: bytes, weights_bytes: bytes) -> LoadedTokenizer:
    """Parse tokenizer files; weights become float32, whatever precision they were stored in."""
    return _loaded(tokenizer_from_files(config_bytes, weights_bytes), is_random=False)


def _bundled(name: str) -> tuple[bytes, bytes]:
    try:
        return bundled_files(name)
    except KeyError as error:
        raise UsageError(f"unknown bundled tokenizer {name!r}; there are {', '.join(BUNDLED)}") from error


def _tokenizer_file(folder: Folder, name: str) -> bytes:
    try:
        return folder.read_bytes(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        presets = ", ".join(sorted(PRESETS))
        raise UsageError(
            f"There is no tokenizer at {folder.uri} (no {name} in it); name a folder with config.json and "
            f"model.safetensors, the bundled {', '.join(BUNDLED)}, or a preset ({presets})."
        ) from error
    except TransientError as error:
        raise InfrastructureError(str(error)) from error


def _of_frame_size(loaded: LoadedTokenizer, job: JobSpec) -> LoadedTokenizer:
    """Returns the tokenizer itself, or a copy resized to the job's frame size."""
    size_px = job.frames.size_px or loaded.config.image_size_px
    if size_px == loaded.config.image_size_px:
        return loaded
    if size_px % loaded.config.patch_size_px:
        raise UsageError(
            f"frames.size_px {size_px} is not divisible by the tokenizer's patch size "
            f"{loaded.config.patch_size_px}."
        )
    if not job.frames.interpolate_positions:
        raise UsageError(
            f"frames.size_px {size_px} is not the size that the tokenizer was made for "
            f"({loaded.config.image_size_px}); leave it out, name a tokenizer of that size, or set "
            "frames.interpolate_positions to true (which costs quality, see docs/model.md)."
        )
    tokenizer = tokenizer_from_files(loaded.config_bytes, loaded.weights_bytes)
    return _loaded(resize_tokenizer(tokenizer, size_px), is_random=loaded.is_random)


def _loaded(tokenizer: BSQTokenizer, *, is_random: bool) -> LoadedTokenizer:
    files = tokenizer_files(tokenizer)
    return LoadedTokenizer(
        config_bytes=files["config.json"],
        weights_bytes=files["model.safetensors"],
        config=tokenizer.config,
        fingerprint=fingerprint(tokenizer),
        is_random=is_random,
    )


def _check_clip_length(job: JobSpec, config: TokenizerConfig) -> None:
    clip_frames = job.sampling.clip_frames
    if clip_frames is not None and clip_frames > config.num_frames:
        raise UsageError(
            f"sampling.clip_frames {clip_frames} is more than the {config.num_frames} frames "
            "that the tokenizer has positions for."
        )


def _check_causal(config: TokenizerConfig) -> None:
    if config.attention == "full" and config.num_frames > 1:
        raise UsageError(
            "The tokenizer has attention 'full': its tokens depend on later frames, which a dataset does "
            "not allow. Use one with attention 'block-causal'; this one can only be evaluated."
        )
