"""Laws of the codes' statistics: they are what NumPy counts, and parts add up to the whole."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitmill.pipeline.auditing.codes.code_counts import MAX_FRAMES, MAX_VALUES, CodeStatistics
from bitmill.pipeline.auditing.codes.code_health import code_health
from bitmill.pipeline.auditing.codes.prefix_counts import MAX_PREFIXES, PrefixCounts
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.schemas.dataset.packing import pack_bits, pack_codes
from bitmill.schemas.models.geometry import Code


def random_clips(seed: int, bits: int, shapes):
    """Bits [T, h, w, L] of clips whose bits are skewed, depend on each other, and whose frames repeat."""
    random = np.random.default_rng(seed)
    clips = []
    for shape in shapes:
        clip = random.random((*shape, bits)) < random.random(bits)
        clip[..., -1] |= clip[..., 0]
        for t in range(1, shape[0]):
            if random.random() < 0.4:
                clip[t] = clip[t - 1]
        clips.append(clip)
    return clips


def count(clips, prefixes, bits, stretch=0, statistics=None):
    statistics = statistics or CodeStatistics(Code.of_bits(bits))
    packed = [pack_bits(clip.reshape(-1, bits)) for clip in clips]
    starts = np.cumsum([3, *map(len, packed)])[:-1]
    codes = np.frombuffer(b"\xff" * 3 + b"".join(packed) + b"\xff" * SPARE_BYTES, np.uint8)
    rows = np.array([(len(clip), np.prod(clip.shape[1:3])) for clip in clips], np.int64).reshape(-1, 2)
    statistics.add_clips(codes, starts, rows, prefixes, stretch)
    return statistics


def plain_entropy(values) -> float:
    shares = np.unique(values, axis=0, return_counts=True)[1] / len(values)
    return float(-(shares * np.log2(shares)).sum())


@st.composite
def datasets(draw: st.DrawFn):
    bits = draw(st.integers(1, 100))
    sizes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 19))
    shapes = draw(st.lists(sizes, min_size=1, max_size=6))
    return draw(st.integers(0, 1000)), bits, shapes


@pytest.mark.slow
@settings(max_examples=20)
@given(datasets())
@example((0, 18, [(5, 16, 16), (1, 17, 19)]))
@example((0, 36, [(3, 16, 17)]))
@example((0, 64, [(3, 16, 17)]))
@example((0, 100, [(3, 16, 17), (1, 90, 100)]))
@example((0, 131, [(2, 3, 4)]))
@example((0, 256, [(3, 16, 17)]))
@example((0, 16, [(2, 9, 100)]))
@example((0, 33, [(2, 9, 100)]))
@example((0, 5, [(2, 100, 90), (1, 1, 1)]))
@example((0, 12, [(40, 16, 16), (3, 2, 2)]))
def test_statistics_are_what_plain_counting_gives(dataset):
    seed, bits, shapes = dataset
    clips = random_clips(seed, bits, shapes)
    found = code_health(count(clips, ["a", "b"] * (len(clips) // 2) + ["c"] * (len(clips) % 2), bits))
    tokens_NL = np.concatenate([clip.reshape(-1, bits) for clip in clips])

    assert found.tokens == len(tokens_NL)
    assert found.ones == pytest.approx(tokens_NL.mean(0))
    assert found.entropies == pytest.approx([plain_entropy(column) for column in tokens_NL.T])
    changing = np.flatnonzero(tokens_NL.any(0) & ~tokens_NL.all(0))
    expected = np.zeros((bits, bits))
    if len(changing):
        expected[np.ix_(changing, changing)] = np.corrcoef(tokens_NL[:, changing].T.astype(float))
    assert np.allclose(found.correlation, expected, atol=1e-9)
    different = len(set(map(bytes, tokens_NL)))
    assert found.used_codes == (different if bits <= 24 else pytest.approx(different, rel=0.03))
    assert found.group_bits == max(g for g in range(1, 13) if bits % g == 0)
    groups = np.split(tokens_NL, bits // found.group_bits, axis=1)
    assert found.group_entropies == pytest.approx([plain_entropy(group) for group in groups])
    assert found.order0_bits_per_token == pytest.approx(sum(found.group_entropies))

    for row in found.by_frame:
        of_frame = [c[int(row.value)].reshape(-1, bits) for c in clips if len(c) > int(row.value)]
        entropies = [plain_entropy(column) for column in np.concatenate(of_frame).T]
        assert row.tokens == sum(map(len, of_frame))
        assert row.mean_entropy == pytest.approx(np.mean(entropies))
        assert row.weakest_entropy == pytest.approx(min(entropies))
        assert entropies[row.weakest_bit] == pytest.approx(min(entropies))
    assert len(found.by_frame) == max(map(len, clips))

    equal = [[np.array_equal(c[t], c[t - 1]) for t in range(1, len(c))] for c in clips]
    assert found.pairs_of_frames == sum(map(len, equal))
    assert found.repeated_frames == sum(map(sum, equal))
    assert (found.clips, found.still_clips) == (len(clips), sum(all(c) for c in equal if c))


@st.composite
def value_codes(draw: st.DrawFn) -> Code:
    if draw(st.booleans()):
        return Code.of_index(draw(st.integers(2, 5000)))
    levels = draw(st.lists(st.integers(2, 9), min_size=1, max_size=6))
    return Code.of_digits(tuple(levels), draw(st.sampled_from(["most", "least"])))


@settings(max_examples=30)
@given(
    value_codes(),
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 20)), min_size=1),
)
@example(Code.of_digits((8, 8, 8, 5, 5, 5)), 0, [(2, 400), (140, 1)])
@example(Code.of_digits((1 << 20, 3)), 0, [(2, 40)])
@example(Code.of_index((1 << 40) - 5), 0, [(2, 40)])
def test_values_are_what_plain_counting_gives(code, seed, rows):
    random = np.random.default_rng(seed)
    largest = np.array([base - 1 for base in code.bases], np.int64)
    clips = [random.integers(0, largest, (*shape, code.dimensions), endpoint=True) for shape in rows]
    for clip in clips:
        clip[1:][random.random(len(clip) - 1) < 0.5] = clip[0]
    packed = [pack_codes(clip.reshape(-1, code.dimensions), code) for clip in clips]
    starts = np.cumsum([0, *map(len, packed)])[:-1]
    codes = np.frombuffer(b"".join(packed) + b"\xff" * SPARE_BYTES, np.uint8)
    statistics = CodeStatistics(code)
    statistics.add_clips(codes, starts, np.array(rows, np.int64), ["a"] * len(rows), 0)
    found = code_health(statistics)

    tokens_ND = np.concatenate([clip.reshape(-1, code.dimensions) for clip in clips])
    different = len(set(map(bytes, tokens_ND)))
    assert (found.kind, found.tokens) == (code.kind, len(tokens_ND))
    assert found.used_codes == (
        different if code.bits_per_token <= 24 else pytest.approx(different, rel=0.03)
    )
    equal = [[np.array_equal(c[t], c[t - 1]) for t in range(1, len(c))] for c in clips]
    assert (found.pairs_of_frames, found.repeated_frames) == (sum(map(len, equal)), sum(map(sum, equal)))
    assert found.still_clips == sum(all(c) for c in equal if c)
    if sum(code.bases) > MAX_VALUES:
        assert (found.entropies, found.order0_bits_per_token, found.by_frame) == ([], None, [])
        return
    entropies = np.array([plain_entropy(column) for column in tokens_ND.T])
    assert found.order0_bits_per_token == pytest.approx(entropies.sum())
    assert found.entropies == pytest.approx(entropies / np.log2(code.bases))
    if sum(code.bases) <= 4096:
        assert found.values == [
            np.bincount(column, minlength=base).tolist()
            for column, base in zip(tokens_ND.T, code.bases, strict=True)
        ]
    for row in found.by_frame[:-1]:
        own_ND = np.concatenate([c[int(row.value)] for c in clips if len(c) > int(row.value)])
        own = np.array([plain_entropy(column) for column in own_ND.T]) / np.log2(code.bases)
        assert row.mean_entropy == pytest.approx(own.mean())
        assert own[row.weakest_bit] == pytest.approx(row.weakest_entropy) == pytest.approx(own.min())
    assert bool(found.by_frame) == (code.kind == "digits")


# The order is reversed as a whole: no width is a case of its own.
@settings(max_examples=30)
@given(st.integers(1, 100), st.integers(0, 1000))
def test_bits_least_first_are_the_same_in_the_other_order(bits, seed):
    clips = random_clips(seed, bits, [(2, 3, 4)])
    most = code_health(count(clips, ["a"], bits))
    least = code_health(count(clips, ["a"], bits, statistics=CodeStatistics(Code.of_bits(bits, "least"))))
    assert least.ones == most.ones[::-1]
    assert least.entropies == most.entropies[::-1]
    assert least.correlation == [row[::-1] for row in most.correlation[::-1]]
    assert least.group_entropies == most.group_entropies[::-1]
    assert [row.mean_entropy for row in least.by_frame] == pytest.approx(
        [row.mean_entropy for row in most.by_frame]
    )


@settings(max_examples=15)
@given(datasets(), st.data())
def test_parts_merge_to_the_whole_in_any_order(dataset, data):
    seed, bits, shapes = dataset
    clips = random_clips(seed, bits, shapes)
    prefixes = [data.draw(st.sampled_from("abc")) for _ in clips]
    stretches = sorted(data.draw(st.integers(0, 63)) for _ in clips)
    whole, parts = CodeStatistics(Code.of_bits(bits)), []
    for clip, prefix, stretch in zip(clips, prefixes, stretches, strict=True):
        count([clip], [prefix], bits, stretch, whole)
        parts.append(count([clip], [prefix], bits, stretch))
    merged = CodeStatistics(Code.of_bits(bits))
    for part in data.draw(st.permutations(parts)):
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert code_health(merged) == code_health(whole)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.lists(st.integers(0, 500), min_size=1, max_size=4), st.data())
@example(0, [800], None)
def test_prefixes_beyond_the_bound_are_counted_together_whatever_the_order(seed, sizes, data):
    random = np.random.default_rng(seed)
    lists = [random.integers(0, 2 * MAX_PREFIXES, size).tolist() for size in sizes]

    def counted(numbers):
        own = PrefixCounts(1)
        rows = own.rows_of([f"/{number}" for number in numbers])
        np.add.at(own.tokens_S, rows, 1)
        return own

    whole = counted([number for numbers in lists for number in numbers])
    merged = PrefixCounts(1)
    parts = [counted(numbers) for numbers in lists]
    for part in data.draw(st.permutations(parts)) if data else parts:
        merged.merge(part)
    rows = [(prefix, tokens) for prefix, _, tokens in merged.largest(MAX_PREFIXES)]
    assert rows == [(prefix, tokens) for prefix, _, tokens in whole.largest(MAX_PREFIXES)]
    every = np.concatenate([np.array(numbers, int) for numbers in lists])
    assert sum(tokens for _, tokens in rows) == len(every)
    assert all(tokens == (every == int(prefix[1:])).sum() for prefix, tokens in rows if prefix)
    assert len([prefix for prefix, _ in rows if prefix]) == min(MAX_PREFIXES, len(np.unique(every)))


def test_frames_beyond_the_bound_are_counted_together():
    clip = np.zeros((MAX_FRAMES + 10, 1, 2, 4), np.bool_)
    rows = code_health(count([clip], ["a"], 4)).by_frame
    assert len(rows) == MAX_FRAMES
    assert (rows[-1].value, rows[-1].tokens) == ("127 and later", 22)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(0, 1000), st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_scales_are_counted_by_themselves(bits, seed, sizes):
    """Of clips whose scales are these, and those but the last; in parts that are merged."""
    schedules = [sizes, sizes[:-1] or sizes]
    clips = random_clips(seed, bits, [(1, 1, sum(own)) for own in schedules])
    merged = CodeStatistics(Code.of_bits(bits), pyramids=True)
    for clip, own in zip(clips, schedules, strict=True):
        part = CodeStatistics(Code.of_bits(bits), pyramids=True)
        codes = np.frombuffer(pack_bits(clip.reshape(-1, bits)) + bytes(SPARE_BYTES), np.uint8)
        rows = np.array([[1, sum(own)]])
        part.add_clips(codes, np.zeros(1, np.int64), rows, ["a"], 0, scales=[own])
        merged.merge(part)
    found = code_health(merged).by_scale or []
    cut = [
        np.split(clip.reshape(-1, bits), np.cumsum(own)[:-1])
        for clip, own in zip(clips, schedules, strict=True)
    ]
    for number, row in enumerate(found):
        own_ND = np.concatenate([scales[number] for scales in cut if number < len(scales)])
        entropies = np.array([plain_entropy(column) for column in own_ND.T])
        assert (row.value, row.tokens) == (str(number + 1), len(own_ND))
        assert row.mean_entropy == pytest.approx(entropies.mean())
        assert row.weakest_entropy == pytest.approx(entropies.min())
    assert len(found) == len(sizes)
