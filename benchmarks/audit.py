"""An audit of a large dataset: time, rate and peak memory of each of its parts.

    python -m benchmarks.audit [--shards 1000] [--clips 1000] [--workers N]

The dataset is made up in a temporary folder: sound shards, ledgers, clips of 4 frames of 8 by 8 tokens with
codes of skewed bits, one clip in fifty a copy of one of the same shard and one in fifty nearly so. What the
parts cost is told by audits with and without them, each in a process of its own; files are in the page cache.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe, sentence
from bitmill.bsq_model import tokenizer_files
from bitmill.bsq_model.presets import preset_config, untrained_tokenizer
from bitmill.pipeline.auditing.options import AuditOptions
from bitmill.pipeline.auditing.parallel import LocalProcesses
from bitmill.pipeline.auditing.report_sections import add_report_sections
from bitmill.pipeline.auditing.run_audit import audit_dataset
from bitmill.pipeline.dataset.dataset_folder import save_tokenizer_files, write_plan
from bitmill.pipeline.dataset.ledger import ledger_bytes, totals_of
from bitmill.pipeline.items import ItemEnd, ItemStart, MediaFacts
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.ledger_rows import ledger_row
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, Totals, ledger_file, shard_file
from bitmill.schemas.dataset.packing import pack_bits
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.ids import clip_id
from bitmill.schemas.models.geometry import Code
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint

_BITS, _SHAPE, _FPS = 18, (4, 8, 8), 8.0
_CLIPS_A_SOURCE = 20
_FRAME_NS = 125_000_000
_CLIP_NS = _SHAPE[0] * _FRAME_NS

PARTS: dict[str, tuple[str, AuditOptions]] = {
    "files": ("files, rows and coverage", AuditOptions(codes=False, duplicates=False, sample=0)),
    "codes": ("… and the codes' statistics", AuditOptions(duplicates=False, sample=0)),
    "all": ("… and duplicates", AuditOptions(sample=0)),
}


def make(folder: str, num_shards: int, clips: int) -> dict[str, Any]:
    """A complete, sound dataset."""
    job = JobSpec.model_validate(
        {
            "version": 1,
            "source": {"paths": ["/media"]},
            "output": folder,
            "tokenizer": {"preset": "tiny"},
            "sampling": {"fps": _FPS, "clip_frames": _SHAPE[0]},
            "sharding": {"max_sources": clips // _CLIPS_A_SOURCE},
        }
    )
    tokenizer = untrained_tokenizer(preset_config("tiny", bits_per_token=_BITS))
    files, output = tokenizer_files(tokenizer), Folder(folder)
    save_tokenizer_files(output, files)
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer.fingerprint,
        size_px=64,
        device="cpu",
        pixel_rule=1,
        shard_version=2,
    )
    sources = [
        PlannedSource(
            uri=f"/media/{number // 5000:03d}/{number:07d}.mp4", size_bytes=1_000_000, version=f"v{number}"
        )
        for number in range(num_shards * clips // _CLIPS_A_SOURCE)
    ]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokenizer=tokenizer.config,
        geometry=tokenizer.geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job=job.model_dump(mode="json", exclude={"output"}),
        source_fields={"source.paths": ["/media"], "source.manifest": None},
        plan=[write_plan(output, 0, shards)],
    )
    for name in ("shards", "ledger"):
        (Path(folder) / name).mkdir()
    with ProcessPoolExecutor() as pool:
        totals = Totals.sum(pool.map(partial(_commit, folder, card, job), shards, chunksize=8))
    output.write_bytes(DATASET_FILE, card.model_copy(update={"totals": totals}).to_json())
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {"shards": len(shards), "clips": totals.clips, "tokens": totals.tokens, "bytes": size}


def _commit(folder: str, card: DatasetCard, job: JobSpec, shard: PlannedShard) -> Totals:
    count = len(shard.sources) * _CLIPS_A_SOURCE
    codes = _codes(count, shard.shard_index)
    metadata = ShardMetadata(
        patch_px=(8, 8),
        code=Code.of_bits(_BITS),
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        job_fingerprint=card.job_fingerprint,
        shard_id=shard.shard_id,
    )
    with TokenShardWriter(Path(folder) / shard_file(shard.shard_id), metadata, job.storage) as writer:
        for number in range(count):
            source = shard.sources[number // _CLIPS_A_SOURCE]
            writer.add(_row(source, number % _CLIPS_A_SOURCE, codes[number], job))
    rows = [_ledger_row(shard, place, len(codes[0])) for place in range(len(shard.sources))]
    (Path(folder) / ledger_file(shard.shard_id)).write_bytes(ledger_bytes(rows))
    return totals_of(rows)


def _codes(count: int, seed: int) -> list[bytes]:
    """Codes whose bits are ones in 30 to 70% of tokens; some clips again, some nearly."""
    random = np.random.default_rng(seed)
    shares = np.linspace(0.3, 0.7, _BITS)
    bits = random.random((count, int(np.prod(_SHAPE)), _BITS)) < shares
    copies = random.integers(0, count, count // 50)
    bits[random.integers(0, count, len(copies))] = bits[copies]
    near = random.integers(0, count, count // 50)
    flips = random.random((len(near), *bits.shape[1:])) < 0.02
    bits[random.integers(0, count, len(near))] = bits[near] ^ flips
    return [pack_bits(one) for one in bits]


def _row(source: PlannedSource, number: int, codes: bytes, job: JobSpec) -> TokenRow:
    start_ns = number * _CLIP_NS
    return TokenRow(
        clip_id=clip_id(source.uri, None, source.span_ns, start_ns, job.sampling.rule()),
        source=source.uri,
        key=None,
        start_ns=start_ns,
        end_ns=start_ns + _CLIP_NS,
        fps=_FPS,
        frame_pts_ns=[start_ns + frame * _FRAME_NS for frame in range(_SHAPE[0])],
        num_frames=_SHAPE[0],
        num_real_frames=_SHAPE[0],
        scaled_height=8 * _SHAPE[1],
        scaled_width=8 * _SHAPE[2] * 16 // 9,
        height=_SHAPE[1],
        width=_SHAPE[2],
        source_height=720,
        source_width=1280,
        codes=codes,
        metadata=None,
    )


def _ledger_row(shard: PlannedShard, place: int, clip_bytes: int) -> dict[str, Any]:
    source = shard.sources[place]
    frames = _CLIPS_A_SOURCE * _SHAPE[0]
    return ledger_row(
        shard_id=shard.shard_id,
        source_index=shard.first_source_index + place,
        source=source,
        start=ItemStart(key=None, size_bytes=source.size_bytes),
        end=ItemEnd(
            facts=MediaFacts(
                media="video", codec="h264", decoder="pyav", duration_ns=_CLIPS_A_SOURCE * _CLIP_NS
            ),
            num_source_frames=frames,
        ),
        num_clips=_CLIPS_A_SOURCE,
        num_frames=frames,
        num_tokens=frames * _SHAPE[1] * _SHAPE[2],
        code_bytes=_CLIPS_A_SOURCE * clip_bytes,
        tokenized_ns=_CLIPS_A_SOURCE * _CLIP_NS,
    )


def run_part(name: str, folder: str, workers: int) -> dict[str, Any]:
    """Audit in this process and its workers. Raises SystemExit where anything is found."""
    what, asked = PARTS[name]
    began = time.perf_counter()
    audit = audit_dataset(
        Folder(folder), readers=LocalProcesses(workers), workers=workers, collectors=asked.collectors
    )
    with tempfile.TemporaryDirectory() as work:
        parts = add_report_sections(
            audit, asked, others=[], lpips=None, work=Path(work), notify=lambda _: None
        )
    if audit.found.counts:
        raise SystemExit(f"the dataset is not sound: {dict(audit.found.counts)}")
    told: dict[str, Any] = {"part": what, "seconds": round(time.perf_counter() - began, 1)}
    if parts.duplicates:
        told |= {"exact": parts.duplicates.exact_clips, "near": parts.duplicates.near_clips}
    for who, place in (("driver", resource.RUSAGE_SELF), ("worker", resource.RUSAGE_CHILDREN)):
        told[f"{who}_peak_bytes"] = resource.getrusage(place).ru_maxrss * 1024
    return told


def _in_child(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.audit", *words], check=True, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="", file=sys.stderr, flush=True)
    return json.loads(done.stdout)


def main() -> None:
    """Make the dataset, run every part, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=1000, help="of a shard (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--part", choices=["make", *PARTS])
    parser.add_argument("--folder")
    asked = parser.parse_args()
    if asked.part == "make":
        print(json.dumps(make(asked.folder, asked.shards, asked.clips)))
        return
    if asked.part:
        print(json.dumps(run_part(asked.part, asked.folder, asked.workers)))
        return
    machine = describe(["pyarrow", "numpy", "numba"])
    size = ["--shards", str(asked.shards), "--clips", str(asked.clips), "--workers", str(asked.workers)]
    with tempfile.TemporaryDirectory() as place:
        made = _in_child("--part", "make", "--folder", place, *size)
        told = [_in_child("--part", name, "--folder", place, *size) for name in PARTS]
    print(
        f"\n{made['shards']:,} shards, {made['clips']:,} clips, {made['tokens']:,} tokens, "
        f"{made['bytes'] / 2**30:.2f} GiB; {asked.workers} workers; {sentence(machine)}\n"
    )
    print("| audit of | time | clips/s | peak memory, driver | of a worker |\n|---|---|---|---|---|")
    for one in told:
        peaks = " | ".join(f"{one[f'{who}_peak_bytes'] / 2**20:.0f} MiB" for who in ("driver", "worker"))
        print(f"| {one['part']} | {one['seconds']} s | {made['clips'] / one['seconds']:,.0f} | {peaks} |")
    print(f"\nduplicates found: {told[-1]['exact']:,} exact, {told[-1]['near']:,} near")


if __name__ == "__main__":
    main()
