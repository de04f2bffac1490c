"""A tokenizer at another frame size: what stays, what is interpolated, what it makes of frames."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model import make_preset
from bitmill.bsq_model.resolution import interpolate_positions, resize_tokenizer
from bitmill.schemas.errors import UsageError


def test_the_same_size_is_the_same_tokenizer():
    tokenizer = make_preset("tiny")
    assert resize_tokenizer(tokenizer, 128).fingerprint == tokenizer.fingerprint


def test_another_size_is_another_tokenizer_that_codes_its_frames():
    tokenizer = make_preset("tiny")
    resized = resize_tokenizer(tokenizer, 96)
    assert resized.fingerprint != tokenizer.fingerprint
    clip = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    bits = resized.encode([clip])[0]
    assert bits.shape == (2, 12, 12, 18)
    assert resized.decode([bits])[0].shape == clip.shape
    changed = {
        name
        for name, value in resized.state_dict().items()
        if value.shape != tokenizer.state_dict()[name].shape
    }
    assert changed == {"encoder.spatial_positions", "decoder.spatial_positions"}


def test_patches_must_tile_the_frame():
    with pytest.raises(UsageError, match="100 pixels are not divisible by the tokenizer's patch size 8"):
        resize_tokenizer(make_preset("tiny"), 100)


@given(old=st.integers(2, 12), new=st.integers(2, 24))
def test_a_plane_of_positions_stays_one_inside(old, new):
    # Catmull-Rom reproduces straight lines, a filter that shrinks nearly; only near the edges is it clamped.
    columns = (torch.arange(old) + 0.5) / old
    table = torch.stack((columns.repeat(old), columns.repeat_interleave(old)), dim=1)
    found = interpolate_positions(table, old, new).unflatten(0, (new, new))
    expected = (torch.arange(new) + 0.5) / new
    margin = max(3, round(3 * new / old))
    inside = slice(margin, new - margin)
    tolerance = 1e-5 if new >= old else 1e-2
    plane = expected[inside].expand(found[inside, inside, 0].shape)
    assert torch.allclose(found[inside, inside, 0], plane, atol=tolerance)
    assert torch.allclose(found[..., 0], found[..., 1].T, atol=1e-5)
