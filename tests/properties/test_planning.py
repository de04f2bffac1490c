"""Laws of the plan: shards tile the sources, keep their order, and are named by content."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.dataset.plan_file import plan_bytes, plan_part, read_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.span_bytes import object_bytes, shares, shares_of_shards
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.job import ShardingSpec

NANOSECONDS = st.none() | st.integers(0, 2**62)


@st.composite
def source_lists(draw: st.DrawFn) -> list[PlannedSource]:
    sizes = draw(st.lists(st.integers(0, 2000), max_size=40))
    return [
        PlannedSource(
            uri=f"s3://b/ü{number}",
            size_bytes=size,
            version=draw(st.sampled_from(["", "etag-1", "x"])),
            start_ns=draw(NANOSECONDS),
            end_ns=draw(NANOSECONDS),
            metadata=draw(st.none() | st.just('{"caption":"é"}')),
        )
        for number, size in enumerate(sizes)
    ]


@st.composite
def spans_of_objects(draw: st.DrawFn) -> list[PlannedSource]:
    """Several objects one after another, each whole, in spans, or both."""
    sources: list[PlannedSource] = []
    for number, size in enumerate(draw(st.lists(st.integers(0, 2000), max_size=8))):
        seconds = st.none() | st.integers(0, 100)
        sources += [
            PlannedSource(
                uri=f"s3://b/{number}.mp4", size_bytes=size, version="v", start_ns=start_ns, end_ns=end_ns
            )
            for start_ns, end_ns in draw(st.lists(st.tuples(seconds, seconds), max_size=20, unique=True))
        ]
    return sources


SHARDINGS = st.builds(ShardingSpec, max_bytes=st.integers(1, 3000), max_sources=st.integers(1, 10))


@given(source_lists(), SHARDINGS)
def test_shards_tile_the_sources_in_order(sources, sharding):
    shards = cut_shards(sources, sharding, "job")
    assert [source for shard in shards for source in shard.sources] == sources
    assert [shard.shard_index for shard in shards] == list(range(len(shards)))
    first = 0
    for shard in shards:
        assert shard.first_source_index == first
        assert 1 <= len(shard.sources) <= sharding.max_sources
        assert shard.size_bytes <= sharding.max_bytes or len(shard.sources) == 1
        first += len(shard.sources)


@given(source_lists(), SHARDINGS)
def test_shard_ids_are_unique_and_follow_from_content(sources, sharding):
    ids = [shard.shard_id for shard in cut_shards(sources, sharding, "job")]
    assert len(set(ids)) == len(ids)
    assert ids == [shard.shard_id for shard in cut_shards(sources, sharding, "job")]
    assert not set(ids) & {shard.shard_id for shard in cut_shards(sources, sharding, "another job")}


@given(source_lists(), source_lists(), SHARDINGS)
def test_full_shards_survive_sources_added_behind(sources, added, sharding):
    before = [shard.shard_id for shard in cut_shards(sources, sharding, "job")]
    after = [shard.shard_id for shard in cut_shards([*sources, *added], sharding, "job")]
    assert after[: max(0, len(before) - 1)] == before[:-1]


@pytest.mark.slow
@given(source_lists(), SHARDINGS)
def test_the_plan_file_gives_back_the_plan(sources, sharding):
    shards = cut_shards(sources, sharding, "job")
    data = plan_bytes(shards)
    assert read_plan(data, origin="x") == shards
    assert plan_bytes(shards) == data
    assert plan_part("p", read_plan(data, origin="x")) == plan_part("p", shards)


@pytest.mark.slow
@given(spans_of_objects(), SHARDINGS)
def test_spans_are_planned_once_in_order_and_their_object_counts_once(sources, sharding):
    shards = cut_shards(sources, sharding, "job")
    assert [source for shard in shards for source in shard.sources] == sources
    assert len({shard.shard_id for shard in shards}) == len(shards)
    for shard in shards:
        objects = {source.object: source.size_bytes for source in shard.sources}
        assert 1 <= len(shard.sources) <= sharding.max_sources
        assert shard.size_bytes == sum(objects.values())
        assert shard.size_bytes <= sharding.max_bytes or len(objects) == 1


@pytest.mark.slow
@given(st.integers(1, 2**40), st.integers(1, 4000), st.integers(0, 10**12), st.integers(1, 10**10))
def test_an_object_that_fits_is_one_shard_however_many_spans_it_has(size, count, start_ns, length_ns):
    spans = _touching(count, start_ns, length_ns, size_bytes=size)
    (shard,) = cut_shards(spans, ShardingSpec(max_bytes=size, max_sources=4000), "job")
    assert shard.size_bytes == size


def test_a_large_object_is_cut_by_what_its_spans_take_of_it():
    spans, tenth = _touching(100, 0, 10**10, size_bytes=10_000), ShardingSpec(max_bytes=1000)
    assert [len(shard.sources) for shard in cut_shards(spans, tenth, "job")] == [10] * 10
    # With its outer ends open, as the plan cuts long videos, too.
    ends = [replace(spans[0], start_ns=None), *spans[1:-1], replace(spans[-1], end_ns=None)]
    assert [len(shard.sources) for shard in cut_shards(ends, tenth, "job")] == [10] * 10
    # Work that is wanted twice counts twice.
    twice = [span for span in spans for span in (span, replace(span, end_ns=span.end_ns + 1))]
    assert len(cut_shards(twice, tenth, "job")) > 18


def test_another_object_starts_a_shard_where_it_does_not_fit_beside_the_whole_of_the_first():
    few = _touching(2, 0, 10**9, size_bytes=900)
    other = PlannedSource(uri="s3://b/other.mp4", size_bytes=200, version="v")
    shards = cut_shards([*few, other], ShardingSpec(max_bytes=1000), "job")
    assert [len(shard.sources) for shard in shards] == [2, 1]


@given(source_lists(), SHARDINGS)
def test_a_plan_without_two_spans_of_one_object_is_cut_as_ever(sources, sharding):
    wanted: list[list[PlannedSource]] = []
    for source in sources:
        taken = sum(one.size_bytes for one in wanted[-1]) if wanted else 0
        if (
            not wanted
            or len(wanted[-1]) == sharding.max_sources
            or taken + source.size_bytes > sharding.max_bytes
        ):
            wanted.append([])
        wanted[-1].append(source)
    assert [list(shard.sources) for shard in cut_shards(sources, sharding, "job")] == wanted


@pytest.mark.slow
@given(spans_of_objects(), SHARDINGS)
def test_shares_are_told_for_each_source_and_make_up_each_object_once(sources, sharding):
    told = shares_of_shards(cut_shards(sources, sharding, "job"))
    counted = [share for of_shard in told.values() for share in of_shard]
    assert len(counted) == len(sources)
    assert all(0 <= share <= source.size_bytes for share, source in zip(counted, sources, strict=True))
    assert object_bytes(sources) == sum(size for _, size, _ in {source.object for source in sources})


@given(st.integers(1, 2**40), st.integers(1, 300), st.integers(0, 10**12), st.integers(1, 10**10))
def test_spans_that_share_no_time_make_up_their_object(size, count, start_ns, length_ns):
    counted = shares(_touching(count, start_ns, length_ns, size_bytes=size))
    assert size - count < sum(counted) <= size


def _touching(count: int, start_ns: int, length_ns: int, *, size_bytes: int) -> list[PlannedSource]:
    """So many spans of one object that follow each other."""
    return [
        PlannedSource(
            uri="s3://b/long.mp4",
            size_bytes=size_bytes,
            version="v",
            start_ns=start_ns + number * length_ns,
            end_ns=start_ns + (number + 1) * length_ns,
        )
        for number in range(count)
    ]
