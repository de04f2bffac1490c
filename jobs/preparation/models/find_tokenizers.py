"""Loads tokenizers: bundled, a preset, from a folder, or a plugin."""

import json
from typing import Any

from bitmill.bsq_model import make_preset
from bitmill.bsq_model.bundled import BUNDLED
from bitmill.bsq_model.families import NativeTokenizer, load_native, native_files, read_config
from bitmill.bsq_model.plugins import PluginTokenizer, installed_plugins, load_plugin
from bitmill.bsq_model.presets import PRESETS
from bitmill.jobs.preparation.models.loaded_tokenizer import LoadedTokenizer, loaded_bundled
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import InfrastructureError, TransientError, UsageError
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.models.tokenizer_origin import ORIGIN_FILE, TokenizerOrigin, read_origin
from bitmill.schemas.nearest_name import did_you_mean
from bitmill.schemas.requests.job import TokenizerSpec


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
        return loaded(tokenizer, origin, is_random=True)
    if spec.plugin is not None:
        return _loaded_plugin(load_plugin(spec.plugin, spec.options))
    if spec.bundled is not None:
        return loaded_bundled(spec.bundled)
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
    return loaded(load_native(files), origin, is_random=False)


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


def loaded(tokenizer: NativeTokenizer, origin: TokenizerOrigin | None, *, is_random: bool) -> LoadedTokenizer:
    """Return what a command has of a tokenizer in float32 on CPU."""
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
