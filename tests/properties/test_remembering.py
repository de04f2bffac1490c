"""Whatever is remembered of a dataset's shards, its totals are those of its ledgers."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.dataset import totals as accounts_module
from bitmill.pipeline.dataset.ledger import LedgerRow, ledger_bytes
from bitmill.pipeline.dataset.totals import committed_accounts
from bitmill.pipeline.dataset.totals_cache import (
    parse_totals,
    remember_totals,
    remembered_totals,
    totals_bytes,
)
from bitmill.pipeline.items import ItemEnd, ItemStart
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.ledger_rows import ledger_row
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import Totals, ledger_file
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import ShardingSpec
from tests.support.fakes import make_source

TOTALS = st.builds(
    Totals,
    **{name: st.integers(0, 2**60) for name in Totals.model_fields if name != "reasons"},
    reasons=st.dictionaries(st.sampled_from([reason.value for reason in Reason]), st.integers(1, 2**60)),
)


def _rows(shard: PlannedShard, failing: set[int]) -> list[LedgerRow]:
    return [
        ledger_row(
            shard_id=shard.shard_id,
            source_index=shard.first_source_index + place,
            source=source,
            start=ItemStart(key=None, size_bytes=source.size_bytes),
            end=ItemEnd.unread(Reason.CORRUPT if place in failing else None, ""),  # type: ignore[arg-type]
            num_clips=0 if place in failing else 1 + place,
            num_frames=3,
            num_tokens=5,
            code_bytes=7,
            tokenized_ns=11,
            shard_version=2,
        )
        for place, source in enumerate(shard.sources)
    ]


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(1, 3), st.data())
def test_any_remembered_part_gives_the_same_totals(num_sources, max_sources, data):
    sharding = ShardingSpec(max_sources=max_sources)
    sources = [make_source(number) for number in range(num_sources)]
    plan = cut_shards(sources, sharding, "job")
    again = data.draw(st.lists(st.sampled_from(sources), unique=True))
    plan += cut_shards(again, sharding, "job", behind=plan, attempt=2)
    committed = {shard.shard_id for shard in plan if data.draw(st.booleans())}
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(place)
        for shard in plan:
            if shard.shard_id in committed:
                rows = _rows(shard, data.draw(st.sets(st.integers(0, 2))))
                folder.write_bytes(ledger_file(shard.shard_id), ledger_bytes(rows))
        read = committed_accounts(folder, plan, committed)
        assert set(read.of_shards) == committed
        kept = {name: totals for name, totals in read.of_shards.items() if data.draw(st.booleans())}
        # Another dataset's shard, and one of ours that was never committed.
        kept["0" * 32] = Totals(ok=99)
        kept |= {s.shard_id: Totals(ok=len(s.sources)) for s in plan if s.shard_id not in committed}
        remember_totals(folder, kept)
        assert committed_accounts(folder, plan, committed, remembered_totals(folder)) == read


@pytest.mark.slow
@given(st.dictionaries(st.text("0123456789abcdef", min_size=32, max_size=32), TOTALS, max_size=4))
def test_what_is_remembered_is_what_was_known(totals):
    assert parse_totals(totals_bytes(totals)) == totals


@given(st.lists(TOTALS, max_size=5))
def test_a_sum_is_that_of_all_its_parts(parts):
    parts = [part.model_copy(update={"ok": part.ok % 2**40}) for part in parts]
    one_by_one = Totals()
    for part in parts:
        one_by_one += part
    assert Totals.sum(parts) == one_by_one
    assert one_by_one.items == sum(part.items for part in parts)


def test_remembered_ledgers_are_not_read(tmp_path: Path, monkeypatch):
    plan = cut_shards([make_source(number) for number in range(4)], ShardingSpec(max_sources=1), "job")
    folder, committed = Folder(str(tmp_path)), {shard.shard_id for shard in plan}
    for shard in plan:
        folder.write_bytes(ledger_file(shard.shard_id), ledger_bytes(_rows(shard, set())))
    whole = committed_accounts(folder, plan, committed)
    asked: list[str] = []
    load = accounts_module.load_ledger

    def loading(folder, shard_id):
        asked.append(shard_id)
        return load(folder, shard_id)

    monkeypatch.setattr(accounts_module, "load_ledger", loading)
    first = plan[0].shard_id
    known = {name: totals for name, totals in whole.of_shards.items() if name != first}
    assert committed_accounts(folder, plan, committed, known) == whole
    assert asked == [first]
    # What cannot be this shard's totals is no memory of it.
    assert committed_accounts(folder, plan, committed, known | {first: Totals(ok=2)}) == whole
    assert asked == [first, first]
