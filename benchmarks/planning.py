"""Planning a million sources, and resuming with a hundred thousand committed shards: time and memory.

    python -m benchmarks.planning [--sources N] [--committed M]

Each step runs in a process of its own. The listing is one of S3 in pages of a thousand, made up in the
process, so that what is measured is bitmill's part; the dataset lies in a temporary folder.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitmill.pipeline.dataset.dataset_folder import committed_shards, write_plan
from bitmill.pipeline.dataset.ledger import ledger_bytes
from bitmill.pipeline.dataset.plan_file import read_plan
from bitmill.pipeline.dataset.totals import committed_accounts
from bitmill.pipeline.dataset.totals_cache import remember_totals, remembered_totals
from bitmill.pipeline.items import ItemEnd, ItemStart, MediaFacts
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.ledger_rows import ledger_row
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder, source_objects
from bitmill.schemas.dataset.card import ledger_file, shard_file
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.requests.job import ShardingSpec, SourceSpec

_PAGE = 1000
_SOURCE = "s3://synthetic/collections/videos-of-some-kind"
_PLAN = "plan/part-00000.parquet"


class Pages:
    """The part of s3fs that a listing asks, over objects that are made up page by page."""

    protocol = ("s3", "s3a")
    req_kw: dict[str, Any] = {}  # noqa: RUF012 - as s3fs has it

    def __init__(self, num_objects: int) -> None:
        self._num_objects = num_objects

    def info(self, _path: str) -> dict[str, Any]:
        return {"type": "directory"}

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def call_s3(self, _method: str, *, Prefix: str, ContinuationToken: str = "0", **_: Any) -> dict[str, Any]:
        first = int(ContinuationToken)
        last = min(first + _PAGE, self._num_objects)
        moment = datetime.now(UTC)
        contents = [
            {
                "Key": f"{Prefix}{number // 10_000:04d}/{number:09d}.mp4",
                "Size": 1_000_000 + number % 977 * 1000,
                "ETag": f'"{number * 2654435761 % 2**128:032x}"',
                "LastModified": moment,
                "StorageClass": "STANDARD",
            }
            for number in range(first, last)
        ]
        more = last < self._num_objects
        return {"Contents": contents, "IsTruncated": more, "NextContinuationToken": str(last)}


def plan(folder: Folder, num_sources: int, num_shards: int) -> int:
    """List, cut, write; as a new job does."""
    source_objects.filesystem = lambda uri: (Pages(num_sources), uri.split("://", 1)[1])
    found = find_sources(SourceSpec(paths=[_SOURCE]))
    sharding = ShardingSpec(max_sources=max(1, num_sources // num_shards))
    return write_plan(folder, 0, cut_shards(found.sources, sharding, "job")).num_shards


def _loaded(folder: Folder) -> list[PlannedShard]:
    return read_plan(folder.read_bytes(_PLAN), origin=_PLAN)


def load(folder: Folder, _num_sources: int, _num_shards: int) -> int:
    """Read the stored plan; as every later command does."""
    return len(_loaded(folder))


def commit(folder: Folder, _num_sources: int, num_shards: int) -> int:
    """Make up the commits: small ledgers, and token shards of no bytes, of which only the names are read."""
    place = Path(folder.uri)
    for name in ("ledger", "shards"):
        (place / name).mkdir()
    for shard in _loaded(folder)[:num_shards]:
        rows = [
            ledger_row(
                shard_id=shard.shard_id,
                source_index=shard.first_source_index + offset,
                source=source,
                start=ItemStart(key=None, size_bytes=source.size_bytes),
                end=ItemEnd(facts=MediaFacts(media="video", codec="h264", decoder="pyav")),
                num_clips=10,
                num_frames=160,
                num_tokens=40_960,
                code_bytes=92_160,
                tokenized_ns=20_000_000_000,
                shard_version=2,
            )
            for offset, source in enumerate(shard.sources)
        ]
        (place / ledger_file(shard.shard_id)).write_bytes(ledger_bytes(rows))
        (place / shard_file(shard.shard_id)).touch()
    return num_shards


def resume(folder: Folder, _num_sources: int, _num_shards: int) -> int:
    """What a driver does before its first shard: plan, commits, totals; then it remembers these."""
    shards = _loaded(folder)
    committed = committed_shards(folder) & {shard.shard_id for shard in shards}
    remembered = remembered_totals(folder)
    accounts = committed_accounts(folder, shards, committed, remembered)
    if accounts.of_shards != remembered:
        remember_totals(folder, accounts.of_shards)
    return accounts.totals.items


Step = Callable[[Folder, int, int], int]
STEPS: dict[str, tuple[str, Step]] = {
    "plan": ("list, cut and write the plan", plan),
    "load": ("read the plan", load),
    "commit": ("(making up the commits)", commit),
    "resume-first": ("resume, every ledger read", resume),
    "resume": ("resume, totals remembered", resume),
}


def measure(name: str, place: str, num_sources: int, num_shards: int) -> dict[str, Any]:
    """Run one step in a child."""
    words = [sys.executable, "-m", "benchmarks.planning", "--step", name, "--folder", place]
    words += ["--sources", str(num_sources), "--committed", str(num_shards)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", file=sys.stderr)
    return json.loads(done.stdout)


def run_step(name: str, place: str, num_sources: int, num_shards: int) -> dict[str, Any]:
    """Run one step here; memory is the process's peak, its imports included."""
    what, step = STEPS[name]
    began, cpu_began = time.perf_counter(), time.process_time()
    count = step(Folder(place), num_sources, num_shards)
    return {
        "step": what,
        "count": count,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu_began, 1),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=1_000_000)
    parser.add_argument("--committed", type=int, default=100_000)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder")
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(run_step(asked.step, asked.folder, asked.sources, asked.committed)))
        return
    with tempfile.TemporaryDirectory() as place:
        steps = [measure(name, place, asked.sources, asked.committed) for name in STEPS]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    date = datetime.now(UTC).date().isoformat()
    told = {"sources": asked.sources, "committed": asked.committed, "machine": machine, "date": date}
    print(json.dumps({**told, "steps": steps}, indent=2))
    print(f"\n{asked.sources:,} sources, {asked.committed:,} committed shards; {machine}; {date}\n")
    print("| step | time | CPU | peak memory |\n|---|---|---|---|")
    for one in steps:
        peak = one["peak_bytes"] / 2**30
        print(f"| {one['step']} | {one['seconds']} s | {one['cpu_seconds']} s | {peak:.2f} GiB |")


if __name__ == "__main__":
    main()
