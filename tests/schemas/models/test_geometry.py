"""Which lengths and sizes a geometry allows, and what a code may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig
from bitmill.schemas.models.geometry import Code, Geometry

BITS = Code.of_bits(18)
VIDEO = Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, code=Code.of_digits((8, 8, 5, 5)))
WHOLE_ROWS = Geometry(patch_px=(8, 8), frames_per_token=4, code=Code.of_index(32768))
IMAGE = Geometry(patch_px=(16, 16), max_frames=1, code=Code.of_index(1000))


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    step, lead = draw(st.integers(1, 9)), draw(st.integers(0, 1))
    least = draw(st.integers(1, 20))
    first = least + (lead - least) % step if least > lead else lead or step
    most = draw(st.none() | st.integers(max(first, step if not lead else 1), 60))
    return Geometry(
        patch_px=(8, 16),
        frames_per_token=step,
        lead_frames=lead,
        min_frames=least,
        max_frames=most,
        code=BITS,
    )


@given(geometries(), st.integers(1, 80))
def test_the_nearest_lengths_are_the_nearest(geometry, num_frames):
    legal = [n for n in range(1, 200) if geometry.is_legal(n)]
    assert legal == [
        n
        for n in range(geometry.min_frames, min(200, (geometry.max_frames or 199) + 1))
        if n >= geometry.lead_frames + (not geometry.lead_frames) * geometry.frames_per_token
        and (n - geometry.lead_frames) % geometry.frames_per_token == 0
    ]
    assert geometry.legal_at_least(num_frames) == min((n for n in legal if n >= num_frames), default=None)
    assert geometry.legal_at_most(num_frames) == max((n for n in legal if n <= num_frames), default=None)
    for n in legal[:9]:
        assert geometry.frames_of_rows(geometry.token_rows(n)) == n


def test_the_usual_length_is_the_longest_up_to_16_and_a_lead_frame():
    assert [geometry.usual_frames for geometry in (VIDEO, WHOLE_ROWS, IMAGE)] == [17, 16, 1]
    sizes = TransformerConfig(width=8, layers=1, heads=1)
    for num_frames, usual in ((1, 1), (8, 8), (16, 16), (32, 16)):
        config = TokenizerConfig(
            image_size_px=32, bits_per_token=18, num_frames=num_frames, encoder=sizes, decoder=sizes
        )
        assert config.geometry.usual_frames == usual


def test_a_lead_frame_has_a_row_of_its_own():
    assert [VIDEO.token_rows(n) for n in (1, 5, 17)] == [1, 2, 5]
    assert [WHOLE_ROWS.token_rows(n) for n in (4, 16)] == [1, 4]
    assert VIDEO.grid(256, 448) == (32, 56)
    assert VIDEO.num_tokens((5, 32, 56)) == 5 * 32 * 56


def test_a_pyramid_counts_all_its_grids():
    geometry = Geometry(
        layout="pyramid",
        patch_px=(16, 16),
        max_frames=1,
        code=Code.of_bits(32),
        schedules={"4x4": ((1, 1, 1), (1, 2, 2), (1, 4, 4)), "4x2": ((1, 4, 2),)},
    )
    assert geometry.num_tokens((1, 4, 4)) == 1 + 4 + 16
    assert geometry.num_tokens((1, 4, 2)) == 8
    with pytest.raises(KeyError):
        geometry.num_tokens((1, 2, 4))


@pytest.mark.parametrize(
    ("code", "bits", "codes", "bases"),
    [
        (Code.of_bits(100), 100, 2**100, (2,) * 100),
        (Code.of_digits((8, 8, 8, 5, 5, 5)), 16, 64000, (8, 8, 8, 5, 5, 5)),
        (Code.of_digits((2,)), 1, 2, (2,)),
        (Code.of_index(1000), 10, 1000, (1000,)),
        (Code.of_index(32768), 15, 32768, (32768,)),
    ],
)
def test_a_token_takes_the_bits_that_its_codes_need(code, bits, codes, bases):
    assert (code.bits_per_token, code.num_codes, code.bases) == (bits, codes, bases)
    assert code.dimensions == len(bases)
    assert Code.model_validate_json(code.model_dump_json()) == code


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "bits", "bits_per_token": 257, "first": "most"}, "less than or equal to 256"),
        ({"kind": "bits", "bits_per_token": 18}, "kind bits has exactly first"),
        ({"kind": "digits", "bits_per_token": 6, "levels": [8, 8]}, "exactly first and levels"),
        ({"kind": "digits", "bits_per_token": 7, "levels": [8, 8], "first": "least"}, "64 codes take 6"),
        ({"kind": "index", "bits_per_token": 64, "size": 2**64}, "at most 63"),
        ({"kind": "index", "bits_per_token": 3, "size": 8, "first": "most"}, "exactly size"),
    ],
)
def test_a_code_that_contradicts_itself_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Code.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size_px": (20, 16)}, r"size_px \(20, 16\) is no multiple of \(8, 8\)"),
        ({"size_multiple_px": (12, 8)}, "is no multiple of patch_px"),
        ({"frames_per_token": 4, "max_frames": 3}, "max_frames 3 allows no clip of 4 frames"),
        ({"layout": "pyramid"}, "schedules belong to the layout pyramid"),
        (
            {"layout": "pyramid", "schedules": {"4x4": [[1, 2, 2]]}},
            "the last grid of the schedule '4x4' must be of that size",
        ),
    ],
)
def test_a_geometry_that_contradicts_itself_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Geometry.model_validate({"patch_px": (8, 8), "code": BITS, **fields})
