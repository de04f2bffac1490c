"""What a user looks for in the codes' statistics: a stuck bit, repeated frames, a source gone flat."""

import numpy as np
import pyarrow as pa
import pytest

from bitmill.pipeline.auditing.codes.code_collector import CodeCollector
from bitmill.pipeline.auditing.codes.code_counts import CodeStatistics
from bitmill.pipeline.auditing.codes.code_health import code_health
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.schemas.dataset.packing import pack_bits
from bitmill.schemas.models.geometry import Code, Geometry

BITS = 18


def row_group(clips, sources, *, shard=0) -> RowGroupData:
    """Clips of bits [T, h, w, L]."""
    packed = [pack_bits(clip.reshape(-1, BITS)) for clip in clips]
    return RowGroupData(
        shard=shard,
        number=0,
        codes=np.frombuffer(b"".join(packed) + bytes(SPARE_BYTES), np.uint8),
        starts=np.cumsum([0, *map(len, packed)])[:-1],
        shapes_n3=np.array([clip.shape[:3] for clip in clips], np.int64),
        num_tokens=np.array([np.prod(clip.shape[:3]) for clip in clips], np.int64),
        table=pa.table({"source": sources}),
    )


def random_clips(count: int, frames: int = 4, seed: int = 0):
    random = np.random.default_rng(seed)
    return [random.random((frames, 8, 8, BITS)) < 0.5 for _ in range(count)]


def gather(groups, num_shards=1):
    collector = CodeCollector(Geometry(patch_px=(8, 8), code=Code.of_bits(BITS)), num_shards, prefix_of)
    for group in groups:
        collector.add(group)
    return code_health(collector.statistics)


def prefix_of(source: str) -> str:
    return source.rpartition("/")[0]


def test_a_stuck_bit_is_named_and_no_other():
    clips = random_clips(6)
    for clip in clips:
        clip[..., 5] = True
    clips[0][0, 0, 0, 5] = False
    health = gather([row_group(clips, ["/a/1"] * 6)])
    assert health.stuck_bits == [5]
    assert 0 < health.entropies[5] < 0.02
    assert min(entropy for bit, entropy in enumerate(health.entropies) if bit != 5) > 0.99
    assert {row.weakest_bit for row in health.by_frame + health.by_source + health.along} == {5}


def test_two_bits_that_say_the_same_are_correlated():
    clips = random_clips(6)
    for clip in clips:
        clip[..., 3] = clip[..., 12]
        clip[..., 0] = ~clip[..., 17]
    correlation = np.array(gather([row_group(clips, ["/a/1"] * 6)]).correlation)
    assert (correlation[3, 12], correlation[0, 17], correlation[9, 9]) == pytest.approx((1, -1, 1))
    others = np.triu(np.abs(correlation), 1)
    others[3, 12] = others[0, 17] = 0
    assert others.max() < 0.15


def test_repeated_frames_and_still_clips_are_counted():
    clips = random_clips(4)
    clips[1][2] = clips[1][1]
    clips[2][:] = clips[2][0]
    health = gather([row_group([*clips, *random_clips(2, frames=1)], ["/a/1"] * 6)])
    assert (health.pairs_of_frames, health.repeated_frames) == (12, 4)
    assert (health.clips, health.still_clips) == (6, 1)


def test_a_source_and_a_stretch_that_are_flat_stand_out():
    clips = random_clips(4)
    clips[3][:] = False
    groups = [
        row_group([clip], [f"/{name}/1"], shard=number)
        for number, (clip, name) in enumerate(zip(clips, "aabc", strict=True))
    ]
    health = gather(groups, num_shards=4)
    assert {row.value: row.mean_entropy > 0.9 for row in health.by_source} == {
        "/a": True,
        "/b": True,
        "/c": False,
    }
    assert [(row.value, row.mean_entropy > 0.9) for row in health.along] == [
        ("1 of 64", True),
        ("17 of 64", True),
        ("33 of 64", True),
        ("49 of 64", False),
    ]


def test_no_clips_are_no_trouble():
    health = code_health(CodeStatistics(Code.of_bits(BITS)))
    assert (health.tokens, health.used_codes, health.stuck_bits, health.order0_bits_per_token) == (
        0,
        0,
        [],
        0,
    )


def test_statistics_of_other_codes_do_not_add_up():
    with pytest.raises(ValueError, match="different codes"):
        CodeStatistics(Code.of_bits(18)).merge(CodeStatistics(Code.of_bits(36)))
    with pytest.raises(ValueError, match="different codes"):
        CodeStatistics(Code.of_bits(18)).merge(CodeStatistics(Code.of_bits(18, "least")))
