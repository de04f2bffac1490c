"""Files of ours that are no JSON."""

import pytest

from bitmill.schemas.errors import FormatError
from bitmill.schemas.versioned import versioned_json


@pytest.mark.parametrize("data", [b"{", b"[" * 200_000])
def test_what_is_no_json_is_told_with_its_name(data):
    with pytest.raises(FormatError, match=r"^config\.json is not JSON \(.*\); copy it again"):
        versioned_json(data, name="config.json", newest=1)
