"""Loads tokenizers from a path or URI on any store."""

from pathlib import Path

import torch

from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE, cast_weights, tokenizer_from_files
from bitmill.bsq_model.tokenizer import BSQTokenizer
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError


def load_tokenizer(
    folder: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> BSQTokenizer:
    """Like ``bitmill.bsq_model.load_tokenizer``, for a folder on any store.

    Raises FormatError if it contains no tokenizer, TransientError if the store does not answer.
    """
    place = Folder(str(folder))
    tokenizer = tokenizer_from_files(_read(place, CONFIG_FILE), _read(place, WEIGHTS_FILE))
    return cast_weights(tokenizer, device=device, dtype=dtype)


def _read(folder: Folder, name: str) -> bytes:
    try:
        return folder.read_bytes(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(
            f"There is no tokenizer at {folder.uri} (no {name} in it); give a folder with {CONFIG_FILE} and "
            f"{WEIGHTS_FILE}, such as tokenizer/ in a dataset or a training run."
        ) from error
