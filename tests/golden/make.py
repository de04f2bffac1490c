"""Made the golden files of format version 4; run again only for a new version, into a new folder.

python -m tests.golden.make v4
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from bitmill.pipeline.items import ItemStart, SourceEvent
from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.removing.rewrite_shard import WritingRules, rewrite_shard
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import ledger_file, shard_file
from bitmill.schemas.dataset.packing import unpack_bits
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.removal import Removal, RemovedShard, RemovedSource
from bitmill.schemas.outcomes import Reason
from tests.support.fakes import HashEncoder, make_context, make_item, make_source

ITEMS = [([3, 1], None), ([], Reason.ENCRYPTED), ([2], Reason.DECODER_FAILED)]
MEMBERS = [
    ("d/a.v1.mp4", [2], None),
    ("d/a.v2.mp4", [1], Reason.BAD_SIDECAR),
    ("d/a.v1.mp4", [], Reason.DUPLICATE_KEY),
    (None, [], Reason.TRUNCATED),
]
TAR = PlannedSource(uri="/media/shard-000.tar", size_bytes=5000, version="v3", metadata='{"set":"train"}')


def tar_events() -> Iterator[SourceEvent]:
    """Items of a tar that is cut off."""
    for number, (key, lengths, reason) in enumerate(MEMBERS):
        metadata = '{"caption":"ein Hund läuft","set":"train"}' if number == 0 else TAR.metadata
        size_bytes = TAR.size_bytes if key is None else 1000 + number
        yield ItemStart(key=key, size_bytes=size_bytes, metadata=metadata)
        yield from make_item(10 + number, lengths, reason=reason)


def take_down(folder: Path, shard: PlannedShard, context: ShardContext) -> None:
    """Remove the last clip of the first source, and a member of the tar."""
    rows = pq.read_table(folder / shard_file(shard.shard_id), columns=["clip_id", "key"]).to_pylist()
    clip = rows[1]["clip_id"]
    (member,) = (row["clip_id"] for row in rows if row["key"] == MEMBERS[1][0])
    removal = Removal(
        removed_on=date(2026, 11, 5),
        reason="asked for by mail",
        sources=[RemovedSource(uri=TAR.uri, key=MEMBERS[1][0])],
        clips=[clip],
        shards=[RemovedShard(shard_id=shard.shard_id, clip_ids=[clip, member])],
        num_clips=2,
        finished=True,
    )
    rules = WritingRules(storage=context.job.storage, sampling_rule=context.job.sampling.rule())
    rewrite_shard(Folder(str(folder)), shard, Takedown.of([removal]), rules)


def main(version: str) -> None:
    target = Path(__file__).parent / version
    target.mkdir()
    shard = PlannedShard(
        shard_id="0123456789abcdef0123456789abcdef",
        shard_index=0,
        first_source_index=0,
        sources=(
            *(
                make_source(number, metadata='{"caption":"ein Hund läuft"}' if number == 0 else None)
                for number in range(len(ITEMS))
            ),
            TAR,
        ),
    )
    events: list[Iterator[SourceEvent]] = [
        make_item(number, lengths, reason=reason) for number, (lengths, reason) in enumerate(ITEMS)
    ]
    events.append(tar_events())
    with tempfile.TemporaryDirectory() as name:
        context = make_context()
        list(tokenize_shard(shard, events, HashEncoder(), context, Folder(name)))
        take_down(Path(name), shard, context)
        shutil.copy(Path(name) / shard_file(shard.shard_id), target / "shard.parquet")
        shutil.copy(Path(name) / ledger_file(shard.shard_id), target / "ledger.parquet")
    rows = pq.read_table(target / "shard.parquet").to_pylist()
    for row in rows:
        bits_NL = unpack_bits(row.pop("codes"), row["num_frames"] * row["height"] * row["width"], 18)
        row["bits"] = ["".join("01"[bit] for bit in code) for code in bits_NL.tolist()]
    ledger = pq.read_table(target / "ledger.parquet").to_pylist()
    expected = {"clips": rows, "ledger": ledger}
    (target / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
