"""Where a tokenizer's weights are from and under which licence: origin.json beside them."""

from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer

from bitmill.schemas.errors import FormatError
from bitmill.schemas.strict_model import JsonFile, StrictModel
from bitmill.schemas.versioned import versioned_json

ORIGIN_FILE = "origin.json"
ORIGIN_FORMAT_VERSION = 1

NOT_COMPARED = (
    "imported weights: their tokens were not compared with the published code's; docs/import.md tells how"
)


class TokenizerOrigin(StrictModel, JsonFile):
    """The contents of origin.json; it is no part of the tokenizer's fingerprint."""

    format_version: Literal[1] = ORIGIN_FORMAT_VERSION
    origin: str
    """Who made the weights, and where they are published."""
    licence: str | None = None
    """SPDX name, or the licence's own; None if it is not known."""
    compared: bool | None = None
    """Of imported weights: whether the user has compared their tokens with the published code's."""

    @model_serializer(mode="wrap")
    def _without_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        if self.compared is None:
            del document["compared"]
        return document

    @property
    def note(self) -> str | None:
        """A sentence for whoever uses the tokens, or None."""
        return NOT_COMPARED if self.compared is False else None


def read_origin(data: bytes, *, where: str) -> TokenizerOrigin:
    """Parse origin.json. Raises FormatError, naming ``where``, if it is none."""
    raw = versioned_json(data, name=where, newest=ORIGIN_FORMAT_VERSION)
    try:
        return TokenizerOrigin.model_validate(raw)
    except ValidationError as error:
        keys = ", ".join(repr(".".join(map(str, item["loc"]))) for item in error.errors())
        raise FormatError(
            f"{where} is no record of a tokenizer's origin: missing, unknown or of a wrong type: {keys}."
        ) from error
