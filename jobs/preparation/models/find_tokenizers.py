"""Loads tokenizers (bundled, preset, from a folder, or a plugin) and checks that a job can use them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitmill.bsq_model import BSQTokenizer, make_preset, tokenizer_from_files
from bitmill.bsq_model.bundled import BUNDLED, bundled_files
from bitmill.bsq_model.families import NativeTokenizer, load_files, load_native, native_files, read_config
from bitmill.bsq_model.plugins import PluginTokenizer, installed_plugins, load_plugin
from bitmill.bsq_model.presets import PRESETS
from bitmill.bsq_model.resolution import interpolating, resize_tokenizer
from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE
from bitmill.jobs.preparation.models.find_frame_sizes import job_frame_sizes
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import InfrastructureError, TransientError, UsageError
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig, TokenizerConfigOfAnyFamily
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.models.tokenizer_origin import ORIGIN_FILE, TokenizerOrigin, read_origin
from bitmill.schemas.nearest_name import did_you_mean
from bitmill.schemas.requests.job import JobSpec, TokenizerSpec


@dataclass(frozen=True, kw_only=True)
class LoadedTokenizer:
    """A tokenizer's files as sent to the actors, and its config, geometry and fingerprint."""

    files: Mapping[str, bytes]
    """By name; those of the dataset's folder ``tokenizer/``."""
    config: TokenizerConfigOfAnyFamily
    fingerprint: str
    is_random: bool
    """Whether its weights are random (a preset's): its tokens are good for trials only."""

    @property
    def geometry(self) -> Geometry:
        """The clips that it takes and the tokens that they become."""
        return self.config.geometry

    @property
    def origin(self) -> TokenizerOrigin | None:
        """Where its weights are from, if its folder tells."""
        data = self.files.get(ORIGIN_FILE)
        return None if data is None else read_origin(data, where=ORIGIN_FILE)

    def bsq_vit(self) -> BSQTokenizer:
        """Return the tokenizer, in float32 on CPU. Raises UsageError if it is of another family."""
        tokenizer = load_files(self.files)
        if not isinstance(tokenizer, BSQTokenizer):
            raise UsageError("This needs a tokenizer of bitmill's own family BSQ-ViT, not of another.")
        return tokenizer


def job_tokenizer(job: JobSpec) -> LoadedTokenizer:
    """Load a job's tokenizer for its frame size. Raises UsageError if the job cannot use it."""
    tokenizer = _of_frame_size(load_tokenizer_spec(job.tokenizer), job)
    if job.sampling.clip_frames is not None:
        check_clip_frames(tokenizer.geometry, job.sampling.clip_frames, option="sampling.clip_frames")
    _check_causal(tokenizer.config)
    _check_dtype(tokenizer.config, job.compute.dtype)
    return tokenizer


def tokenizer_spec(name: str) -> TokenizerSpec:
    """Parse a tokenizer's name on the command line: bundled, else a preset, a plugin, or a folder."""
    if name in BUNDLED:
        return TokenizerSpec(bundled=name)
    if name not in PRESETS and name in installed_plugins():
        return TokenizerSpec(plugin=name)
    return TokenizerSpec(preset=name) if name in PRESETS else TokenizerSpec(path=name)


def load_tokenizer_spec(spec: TokenizerSpec) -> LoadedTokenizer:
    """Load or create the tokenizer that a job names. Raises UsageError or FormatError."""
    if spec.preset is not None:
        tokenizer = make_preset(spec.preset, bits_per_token=spec.bits_per_token, seed=spec.seed)
        origin = TokenizerOrigin(origin=f"random weights of preset {spec.preset}, seed {spec.seed}")
        return _loaded(tokenizer, origin, is_random=True)
    if spec.plugin is not None:
        return _loaded_plugin(load_plugin(spec.plugin, spec.options))
    if spec.bundled is not None:
        origin = TokenizerOrigin(origin=f"bundled with bitmill: {spec.bundled}", licence="Apache-2.0")
        return _loaded(tokenizer_from_files(*_bundled(spec.bundled)), origin, is_random=False)
    return _from_folder(spec.path or "")


def _from_folder(path: str) -> LoadedTokenizer:
    """Load a folder; weights become float32, whatever precision they were stored in."""
    folder = Folder(path)
    config_bytes = _tokenizer_file(folder, CONFIG_FILE, path)
    config = read_config(config_bytes)
    if isinstance(config, PluginConfig):
        return _loaded_plugin(load_plugin(config.plugin, config.options, package=config.package))
    files = {CONFIG_FILE: config_bytes, WEIGHTS_FILE: _tokenizer_file(folder, WEIGHTS_FILE, path)}
    origin = None
    if folder.exists(ORIGIN_FILE):
        where = f"{folder.uri}/{ORIGIN_FILE}"
        origin = read_origin(_tokenizer_file(folder, ORIGIN_FILE, path), where=where)
    return _loaded(load_native(files), origin, is_random=False)


def _bundled(name: str) -> tuple[bytes, bytes]:
    try:
        return bundled_files(name)
    except KeyError as error:
        near = did_you_mean(name, BUNDLED)
        raise UsageError(
            f"unknown bundled tokenizer {name!r}{near}; there are {', '.join(BUNDLED)}"
        ) from error


def _tokenizer_file(folder: Folder, name: str, asked: str) -> bytes:
    try:
        return folder.read_bytes(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        presets, plugins = sorted(PRESETS), sorted(installed_plugins())
        near = did_you_mean(asked, [*BUNDLED, *presets, *plugins])
        raise UsageError(
            f"There is no tokenizer at {folder.uri} (no {name} in it){near}; name a folder with config.json "
            f"and model.safetensors, the bundled {', '.join(BUNDLED)}, a preset ({', '.join(presets)}), "
            f"or a plugin that is installed here ({', '.join(plugins) or 'none is'})."
        ) from error
    except TransientError as error:
        raise InfrastructureError(str(error)) from error


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
    resized = resize_tokenizer(loaded.bsq_vit(), size_px)
    return _loaded(resized, loaded.origin, is_random=loaded.is_random)


def _of_any_size(loaded: LoadedTokenizer, job: JobSpec) -> LoadedTokenizer:
    """Returns the tokenizer itself if the job has its size alone, else with interpolated positions."""
    own = loaded.geometry.size_px
    if own is None or job.frames.buckets == (own,):
        return loaded
    if job.frames.interpolate_positions:
        return _loaded(interpolating(loaded.bsq_vit()), loaded.origin, is_random=loaded.is_random)
    raise UsageError(
        f"The tokenizer was made for frames of {own[0]}×{own[1]} pixels; for others set "
        "frames.interpolate_positions to true (which costs quality, see docs/model.md)."
    )


def _loaded(
    tokenizer: NativeTokenizer, origin: TokenizerOrigin | None, *, is_random: bool
) -> LoadedTokenizer:
    return LoadedTokenizer(
        files=native_files(tokenizer) | ({ORIGIN_FILE: origin.to_json()} if origin else {}),
        config=tokenizer.config,
        fingerprint=tokenizer.fingerprint,
        is_random=is_random,
    )


def _loaded_plugin(tokenizer: PluginTokenizer) -> LoadedTokenizer:
    config: dict[str, Any] = tokenizer.config.model_dump(mode="json")
    files = {CONFIG_FILE: (json.dumps(config, indent=2) + "\n").encode()}
    if tokenizer.origin is not None:
        files[ORIGIN_FILE] = tokenizer.origin.to_json()
    return LoadedTokenizer(
        files=files, config=tokenizer.config, fingerprint=tokenizer.fingerprint, is_random=False
    )


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
