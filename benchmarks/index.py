"""A dataset of many shards, found and opened: time and memory of a reader's first steps and its searches.

    python -m benchmarks.index [--shards 100000]
    python -m benchmarks.index --s3 [--delay-ms 20]   # opening from S3 by the stored index, requests delayed

Each step runs in a process of its own, the shards lie in a temporary folder on a local disk, their footers in
the page cache: what is measured is bitmill's part. Making the dataset takes longer than all steps together.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import describe, sentence
from benchmarks.reader.delaying_proxy import proxy_process
from benchmarks.reader.s3 import served
from bitmill.bsq_model.presets import preset_config
from bitmill.pipeline.dataset.dataset_folder import write_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.reading import TokenBatches, TokenDataset
from bitmill.pipeline.reading.index.index_file import index_bytes, parse_index
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, shard_file
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.reading_index import INDEX_FILE
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.ids import clip_id
from bitmill.schemas.models.geometry import Code
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint

_TOKENIZER = "f" * 32
_BITS = 18
_CLIPS = 10
"""Of a shard: what counts here is how many shards there are."""
_SHAPE = (4, 8, 8)
_CLIP_NS = 500_000_000
_LOOKUPS = 1000
_SOURCES = 20


def _job(folder: str) -> JobSpec:
    return JobSpec.model_validate(
        {
            "version": 1,
            "source": {"paths": ["/media"]},
            "output": folder,
            "tokenizer": {"preset": "tiny"},
            "sharding": {"max_sources": 1},
        }
    )


def make(folder: str, num_shards: int) -> int:
    """A committed dataset of one source a shard."""
    job = _job(folder)
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=_TOKENIZER,
        size_px=64,
        device="cpu",
        pixel_rule=1,
        shard_version=2,
    )
    sources = [_source(number) for number in range(num_shards)]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    card = DatasetCard(
        tokenizer_fingerprint=_TOKENIZER,
        tokenizer=preset_config("tiny", bits_per_token=_BITS),
        geometry=preset_config("tiny", bits_per_token=_BITS).geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job=job.model_dump(mode="json", exclude={"output"}),
        source_fields={"source.paths": ["/media"], "source.manifest": None},
        plan=[write_plan(Folder(folder), 0, shards)],
    )
    (Path(folder) / "shards").mkdir()
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(partial(_commit, folder, job_fingerprint(fields)), shards, chunksize=500):
            pass
    (Path(folder) / DATASET_FILE).write_bytes(card.to_json())
    return num_shards


def _source(number: int) -> PlannedSource:
    return PlannedSource(uri=f"/media/{number:06d}.mp4", size_bytes=1_000_000, version=f"v{number}")


def _commit(folder: str, fingerprint: str, shard: PlannedShard) -> None:
    metadata = ShardMetadata(
        patch_px=(8, 8),
        code=Code.of_bits(_BITS),
        tokenizer_fingerprint=_TOKENIZER,
        job_fingerprint=fingerprint,
        shard_id=shard.shard_id,
    )
    codes = np.random.default_rng(shard.shard_index).bytes(packed_size(int(np.prod(_SHAPE)), _BITS))
    with TokenShardWriter(
        Path(folder) / shard_file(shard.shard_id), metadata, _job(folder).storage
    ) as writer:
        for number in range(_CLIPS):
            writer.add(_row(shard.sources[0], number, codes))


def _row(source: PlannedSource, number: int, codes: bytes) -> TokenRow:
    frames, height, width = _SHAPE
    start_ns = number * _CLIP_NS
    return TokenRow(
        clip_id=_clip_id(source, number),
        source=source.uri,
        key=None,
        start_ns=start_ns,
        end_ns=start_ns + _CLIP_NS,
        fps=8.0,
        frame_pts_ns=[start_ns + frame * _CLIP_NS // frames for frame in range(frames)],
        num_frames=frames,
        num_real_frames=frames,
        height=height,
        width=width,
        source_height=720,
        source_width=1280,
        codes=codes,
        metadata=None,
    )


def _clip_id(source: PlannedSource, number: int) -> str:
    return clip_id(source.uri, None, source.span_ns, number * _CLIP_NS, {"fps": 8.0})


def open_dataset(folder: str, num_shards: int) -> int:
    """Open; the first time, every footer is read and the index published."""
    clips = len(TokenDataset(folder))
    assert clips == num_shards * _CLIPS
    return clips


def first_batch(folder: str, _: int) -> int:
    """Open, and have the first shuffled batch."""
    batches = TokenBatches(TokenDataset(folder, view="integers"), batch_size=64, shuffle=True)
    return len(next(iter(batches))["tokens"])


def by_index(folder: str, num_shards: int) -> int:
    """Single clips, anywhere."""
    dataset = TokenDataset(folder)
    draw = random.Random(0)
    for _ in range(_LOOKUPS):
        dataset[draw.randrange(num_shards * _CLIPS)]
    return _LOOKUPS


def find_one(folder: str, num_shards: int) -> int:
    """One clip by its id; the first time, the ids of all shards are read and their index published."""
    return _find(folder, num_shards, 1)


def find_many(folder: str, num_shards: int) -> int:
    """Clips by their ids."""
    return _find(folder, num_shards, _LOOKUPS)


def _find(folder: str, num_shards: int, count: int) -> int:
    dataset = TokenDataset(folder)
    draw = random.Random(1)
    for _ in range(count):
        shard, number = draw.randrange(num_shards), draw.randrange(_CLIPS)
        assert dataset.find(_clip_id(_source(shard), number)) == shard * _CLIPS + number
    return count


def by_source(folder: str, num_shards: int) -> int:
    """All clips of a source."""
    dataset = TokenDataset(folder)
    draw = random.Random(2)
    for _ in range(_SOURCES):
        shard = draw.randrange(num_shards)
        assert len(dataset.of_source(_source(shard).uri)) == _CLIPS
    return _SOURCES


Step = Callable[[str, int], int]
STEPS: dict[str, tuple[str, Step]] = {
    "make": ("(making the dataset)", make),
    "build": ("open, every footer read, index.parquet published", open_dataset),
    "open": ("open, index.parquet there", open_dataset),
    "batch": ("open, and the first shuffled batch of 64", first_batch),
    "clips": ("open, and 1,000 clips anywhere by index", by_index),
    "find-first": ("open, and one clip by id, clip_index.parquet made and published", find_one),
    "find": ("open, and 1,000 clips by id", find_many),
    "source": ("open, and the clips of 20 sources", by_source),
}


def run_step(name: str, folder: str, num_shards: int) -> dict[str, Any]:
    """Run one step here; memory is the process's peak, its imports (some 300 MiB) included."""
    what, step = STEPS[name]
    began, cpu_began = time.perf_counter(), time.process_time()
    step(folder, num_shards)
    return {
        "step": what,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu_began, 2),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _measure(
    name: str, folder: str, num_shards: int, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.index", "--step", name, "--folder", folder]
    done = subprocess.run(
        [*words, "--shards", str(num_shards)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    print(done.stdout, end="", file=sys.stderr, flush=True)
    return json.loads(done.stdout)


def _make_index(folder: str, num_shards: int) -> None:
    """A dataset of one shard, whose index claims more of the same: all that opening reads."""
    make(folder, 1)
    open_dataset(folder, 1)
    path = Path(folder) / INDEX_FILE
    table, plan, fingerprint = parse_index(path.read_bytes())
    rows = pa.concat_tables([table] * num_shards)
    names = [f"{number // table.num_rows:032x}" for number in range(rows.num_rows)]
    ids = pa.array(names, pa.string())
    rows = rows.set_column(0, rows.schema.field(0), ids)
    path.write_bytes(index_bytes(rows, plan=plan, tokenizer_fingerprint=fingerprint))


def measure_s3(place: Path, num_shards: int, delay_s: float) -> list[dict[str, Any]]:
    """Opening from a server on this machine, twice."""
    (place / "many").mkdir()
    _make_index(str(place / "many"), num_shards)
    with served("", place, ["many"]) as server:
        endpoint = server.environment["AWS_ENDPOINT_URL"]
        with proxy_process(endpoint, delay_s) as delayed:
            environment = {**server.environment, "AWS_ENDPOINT_URL": delayed}
            return [_measure("open", f"{server.uri}/many", num_shards, environment) for _ in range(2)]


def main() -> None:
    """Make the dataset, run every step, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--delay-ms", type=int, default=20)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(run_step(asked.step, asked.folder, asked.shards)))
        return
    machine = describe(["pyarrow", "numpy"])
    with tempfile.TemporaryDirectory() as place:
        if asked.s3:
            steps = [{}, *measure_s3(Path(place), asked.shards, asked.delay_ms / 1e3)]
        else:
            steps = [_measure(name, place, asked.shards) for name in STEPS]
    print(f"\n{asked.shards:,} shards, {asked.shards * _CLIPS:,} clips; {sentence(machine)}\n")
    print("| step | time | CPU | peak memory |\n|---|---|---|---|")
    for one in steps[1:]:
        figures = f"{one['seconds']} s | {one['cpu_seconds']} s | {one['peak_bytes'] / 2**20:.0f} MiB"
        print(f"| {one['step']} | {figures} |")


if __name__ == "__main__":
    main()
