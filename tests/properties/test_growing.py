"""Laws of growing and mending: each item counts once, by its newest attempt; nothing is planned twice."""

from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.dataset.attempts import NewestAttempts, place_of
from bitmill.pipeline.dataset.ledger import LedgerRow, totals_of
from bitmill.pipeline.planning.append import failed_sources, sift_sources
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.requests.job import ShardingSpec
from tests.support.fakes import make_source

SHARDINGS = st.builds(ShardingSpec, max_bytes=st.just(10**9), max_sources=st.integers(1, 5))
ENDS = st.sampled_from([None, None, Reason.CORRUPT, Reason.DECODE_TIMEOUT, Reason.TRUNCATED])


def _row(shard: PlannedShard, place: int, reason: Reason | None, key: str | None = None) -> LedgerRow:
    source = shard.sources[place]
    outcome = Outcome.OK if reason is None else Outcome.FAILED
    if reason is Reason.TRUNCATED:
        outcome = Outcome.PARTIAL
    clips = 0 if outcome is Outcome.FAILED else 2
    counts = dict.fromkeys(("num_frames", "num_tokens", "code_bytes", "tokenized_ns"), 8 * clips)
    return {
        "shard_id": shard.shard_id,
        "source_index": shard.first_source_index + place,
        "source": source.uri,
        "key": key,
        "start_ns": source.start_ns,
        "end_ns": source.end_ns,
        "outcome": outcome.value,
        "reason": reason and reason.value,
        "num_clips": clips,
        **counts,
    }


class _Dataset:
    """Plan and ledgers, grown as the command line does, with nothing on disk."""

    def __init__(self, sharding: ShardingSpec) -> None:
        self.sharding = sharding
        self.shards: list[PlannedShard] = []
        self.ledgers: dict[str, list[LedgerRow]] = {}
        self.newest_row: dict[object, LedgerRow] = {}
        self.attempt = 1

    def add(self, sources: list[PlannedSource], attempt: int) -> None:
        self.shards += cut_shards(sources, self.sharding, "job", behind=self.shards, attempt=attempt)

    def commit(self, data: st.DataObject, *, all_of_them: bool) -> None:
        for shard in self.shards:
            if shard.shard_id in self.ledgers or not (all_of_them or data.draw(st.booleans())):
                continue
            rows = [_row(shard, place, data.draw(ENDS)) for place in range(len(shard.sources))]
            self.ledgers[shard.shard_id] = rows
            self.newest_row |= {place_of(row): row for row in rows}

    def committed(self) -> list[tuple[PlannedShard, list[LedgerRow]]]:
        return [(s, self.ledgers[s.shard_id]) for s in self.shards if s.shard_id in self.ledgers]

    def retry(self, reasons: frozenset[Reason]) -> list[PlannedSource]:
        newest = NewestAttempts(self.shards)
        failed = [
            source
            for shard, rows in self.committed()
            for source in failed_sources(shard, rows, newest, reasons).sources
        ]
        self.attempt += 1
        self.add(failed, self.attempt)
        return failed

    def totals(self) -> Totals:
        committed = self.committed()
        newest = NewestAttempts(shard for shard, _ in committed)
        return sum((totals_of(newest.counting(rows)) for _, rows in committed), start=Totals())


@given(st.data(), SHARDINGS, st.integers(1, 12))
def test_each_item_counts_once_by_its_newest_row(data, sharding, num_sources):
    dataset = _Dataset(sharding)
    dataset.add([make_source(number) for number in range(num_sources)], 1)
    for _ in range(data.draw(st.integers(0, 3))):
        dataset.commit(data, all_of_them=False)
        dataset.retry(data.draw(st.sampled_from([frozenset(), frozenset({Reason.CORRUPT})])))
        assert dataset.totals() == totals_of(list(dataset.newest_row.values()))
    dataset.commit(data, all_of_them=True)
    assert dataset.totals() == totals_of(list(dataset.newest_row.values()))
    assert dataset.totals().items == num_sources
    assert len({shard.shard_id for shard in dataset.shards}) == len(dataset.shards)
    num_rows = 0
    for shard_index, shard in enumerate(dataset.shards):
        assert (shard.shard_index, shard.first_source_index) == (shard_index, num_rows)
        num_rows += len(shard.sources)


@given(st.data(), SHARDINGS, st.integers(1, 12))
def test_only_failed_items_are_planned_again_and_only_once(data, sharding, num_sources):
    dataset = _Dataset(sharding)
    dataset.add([make_source(number) for number in range(num_sources)], 1)
    dataset.commit(data, all_of_them=False)
    reasons = frozenset({Reason.DECODE_TIMEOUT})
    retried = dataset.retry(reasons)
    assert {source.place for source in retried} == {
        place for place, row in dataset.newest_row.items() if row["reason"] == Reason.DECODE_TIMEOUT
    }
    assert dataset.retry(reasons) == []


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_an_append_takes_what_is_new_and_leaves_what_changed(planned, found, changed):
    old = [make_source(number) for number in sorted(planned)]
    now = [make_source(number, size_bytes=7 if number in changed else 1000) for number in sorted(found)]
    sifted = sift_sources(now, old)
    assert [source.uri for source in sifted.new] == [make_source(n).uri for n in sorted(found - planned)]
    assert sifted.changed == len(found & planned & changed)
    assert len(sifted.new) + sifted.known + sifted.changed == len(found)
    again = sift_sources(now, [*old, *sifted.new])
    assert (again.new, again.known) == ((), sifted.known + len(sifted.new))


def test_a_repaired_source_is_known_by_its_newest_version():
    old, new = make_source(1), make_source(1, size_bytes=7)
    assert sift_sources([new], [old, new]).known == 1


def test_a_tar_of_which_members_became_tokens_is_left_alone():
    (shard,) = cut_shards([make_source(0), make_source(1)], ShardingSpec(), "job")
    rows = [
        _row(shard, 0, None, "a.jpg"),
        _row(shard, 0, Reason.CORRUPT, "b.jpg"),
        _row(shard, 1, Reason.CORRUPT, "a.jpg"),
        _row(shard, 1, Reason.CORRUPT, "b.jpg"),
    ]
    failed = failed_sources(shard, rows, NewestAttempts([shard]), frozenset())
    assert [source.uri for source in failed.sources] == [make_source(1).uri]
    assert failed.members_left_out == 1


def test_a_first_attempt_keeps_the_names_that_shards_always_had():
    (shard,) = cut_shards([make_source(0)], ShardingSpec(), "job")
    assert shard.shard_id == "3f76d9b00b2812f8d1a91d112ba722f6"
    assert cut_shards([make_source(0)], ShardingSpec(), "job", attempt=2)[0].shard_id != shard.shard_id
