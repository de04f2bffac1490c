"""The one filter: Pillow's to the bit, and close to resizing the whole and then cropping."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bitmill.pipeline.decode.pixels.crop import centre_crop, crop_box, scaled_size
from bitmill.pipeline.decode.pixels.lanczos import resampled
from bitmill.pipeline.decode.pixels.resize import fit

LANCZOS = Image.Resampling.LANCZOS
sides = st.integers(1, 200)
aspects = st.fractions(Fraction(1, 4), Fraction(4), max_denominator=20)
wanted = st.tuples(st.integers(1, 96), st.integers(1, 96))


def resize_then_crop(picture, size, aspect: Fraction):
    """The plain way, across first."""
    height, width = picture.shape[:2]
    scaled_width, scaled_height = scaled_size(width, height, aspect, size)
    across = Image.fromarray(picture).resize((scaled_width, height), LANCZOS)
    whole = across.resize((scaled_width, scaled_height), LANCZOS)
    left, top = round((scaled_width - size[1]) / 2), round((scaled_height - size[0]) / 2)
    return np.array(whole.crop((left, top, left + size[1], top + size[0])))


def by_pillow(picture, box, size):
    """One axis at a time, since Pillow otherwise picks their order by cost."""
    width, height = size
    across = Image.fromarray(picture).resize(
        (width, picture.shape[0]), LANCZOS, box=(box[0], 0.0, box[2], float(picture.shape[0]))
    )
    return np.array(across.resize((width, height), LANCZOS, box=(0.0, box[1], float(width), box[3])))


@st.composite
def boxes(draw):
    """A picture's sides, and a box in it of any size and place."""
    width, height = draw(sides), draw(sides)
    left, right = sorted(draw(st.tuples(*[st.floats(0, width, width=32)] * 2)))
    top, bottom = sorted(draw(st.tuples(*[st.floats(0, height, width=32)] * 2)))
    whole = draw(st.booleans()) or right - left < 0.01 or bottom - top < 0.01
    return width, height, (0.0, 0.0, float(width), float(height)) if whole else (left, top, right, bottom)


@settings(max_examples=300, deadline=None)
@given(boxes(), st.tuples(st.integers(1, 96), st.integers(1, 96)), st.integers(0, 2**32 - 1), st.booleans())
def test_pixels_are_pillows(placed, size, seed, extreme) -> None:
    width, height, box = placed
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if extreme:
        # Black and white overshoot at every edge, and are clipped.
        picture = np.where(picture > 127, 255, 0).astype(np.uint8)
    assert np.array_equal(resampled(picture, box, size), by_pillow(picture, box, size))


@pytest.mark.parametrize("shape", [(720, 1280), (1920, 1080), (272, 640)])
def test_pixels_are_pillows_at_the_sizes_of_videos(shape) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    box = crop_box(shape[1], shape[0], Fraction(1), (256, 256))
    assert np.array_equal(resampled(picture, box, (256, 256)), by_pillow(picture, box, (256, 256)))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(sides, sides, wanted, aspects, st.integers(0, 2**32 - 1))
def test_equals_resize_then_crop(width, height, size, aspect, seed) -> None:
    # Noise is the worst case: pictures stay within one level.
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = resize_then_crop(picture, size, aspect).astype(int)
    difference = np.abs(expected - fit(picture, size, aspect))
    assert difference.max() <= 2
    if min(width, height, *size) >= 16:
        assert (difference > 0).mean() < 0.02
    else:
        # Of strips a few pixels wide, a rounding that falls otherwise concerns a larger share.
        assert np.count_nonzero(difference) <= 3 + 0.1 * difference.size


@given(sides, sides, wanted, aspects)
def test_the_box_lies_in_the_picture(width, height, size, aspect) -> None:
    left, top, right, bottom = crop_box(width, height, aspect, size)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((1280, 720), Fraction(1), (455, 256)),
        ((720, 1280), Fraction(1), (256, 455)),
        ((640, 272), Fraction(1), (602, 256)),
        ((160, 120), Fraction(2), (682, 256)),
        ((160, 120), Fraction(1, 2), (256, 384)),
        ((160, 120), Fraction(1, 10**6), (341, 256)),
        ((2, 120), Fraction(1), (256, 15360)),
    ],
)
def test_the_short_side_as_shown_gets_the_size(size, aspect, expected) -> None:
    assert scaled_size(*size, aspect, (256, 256)) == expected


@pytest.mark.parametrize("shape", [(120, 2), (1, 1), (3, 400), (2000, 2)])
def test_narrow_pictures_keep_a_flat_colour(shape) -> None:
    picture = np.full((*shape, 3), (10, 200, 90), np.uint8)
    square = fit(picture, (256, 256))
    assert square.shape == (256, 256, 3)
    assert square.flags.c_contiguous
    assert (square == (10, 200, 90)).all()


@given(sides, sides, st.integers(1, 512), aspects)
def test_a_square_is_as_it_was_before_there_were_other_sizes(width, height, size_px, aspect) -> None:
    shown_width = width * aspect
    if shown_width <= height:
        before = size_px, int(size_px * height / shown_width)
    else:
        before = int(size_px * shown_width / height), size_px
    assert scaled_size(width, height, aspect, (size_px, size_px)) == before


@given(sides, sides, wanted, aspects)
def test_the_scaled_frame_just_covers_the_size_and_is_not_stretched(width, height, size, aspect) -> None:
    across, down = scaled_size(width, height, aspect, size)
    assert across >= size[1]
    assert down >= size[0]
    assert across == size[1] or down == size[0]
    crop = centre_crop(width, height, aspect, size)
    assert 0 <= crop.top <= down - size[0]
    assert 0 <= crop.left <= across - size[1]
    assert abs(2 * crop.top + size[0] - down) <= 1
    assert abs(2 * crop.left + size[1] - across) <= 1
    # Both axes are scaled by one factor: what rounding takes from a side is less than a pixel.
    factor = max(Fraction(size[1]) / (width * aspect), Fraction(size[0], height))
    assert 0 <= factor * width * aspect - across < 1
    assert 0 <= factor * height - down < 1


@given(sides, sides, wanted, aspects)
def test_portrait_is_landscape_on_its_side(width, height, size, aspect) -> None:
    across, down = scaled_size(width, height, aspect, size)
    assert scaled_size(height, width, 1 / aspect, size[::-1]) == (down, across)
