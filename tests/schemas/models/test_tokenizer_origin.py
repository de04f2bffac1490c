"""origin.json: what is wrong with one is told by its keys."""

import pytest

from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.tokenizer_origin import read_origin


def test_the_keys_that_are_wrong_are_named():
    said = r"^tok/origin\.json is no record of a tokenizer's origin: .*: 'origin', 'oring'\.$"
    with pytest.raises(FormatError, match=said):
        read_origin(b'{"format_version": 1, "oring": "somebody"}', where="tok/origin.json")
