"""Loads tokenizers by name, or from a path or URI on any store."""

from pathlib import Path

import torch

from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.bundled import BUNDLED, bundled_files
from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.families import load_files, read_config
from bitmill.bsq_model.plugins import installed_plugins, load_plugin
from bitmill.bsq_model.saving import cast_weights
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.nearest_name import did_you_mean


def load_tokenizer(
    name_or_folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tokenizer:
    """Load a tokenizer of any family, in eval mode: a bundled one or a plugin by its name, as the command
    line does, else from a folder on any store.

    Raises FormatError if the folder contains none, TransientError if the store does not answer,
    MissingPluginError if its plugin is not installed.
    """
    tokenizer = _load(name_or_folder)
    if isinstance(tokenizer, BSQTokenizer):
        return cast_weights(tokenizer, device=device, dtype=dtype)
    tokenizer.to(device=device, dtype=dtype)
    return tokenizer


def _load(name_or_folder: str | Path) -> Tokenizer:
    if name_or_folder in BUNDLED:
        return load_files(
            dict(zip((CONFIG_FILE, WEIGHTS_FILE), bundled_files(str(name_or_folder)), strict=True))
        )
    if name_or_folder in installed_plugins():
        return load_plugin(str(name_or_folder), {})
    place = Folder(str(name_or_folder))
    files = {CONFIG_FILE: _read(place, CONFIG_FILE)}
    if not isinstance(read_config(files[CONFIG_FILE]), PluginConfig):
        files[WEIGHTS_FILE] = _read(place, WEIGHTS_FILE)
    return load_files(files)


def _read(folder: Folder, name: str) -> bytes:
    try:
        return folder.read_bytes(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        names = (*BUNDLED, *sorted(installed_plugins()))
        near = did_you_mean(folder.uri.rpartition("/")[2], names)
        raise FormatError(
            f"There is no tokenizer at {folder.uri} (no {name} in it){near}; give a folder with "
            f"{CONFIG_FILE} and {WEIGHTS_FILE}, such as tokenizer/ in a dataset or a training run, or a "
            f"name: {', '.join(names)}."
        ) from error
