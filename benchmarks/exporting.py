"""Exporting a dataset in each format: time, CPU, memory, bytes a token.

    python -m benchmarks.exporting [--clips N] [--bits L] [--workers W]

The dataset is made up: clips of 16 frames of 16×16 tokens, their bits random. Each export runs in a process
of its own, with its workers; memory is the largest one's of them, imports included.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bitmill.bsq_model.presets import preset_config
from bitmill.pipeline.dataset.dataset_folder import write_plan
from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, shard_file
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.dataset.token_shard import TOKEN_SHARD_FORMAT_VERSION, ShardMetadata
from bitmill.schemas.models.geometry import Code
from bitmill.schemas.reports.export_inventory import ExportFormat
from bitmill.schemas.requests.job import ShardingSpec, StorageSpec
from bitmill.schemas.requests.job_fingerprint import SHARD_VERSION_FIELD

_FRAMES, _SIDE = 16, 16
_CLIPS_OF_A_SHARD = 2000
_MAX_BYTES = 64 << 20
"""Small, so that every worker gets files of a dataset that is made quickly."""


def make(folder: Folder, num_clips: int, bits_per_token: int) -> None:
    """A complete dataset without a ledger, for which an export does not ask."""
    sources = [
        PlannedSource(uri=f"s3://synthetic/{number:06d}.mp4", size_bytes=1, version="v", metadata=None)
        for number in range(-(-num_clips // _CLIPS_OF_A_SHARD))
    ]
    shards = cut_shards(sources, ShardingSpec(max_sources=1), "job")
    config = preset_config("tiny", bits_per_token=bits_per_token)
    card = DatasetCard(
        tokenizer_fingerprint="t" * 32,
        tokenizer=config,
        geometry=config.geometry,
        job_fingerprint="job",
        fingerprint_fields={SHARD_VERSION_FIELD: TOKEN_SHARD_FORMAT_VERSION},
        job={},
        source_fields={},
        plan=[write_plan(folder, 0, shards)],
    )
    folder.write_bytes(DATASET_FILE, card.to_json())
    random = np.random.default_rng(0)
    for shard in shards:
        metadata = ShardMetadata(
            patch_px=(config.patch_size_px, config.patch_size_px),
            code=Code.of_bits(bits_per_token),
            tokenizer_fingerprint=card.tokenizer_fingerprint,
            job_fingerprint="job",
            shard_id=shard.shard_id,
        )
        first = shard.first_source_index * _CLIPS_OF_A_SHARD
        numbers = range(first, min(num_clips, first + _CLIPS_OF_A_SHARD))
        with (
            folder.publishing(shard_file(shard.shard_id)) as staged,
            TokenShardWriter(staged.path, metadata, StorageSpec()) as writer,
        ):
            for number in numbers:
                writer.add(_row(number, shard.sources[0].uri, bits_per_token, random))


def _row(number: int, source: str, bits_per_token: int, random: np.random.Generator) -> TokenRow:
    start_ns = number * 2_000_000_000
    return TokenRow(
        clip_id=f"{number:032x}",
        source=source,
        key=None,
        start_ns=start_ns,
        end_ns=start_ns + 2_000_000_000,
        fps=8.0,
        frame_pts_ns=[start_ns + frame * 125_000_000 for frame in range(_FRAMES)],
        num_frames=_FRAMES,
        height=_SIDE,
        width=_SIDE,
        source_height=720,
        source_width=1280,
        codes=random.bytes(_FRAMES * _SIDE * _SIDE * bits_per_token // 8),
        num_real_frames=_FRAMES,
        metadata=f'{{"caption":"a clip, the {number}th of its kind"}}',
    )


def export_in_child(export_format: ExportFormat, place: str, workers: int) -> dict[str, Any]:
    """Export here and measure."""
    began = time.perf_counter()
    # Importing is over here, but not in the workers to come.
    cpu_began = time.process_time()
    result = export_dataset(
        f"{place}/tokens",
        f"{place}/{export_format}",
        export_format=export_format,
        max_bytes=_MAX_BYTES,
        workers=workers,
    )
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    contents = result.inventory.contents
    cpu = time.process_time() - cpu_began + children.ru_utime + children.ru_stime
    return {
        "format": export_format,
        "files": len(result.inventory.files),
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(cpu, 1),
        "tokens_per_cpu_second": round(contents.tokens / cpu),
        "peak_bytes": max(own.ru_maxrss, children.ru_maxrss) * 1024,
        "bytes_per_token": round(result.inventory.size_bytes / contents.tokens, 3),
    }


def measure(export_format: ExportFormat, place: str, workers: int) -> dict[str, Any]:
    """Run one format in a child."""
    words = [sys.executable, "-m", "benchmarks.exporting", "--format", export_format, "--folder", place]
    done = subprocess.run([*words, "--workers", str(workers)], check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", file=sys.stderr)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40_000)
    parser.add_argument("--bits", type=int, default=18)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--format", type=ExportFormat, choices=list(ExportFormat))
    parser.add_argument("--folder")
    asked = parser.parse_args()
    if asked.format:
        print(json.dumps(export_in_child(asked.format, asked.folder, asked.workers)))
        return
    with tempfile.TemporaryDirectory() as place:
        make(Folder(f"{place}/tokens"), asked.clips, asked.bits)
        stored = sum(path.stat().st_size for path in Path(place).rglob("*.parquet"))
        formats = [measure(name, place, asked.workers) for name in ExportFormat]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    date = datetime.now(UTC).date().isoformat()
    tokens = asked.clips * _FRAMES * _SIDE * _SIDE
    print(f"\n{asked.clips:,} clips of {asked.bits} bits; {asked.workers} workers; {machine}; {date}\n")
    print(
        "| format | time | CPU | tokens per CPU second | peak memory | bytes per token |\n" + "|---" * 6 + "|"
    )
    print(f"| (the dataset) | | | | | {stored / tokens:.3f} |")
    for one in formats:
        print(
            f"| `{one['format']}` | {one['seconds']} s | {one['cpu_seconds']} s | "
            f"{one['tokens_per_cpu_second'] / 1e6:.1f} M | {one['peak_bytes'] / 2**20:.0f} MiB | "
            f"{one['bytes_per_token']} |"
        )


if __name__ == "__main__":
    main()
