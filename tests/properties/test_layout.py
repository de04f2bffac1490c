"""Laws of the compiled layout: where clips lie in a page, and where pieces go, against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.kernels.page_layout import place_clips
from bitmill.pipeline.reading.kernels.sample_layout import lay_out, order_pieces
from bitmill.schemas.dataset.packing import packed_size

WRONG_LENGTH = "the lengths of a page's codes do not match their shapes"
WRONG_PADDING = "the padding after a clip's last token is not zero"


@st.composite
def pages(draw: st.DrawFn):
    """Bytes before and behind a page, clips' tokens, bits of a token, and each clip's length and codes."""
    bits = draw(st.integers(1, 64))
    tokens = draw(st.lists(st.integers(1, 20), max_size=6))
    values = [[(size := packed_size(count, bits)).to_bytes(4, "little"), bytearray(size)] for count in tokens]
    return draw(st.integers(0, 9)), tokens, bits, values, draw(st.integers(0, 9))


def placed(before: int, tokens, bits: int, values, behind: int, *, more: int = 0):
    """What is wrong with the page, and where its clips begin."""
    body = b"".join(length + codes for length, codes in values)
    page = np.frombuffer(b"\xff" * before + body + b"\xff" * (behind + 9), np.uint8)
    starts = np.full(len(tokens), -7, np.int64)
    place = slice(before, before + len(body) + more)
    return place_clips(page, place, np.array(tokens, np.int64), bits, starts), starts.tolist()


@given(pages())
def test_clips_stand_behind_their_lengths(page):
    before, tokens, bits, values, behind = page
    wrong, starts = placed(before, tokens, bits, values, behind)
    sizes = [4 + packed_size(count, bits) for count in tokens]
    assert wrong is None
    assert starts == [before + 4 + sum(sizes[:clip]) for clip in range(len(tokens))]


@given(pages(), st.data())
def test_another_length_is_said(page, data):
    before, tokens, bits, values, behind = page
    if values:
        clip = data.draw(st.integers(0, len(tokens) - 1))
        length = bytearray(values[clip][0])
        length[data.draw(st.integers(0, 3))] ^= data.draw(st.integers(1, 255))
        values[clip][0] = length
        assert placed(before, tokens, bits, values, behind)[0] == WRONG_LENGTH


@given(pages(), st.integers(-9, 9).filter(bool))
def test_a_page_of_another_size_is_said(page, more):
    before, tokens, bits, values, behind = page
    if sum(4 + len(codes) for _, codes in values) + more >= 0:
        assert placed(before, tokens, bits, values, behind, more=more)[0] == WRONG_LENGTH


@given(pages(), st.data())
def test_padding_is_said_where_it_is_not_zero(page, data):
    before, tokens, bits, values, behind = page
    if not values:
        return
    clip, bit = data.draw(st.integers(0, len(tokens) - 1)), data.draw(st.integers(0, 7))
    values[clip][1][-1] |= 1 << bit
    used = tokens[clip] * bits % 8
    wrong, _ = placed(before, tokens, bits, values, behind)
    assert wrong == (WRONG_PADDING if used and bit >= used else None)


@st.composite
def cuts(draw: st.DrawFn):
    """Numbers of pieces of each sample, and an order of the samples."""
    counts = draw(st.lists(st.integers(0, 4), max_size=8))
    return counts, draw(st.permutations(range(len(counts))))


@given(cuts())
def test_pieces_follow_their_samples(cut):
    counts, order = cut
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    bounds, pieces, owners = order_pieces(np.array(order, np.int64), starts)
    expected = [list(range(starts[sample], starts[sample + 1])) for sample in order]
    assert pieces.tolist() == [piece for own in expected for piece in own]
    assert owners.tolist() == [place for place, own in enumerate(expected) for _ in own]
    assert bounds.tolist() == [0, *np.cumsum([len(own) for own in expected]).tolist()]


@pytest.mark.parametrize("lost", [False, True])
@given(seed=st.integers(0, 2**32), num=st.integers(0, 9))
def test_pieces_are_laid_out_as_the_kernels_take_them(lost, seed, num):
    random = np.random.default_rng(seed)
    shapes, starts = random.integers(1, 9, (5, 3)), random.integers(0, 10**9, 5)
    starts[2] = -1 if lost else starts[2]
    table = np.column_stack([random.integers(0, most, num) for most in (5, 9, 9, 50)])
    pieces, owners = random.permutation(num), np.sort(random.integers(0, 6, num))
    address, sample_tokens = 2**45 + 3, 77
    expected = []
    for piece, owner in zip(pieces.tolist(), owners.tolist(), strict=True):
        clip, first, frames, place = table[piece].tolist()
        grid = int(shapes[clip, 1] * shapes[clip, 2])
        expected.append(
            [address + int(starts[clip]), first * grid, frames * grid, owner * sample_tokens + place]
        )
    sizes = shapes.prod(axis=1)
    targets = np.arange(6) * sample_tokens
    laid = lay_out(pieces, owners, table, shapes[:, 0], sizes, starts, address, targets)
    assert laid.tolist() == expected
