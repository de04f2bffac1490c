"""Made the golden files of format version 5, and the card of version 4; run again only for a new version,
into a new folder.

python -m tests.golden.make v5
python -m tests.golden.make card4
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bitmill.pipeline.items import ItemStart, SourceEvent
from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.removing.rewrite_shard import WritingRules, rewrite_shard
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard, ledger_file, read_card, shard_file
from bitmill.schemas.dataset.packing import unpack_codes
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.removal import Removal, RemovedShard, RemovedSource
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job_fingerprint import SHARD_VERSION_FIELD
from tests.support.fakes import CodeEncoder, HashEncoder, make_context, make_item, make_source

ITEMS = [([3, 1], None), ([], Reason.ENCRYPTED), ([2], Reason.DECODER_FAILED)]
MEMBERS = [
    ("d/a.v1.mp4", [2], None),
    ("d/a.v2.mp4", [1], Reason.BAD_SIDECAR),
    ("d/a.v1.mp4", [], Reason.DUPLICATE_KEY),
    (None, [], Reason.TRUNCATED),
]
VIDEO = Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, code=Code.of_digits((8, 8, 5, 5)))
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


def sources() -> tuple[PlannedSource, ...]:
    plain = (
        make_source(number, metadata='{"caption":"ein Hund läuft"}' if number == 0 else None)
        for number in range(len(ITEMS))
    )
    return (*plain, TAR)


def bits_shard(folder: Path) -> PlannedShard:
    """A shard of BSQ-ViT's, with a takedown, and its ledger."""
    shard = PlannedShard(
        shard_id="0123456789abcdef0123456789abcdef", shard_index=0, first_source_index=0, sources=sources()
    )
    events: list[Iterator[SourceEvent]] = [
        make_item(number, lengths, reason=reason) for number, (lengths, reason) in enumerate(ITEMS)
    ]
    events.append(tar_events())
    context = make_context()
    list(tokenize_shard(shard, events, HashEncoder(), context, Folder(str(folder))))
    take_down(folder, shard, context)
    return shard


def digits_shard(folder: Path) -> PlannedShard:
    """A shard of rows of four frames after a lead frame; clips of 3, 5 and 1 frames, padded to 5, 5, 1."""
    shard = PlannedShard(
        shard_id="fedcba9876543210fedcba9876543210",
        shard_index=0,
        first_source_index=0,
        sources=(make_source(0), make_source(1)),
    )
    events = [make_item(20, [3, 5]), make_item(21, [1])]
    context = make_context(geometry=VIDEO)
    list(tokenize_shard(shard, events, CodeEncoder(VIDEO), context, Folder(str(folder))))
    return shard


def spelled(row: dict[str, Any], code: Code) -> dict[str, Any]:
    """A row with its codes spelled out: strings of bits, or lists of digits; dimension 0 first."""
    num_tokens = row["num_frames"] * row["height"] * row["width"]
    codes_ND = unpack_codes(row.pop("codes"), num_tokens, code)
    if code.kind == "bits":
        return row | {"bits": ["".join("01"[bit] for bit in token) for token in codes_ND.tolist()]}
    return row | {"digits": codes_ND.tolist()}


def make_card(target: Path) -> None:
    """The card of a dataset of buckets, whose tokenizer interpolates its positions."""
    card = json.loads((target.parent / "v5" / "dataset.json").read_bytes())
    del card["geometry"], card["tokenizer"]["format_version"]
    card["tokenizer"]["positions"] = "interpolate"
    card["fingerprint_fields"] |= {"frames.size_px": None, "frames.buckets": [[16, 32], [32, 16]]}
    (target / "dataset.json").write_bytes(DatasetCard.model_validate(card).to_json())


def main(version: str) -> None:
    target = Path(__file__).parent / version
    target.mkdir()
    if version == "card4":
        make_card(target)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shard, digits = bits_shard(folder), digits_shard(folder)
        shutil.copy(folder / shard_file(shard.shard_id), target / "shard.parquet")
        shutil.copy(folder / ledger_file(shard.shard_id), target / "ledger.parquet")
        shutil.copy(folder / shard_file(digits.shard_id), target / "digits.parquet")
    expected = {
        "clips": [
            spelled(row, Code.of_bits(18)) for row in pq.read_table(target / "shard.parquet").to_pylist()
        ],
        "digits": [spelled(row, VIDEO.code) for row in pq.read_table(target / "digits.parquet").to_pylist()],
        "ledger": pq.read_table(target / "ledger.parquet").to_pylist(),
    }
    (target / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    card = read_card((target.parent / "v2" / "dataset.json").read_bytes(), origin="v2")
    fields = card.fingerprint_fields | {SHARD_VERSION_FIELD: 2}
    (target / "dataset.json").write_bytes(card.model_copy(update={"fingerprint_fields": fields}).to_json())


if __name__ == "__main__":
    main(sys.argv[1])
