"""Loads tokenizers from a path or URI on any store."""

from pathlib import Path

import torch

from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.families import load_files, read_config
from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE, cast_weights
from bitmill.bsq_model.tokenizer import BSQTokenizer
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.plugin_config import PluginConfig


def load_tokenizer(
    folder: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tokenizer:
    """Load a tokenizer of any family from a folder on any store, in eval mode.

    Raises FormatError if it contains none, TransientError if the store does not answer, MissingPluginError
    if its plugin is not installed.
    """
    place = Folder(str(folder))
    files = {CONFIG_FILE: _read(place, CONFIG_FILE)}
    if not isinstance(read_config(files[CONFIG_FILE]), PluginConfig):
        files[WEIGHTS_FILE] = _read(place, WEIGHTS_FILE)
    tokenizer = load_files(files)
    if isinstance(tokenizer, BSQTokenizer):
        return cast_weights(tokenizer, device=device, dtype=dtype)
    tokenizer.to(device=device, dtype=dtype)
    return tokenizer


def _read(folder: Folder, name: str) -> bytes:
    try:
        return folder.read_bytes(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(
            f"There is no tokenizer at {folder.uri} (no {name} in it); give a folder with {CONFIG_FILE} and "
            f"{WEIGHTS_FILE}, such as tokenizer/ in a dataset or a training run."
        ) from error
