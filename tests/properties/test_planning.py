"""Laws of the plan: shards tile the sources, keep their order, and are named by content."""

from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.dataset.plan_file import plan_bytes, plan_part, read_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
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


@given(source_lists(), SHARDINGS)
def test_the_plan_file_gives_back_the_plan(sources, sharding):
    shards = cut_shards(sources, sharding, "job")
    data = plan_bytes(shards)
    assert read_plan(data, origin="x") == shards
    assert plan_bytes(shards) == data
    assert plan_part("p", read_plan(data, origin="x")) == plan_part("p", shards)
