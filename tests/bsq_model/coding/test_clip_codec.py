from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.coding.alphabet import bits_of_groups, groups_of_bits
from bitmill.bsq_model.coding.clip_codec import decode_clips, encode_clips, lane_batches, row_checksum
from bitmill.bsq_model.coding.order0 import order0_model
from bitmill.schemas.dataset.packing import pack_bits, unpack_groups
from bitmill.schemas.models.geometry import Code
from tests.support.priors import Recorder, given_model, random_model

WIDTHS = st.sampled_from([(1, 1), (4, 2), (9, 3), (18, 9), (36, 6), (64, 4)])


@st.composite
def clip_lists(draw, num_bits: int):
    """Bits of a few clips of mixed lengths and sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = draw(st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=6))
    share = draw(st.sampled_from([0.0, 0.03, 0.5, 1.0]))
    return [rng.random((*shape, num_bits)) < share for shape in shapes]


def _restored(model, coded, num_bits, lanes):
    return list(decode_clips(model, coded, Code.of_bits(num_bits), lanes))


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_clips_come_back_exactly_with_counts_and_with_a_network(data):
    num_bits, group_bits = data.draw(WIDTHS)
    clips, lanes = data.draw(clip_lists(num_bits)), data.draw(st.integers(1, 5))
    sharpness = data.draw(st.sampled_from([0.1, 3.0, 100.0]))
    for model in (
        order0_model(Code.of_bits(num_bits), group_bits),
        random_model(group_bits, sharpness=sharpness),
    ):
        coded = encode_clips(model, clips, Code.of_bits(num_bits), lanes)
        restored = _restored(model, coded, num_bits, lanes)
        assert all(found.complete for found in restored)
        for found, clip in zip(restored, clips, strict=True):
            assert np.array_equal(found.codes_thwD, clip)


@settings(max_examples=30)
@given(st.data())
def test_adversarial_probabilities_near_0_and_1_come_back(data):
    num_steps, lanes, num_values = 12, 2, 8
    extremes = st.sampled_from([0.0, 1e-7, 20.0, 88.0, 1e4, -1e4, 3e38, float("-inf")])
    rows = st.lists(extremes, min_size=num_values, max_size=num_values).filter(
        lambda row: max(row) > float("-inf")
    )
    flat = [data.draw(rows) for _ in range(num_steps * lanes)]
    logits = torch.tensor(flat, dtype=torch.float32).reshape(num_steps, lanes, num_values)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    clips = [rng.random((1, 2, 3, 6)) < 0.5 for _ in range(lanes)]
    model = given_model(3, logits)
    coded = encode_clips(model, clips, Code.of_bits(6), lanes)
    for found, clip in zip(_restored(model, coded, 6, lanes), clips, strict=True):
        assert np.array_equal(found.codes_thwD, clip)


def test_a_clips_bytes_do_not_depend_on_its_neighbours():
    rng = np.random.default_rng(1)
    clips = [rng.random((length, 4, 4, 18)) < 0.5 for length in (3, 1, 2, 3, 1)]
    model = random_model(9)
    together = [clip.data for clip in encode_clips(model, clips, Code.of_bits(18), 4)]
    assert together == [encode_clips(model, [clip], Code.of_bits(18), 4)[0].data for clip in clips]


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_the_size_is_within_a_percent_of_the_models_cross_entropy(sharpness):
    rng = np.random.default_rng(2)
    clips = [rng.random((2, 8, 8, 18)) < 0.5 for _ in range(3)]
    steppers: list[Recorder] = []
    coded = encode_clips(
        random_model(9, sharpness=sharpness, watch=steppers.append), clips, Code.of_bits(18), 3
    )
    entropy_bits = sum(float(stepper.bits_B.sum()) for stepper in steppers)
    size_bits = sum(len(clip.data or b"") * 8 for clip in coded)
    # Values less likely than 2^-24 cost less than they should: they are coded as 2^-24.
    assert size_bits < entropy_bits * 1.01


def test_counts_learn_what_is_skewed():
    rng = np.random.default_rng(3)
    clip = rng.random((4, 16, 16, 18)) < 0.02
    (coded,) = encode_clips(order0_model(Code.of_bits(18)), [clip], Code.of_bits(18), 1)
    entropy = -(0.02 * np.log2(0.02) + 0.98 * np.log2(0.98))
    assert len(coded.data or b"") * 8 < clip.size * entropy * 1.1


@pytest.fixture(scope="module")
def sound():
    """A model, four clips, and what it makes of them."""
    rng = np.random.default_rng(4)
    clips = [rng.random((3, 4, 4, 18)) < 0.5 for _ in range(4)]
    model = random_model(9, sharpness=0.3)
    return model, clips, tuple(encode_clips(model, clips, Code.of_bits(18), 4))


@pytest.mark.slow
@settings(max_examples=50)
@given(st.integers(0, 3), st.integers(0, 200), st.integers(1, 255))
@example(0, 117, 1)
@example(0, 117, 255)
def test_a_damaged_clip_ends_before_its_first_wrong_frame_and_harms_no_other(sound, lane, at, flip):
    model, clips, whole = sound
    coded = list(whole)
    damaged = bytearray(coded[lane].data or b"")
    damaged[at % len(damaged)] ^= flip
    coded[lane] = replace(coded[lane], data=bytes(damaged))
    for place, found in enumerate(_restored(model, coded, 18, 4)):
        assert np.array_equal(found.codes_thwD, clips[place][: len(found.codes_thwD)])
        # The last bits of the last byte may decide nothing.
        whole = len(found.codes_thwD) == len(clips[place])
        assert found.complete == whole
        assert whole or place == lane


def test_lost_clips_leave_their_lane_empty():
    rng = np.random.default_rng(5)
    clips = [rng.random((2, 2, 2, 6)) < 0.5 for _ in range(3)]
    model = random_model(3)
    coded = encode_clips(model, clips, Code.of_bits(6), 2)
    coded[1] = replace(coded[1], data=None)
    restored = _restored(model, coded, 6, 2)
    assert [found.complete for found in restored] == [True, False, True]
    assert len(restored[1].codes_thwD) == 0


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 2))), st.integers(1, 4))
def test_batches_tile_the_clips_in_order_and_hold_one_size_each(shapes, lanes):
    batches = list(lane_batches(shapes, lanes))
    assert [place for batch in batches for place in batch] == list(range(len(shapes)))
    for batch in batches:
        assert 1 <= len(batch) <= lanes
        assert len({shapes[place][1:] for place in batch}) == 1


@given(WIDTHS, st.integers(1, 5), st.integers(0, 99))
def test_groups_are_those_of_the_packed_codes(width, num_tokens, seed):
    num_bits, group_bits = width
    bits = np.random.default_rng(seed).random((num_tokens, num_bits)) < 0.5
    groups = groups_of_bits(bits[None], group_bits)
    assert (
        groups.tolist() == unpack_groups(pack_bits(bits), num_tokens, num_bits, group_bits).ravel().tolist()
    )
    assert np.array_equal(bits_of_groups(groups, group_bits).reshape(bits.shape), bits)
    assert row_checksum(bits[None], Code.of_bits(num_bits)) != row_checksum(
        ~bits[None], Code.of_bits(num_bits)
    )


CODES = st.one_of(
    st.integers(1, 256).map(Code.of_bits),
    st.integers(1, 80).map(lambda num_bits: Code.of_bits(num_bits, "least")),
    st.lists(st.integers(2, 9), min_size=1, max_size=8).map(lambda levels: Code.of_digits(tuple(levels))),
    st.sampled_from([(5000, 3), (2, 1 << 24, 7)]).map(lambda levels: Code.of_digits(levels, "most")),
    st.integers(2, 1 << 63).map(Code.of_index),
    st.sampled_from([2, 3, 4096, 4097, 16384, 1 << 13, (1 << 63) - 1]).map(Code.of_index),
)


@settings(max_examples=60)
@given(CODES, st.integers(1, 4), st.integers(0, 99))
def test_codes_of_any_kind_come_back_exactly(code, lanes, seed):
    rng = np.random.default_rng(seed)
    shapes = [(2, 1, 3), (1, 1, 3), (2, 2, 1)]
    if code.kind == "bits":
        clips = [rng.random((*shape, code.dimensions)) < 0.3 for shape in shapes]
    else:
        clips = [
            rng.integers(0, np.array(code.bases, np.uint64), (*shape, code.dimensions), np.uint64)
            for shape in shapes
        ]
        clips = [clip.astype(np.int64) for clip in clips]
    model = order0_model(code)
    coded = encode_clips(model, clips, code, lanes)
    for found, clip in zip(decode_clips(model, coded, code, lanes), clips, strict=True):
        assert found.complete
        assert found.codes_thwD.dtype == clip.dtype
        assert np.array_equal(found.codes_thwD, clip)


def test_a_skewed_digit_costs_its_entropy():
    code = Code.of_digits((8, 5))
    rng = np.random.default_rng(0)
    clip = np.stack([rng.integers(0, 8, (4, 16, 16)), np.full((4, 16, 16), 3)], axis=-1)
    (coded,) = encode_clips(order0_model(code), [clip], code, 1)
    # The first digit costs 3 bits; the second one, which is always the same, next to nothing.
    assert len(coded.data or b"") * 8 < 4 * 256 * 3.1


def test_an_index_that_no_token_has_is_not_right():
    code = Code.of_index(4097)
    (sound,) = encode_clips(order0_model(code), [np.full((1, 1, 1, 1), 4096)], code, 1)
    # The parts of 4096 are 64 of 65 values and 0 of 64; those of 4097 would be 64 and 1.
    other = replace(sound, data=b"\xff" * 8)
    (found,) = decode_clips(order0_model(code), [other], code, 1)
    assert not found.complete
    assert found.codes_thwD.shape == (0, 1, 1, 1)
