"""Where a tokenizer's weights are from and under which licence: origin.json beside them."""

from typing import Literal

from pydantic import ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.strict_model import JsonFile, StrictModel
from bitmill.schemas.versioned import versioned_json

ORIGIN_FILE = "origin.json"
ORIGIN_FORMAT_VERSION = 1


class TokenizerOrigin(StrictModel, JsonFile):
    """The contents of origin.json; it is no part of the tokenizer's fingerprint."""

    format_version: Literal[1] = ORIGIN_FORMAT_VERSION
    origin: str
    """Who made the weights, and where they are published."""
    licence: str | None = None
    """SPDX name, or the licence's own; None if it is not known."""


def read_origin(data: bytes, *, where: str) -> TokenizerOrigin:
    """Parse origin.json. Raises FormatError, naming ``where``, if it is none."""
    raw = versioned_json(data, name=where, newest=ORIGIN_FORMAT_VERSION)
    try:
        return TokenizerOrigin.model_validate(raw)
    except ValidationError as error:
        raise FormatError(f"{where} is no record of a tokenizer's origin: {error}") from error
