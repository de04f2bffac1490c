"""Where the decoder of Cosmos adds frames and positions."""

import pytest

from bitmill.bsq_model.cosmos.decoder import upsampled
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig


@pytest.mark.parametrize(
    ("frames_per_token", "patch_px", "deepest_first"),
    [
        (4, 8, [(True, False), (False, False)]),
        (8, 8, [(False, False), (True, True)]),
        (4, 16, [(True, False), (True, False)]),
        (8, 16, [(True, False), (True, True)]),
    ],
)
def test_space_and_time_are_doubled_as_in_the_published_code(frames_per_token, patch_px, deepest_first):
    config = CosmosVideoConfig(frames_per_token=frames_per_token, patch_px=patch_px)
    assert upsampled(config)[::-1] == [*deepest_first, (False, False)]
