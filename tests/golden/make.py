"""Made the golden files of format version 1; run again only for a new version, into a new folder.

python -m tests.golden.make v1
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.shard.loop import tokenize_shard
from pipeline.storage import Folder
from schemas.dataset import ledger_file, shard_file
from schemas.outcomes import Reason
from schemas.packing import unpack_bits
from schemas.plan import PlannedShard
from tests.support.fakes import HashEncoder, make_context, make_item, make_source

ITEMS = [([3, 1], None), ([], Reason.NOT_MEDIA), ([2], Reason.TRUNCATED)]


def main(version: str) -> None:
    target = Path(__file__).parent / version
    target.mkdir()
    shard = PlannedShard(
        shard_id="0123456789abcdef0123456789abcdef",
        shard_index=0,
        first_source_index=0,
        sources=tuple(
            make_source(number, metadata='{"caption":"ein Hund läuft"}' if number == 0 else None)
            for number in range(len(ITEMS))
        ),
    )
    events = [make_item(number, lengths, reason=reason) for number, (lengths, reason) in enumerate(ITEMS)]
    with tempfile.TemporaryDirectory() as name:
        list(tokenize_shard(shard, events, HashEncoder(), make_context(), Folder(name)))
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
