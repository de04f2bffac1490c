"""A config.json of no family is told in one line."""

import pytest

from bitmill.bsq_model.families import read_config
from bitmill.schemas.errors import FormatError


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[]", r"the document must be keys with values\.$"),
        (b"null", r"the document must be keys with values\.$"),
        (b'{"architecture": "vae"}', r"the document must be one of 'bsq-vit', .*, not 'vae'\.$"),
    ],
)
def test_what_is_no_config_is_told(data, told):
    with pytest.raises(FormatError, match=f"^config.json is not a tokenizer config: {told}"):
        read_config(data)
