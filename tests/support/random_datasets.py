"""Committed datasets of random codes, written straight by the shard writer: any shapes and widths."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bitmill.bsq_model.presets import preset_config
from bitmill.pipeline.dataset.dataset_folder import write_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, Totals, shard_file
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.ids import content_id
from bitmill.schemas.requests.job import StorageSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint
from tests.support.fakes import make_job, make_source

Shape = tuple[int, int, int]
"""Frames, height and width of a clip's tokens."""

_FRAME_NS = 125_000_000


def write_dataset(
    uri: str,
    shapes: Sequence[Sequence[Shape]],
    *,
    bits_per_token: int = 18,
    row_group_bytes: int = 1024,
    seed: int = 0,
) -> list[PlannedShard]:
    """A dataset with a shard, of one source, for each sequence of shapes, and a clip for each shape in it.

    Other bits or another seed stand for another tokenizer, so that no shard has the name of one of other
    codes. Gives the plan.
    """
    job = make_job(sharding={"max_sources": 1})
    tokenizer = content_id("tokenizer", [bits_per_token, seed])
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer,
        size_px=16,
        device="cpu",
        pixel_rule=1,
        shard_version=1,
    )
    sources = [make_source(number) for number in range(len(shapes))]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    folder = Folder(uri)
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer,
        tokenizer=preset_config("tiny", bits_per_token=bits_per_token),
        geometry=preset_config("tiny", bits_per_token=bits_per_token).geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job={},
        source_fields={},
        plan=[write_plan(folder, 0, shards)],
        totals=Totals(),
    )
    folder.write_bytes(DATASET_FILE, card.to_json())
    drawn = np.random.default_rng(seed)
    for shard, own in zip(shards, shapes, strict=True):
        with folder.publishing(shard_file(shard.shard_id)) as staged:
            _write_shard(staged.path, shard, own, card, row_group_bytes, drawn)
    return shards


def _write_shard(
    path: Path,
    shard: PlannedShard,
    shapes: Sequence[Shape],
    card: DatasetCard,
    row_group_bytes: int,
    drawn: np.random.Generator,
) -> None:
    bits = card.tokenizer.bits_per_token
    metadata = ShardMetadata.version_1(
        bits_per_token=bits,
        patch_size_px=8,
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        job_fingerprint=card.job_fingerprint,
        shard_id=shard.shard_id,
    )
    with TokenShardWriter(path, metadata, StorageSpec(row_group_bytes=row_group_bytes)) as writer:
        for number, (frames, height, width) in enumerate(shapes):
            writer.add(
                TokenRow(
                    clip_id=content_id("clip", [shard.shard_id, number]),
                    source=shard.sources[0].uri,
                    key=None,
                    start_ns=number * 10**9,
                    end_ns=number * 10**9 + frames * _FRAME_NS,
                    fps=8.0,
                    frame_pts_ns=[number * 10**9 + frame * _FRAME_NS for frame in range(frames)],
                    num_frames=frames,
                    height=height,
                    width=width,
                    source_height=8 * height,
                    source_width=8 * width,
                    codes=_random_codes(frames * height * width * bits, drawn),
                    metadata=None,
                )
            )


def _random_codes(num_bits: int, drawn: np.random.Generator) -> bytes:
    codes = np.frombuffer(drawn.bytes((num_bits + 7) // 8), np.uint8).copy()
    if num_bits % 8:
        codes[-1] &= (1 << num_bits % 8) - 1
    return codes.tobytes()
