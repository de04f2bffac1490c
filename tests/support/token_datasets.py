"""Committed datasets of given shapes and codes, written row by row: quick, and of any width and layout."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bitmill.bsq_model.presets import preset_config
from bitmill.pipeline.dataset.dataset_folder import write_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, shard_file
from bitmill.schemas.dataset.packing import pack_bits, unpack_bits
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.requests.job import StorageSpec, fingerprint_fields, job_fingerprint
from tests.support.fakes import make_job, make_source

FrameShape = tuple[int, int, int]
"""Frames, height and width of a clip."""

TOKENIZER = "f" * 32
_STEP_NS = 125_000_000


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """What was written, to hold a reader to."""

    folder: Path
    bits_per_token: int
    shards: list[PlannedShard]
    rows: list[list[TokenRow]]
    """Of each shard, committed or not."""
    row_group_bytes: int
    compression: Literal["none", "zstd"]

    @property
    def clips(self) -> list[TokenRow]:
        """All clips, in the dataset's order."""
        return [row for rows in self.rows for row in rows]

    def bits(self, row: TokenRow):
        """A clip's code bits, bool [T, h, w, L]."""
        num_tokens = row.num_frames * row.height * row.width
        flat = unpack_bits(row.codes, num_tokens, self.bits_per_token)
        return flat.reshape(row.num_frames, row.height, row.width, self.bits_per_token)

    def path(self, shard: int) -> Path:
        """The shard's file."""
        return self.folder / shard_file(self.shards[shard].shard_id)

    def commit(self, shard: int) -> None:
        """Write a shard's file, the same bytes every time."""
        card = json.loads((self.folder / DATASET_FILE).read_text())
        metadata = ShardMetadata.version_1(
            bits_per_token=self.bits_per_token,
            patch_size_px=8,
            tokenizer_fingerprint=card["tokenizer_fingerprint"],
            job_fingerprint=card["job_fingerprint"],
            shard_id=self.shards[shard].shard_id,
        )
        # Row groups smaller than a job may ask for keep tests small.
        storage = StorageSpec.model_construct(
            codes_compression=self.compression, row_group_bytes=self.row_group_bytes
        )
        self.path(shard).parent.mkdir(exist_ok=True)
        with TokenShardWriter(self.path(shard), metadata, storage) as writer:
            for row in self.rows[shard]:
                writer.add(row)


def store_dataset(
    folder: Path,
    shapes: Sequence[Sequence[FrameShape]],
    *,
    bits_per_token: int = 18,
    row_group_bytes: int = 100,
    compression: Literal["none", "zstd"] = "none",
    sources_per_shard: int = 1,
    leave_out: Sequence[int] = (),
    seed: int = 0,
    tokenizer: str = TOKENIZER,
) -> StoredDataset:
    """A dataset of one shard for each list of clips' shapes; shards of ``leave_out`` are not committed.

    Codes are random bits. A shard's clips are spread over its sources in order; every second source has a
    caption, and a clip of one frame is an image, which has no rate and lasts no time.
    """
    job = make_job(sharding={"max_sources": sources_per_shard})
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer,
        size_px=16,
        device="cpu",
        pixel_rule=1,
        shard_version=1,
    )
    sources = [make_source(number) for number in range(len(shapes) * sources_per_shard)]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    folder.mkdir(parents=True, exist_ok=True)
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer,
        tokenizer=preset_config("tiny", bits_per_token=bits_per_token),
        geometry=preset_config("tiny", bits_per_token=bits_per_token).geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job=job.model_dump(mode="json", exclude={"output"}),
        source_fields={"source.paths": ["/media"], "source.manifest": None},
        plan=[write_plan(Folder(str(folder)), 0, shards)],
    )
    (folder / DATASET_FILE).write_bytes(card.to_json())
    random = np.random.default_rng(seed)
    stored = StoredDataset(
        folder=folder,
        bits_per_token=bits_per_token,
        shards=shards,
        rows=[
            _rows(shard, own, bits_per_token, random, seed) for shard, own in zip(shards, shapes, strict=True)
        ],
        row_group_bytes=row_group_bytes,
        compression=compression,
    )
    for shard in range(len(shards)):
        if shard not in leave_out:
            stored.commit(shard)
    return stored


def _rows(
    shard: PlannedShard,
    shapes: Sequence[FrameShape],
    bits_per_token: int,
    random: np.random.Generator,
    seed: int,
) -> list[TokenRow]:
    rows: list[TokenRow] = []
    for number, (frames, height, width) in enumerate(shapes):
        place = number * len(shard.sources) // len(shapes)
        start_ns = number * 10**9
        source = shard.first_source_index + place
        bits_NL = random.random((frames * height * width, bits_per_token)) < 0.5
        rows.append(
            TokenRow(
                clip_id=hashlib.sha256(f"{seed} {shard.shard_index} {number}".encode()).hexdigest()[:32],
                source=shard.sources[place].uri,
                key=None,
                start_ns=start_ns,
                end_ns=start_ns + (frames * _STEP_NS if frames > 1 else 0),
                fps=8.0 if frames > 1 else None,
                frame_pts_ns=[start_ns + frame * _STEP_NS for frame in range(frames)],
                num_frames=frames,
                height=height,
                width=width,
                source_height=360 + 360 * (source % 2),
                source_width=640,
                codes=pack_bits(bits_NL),
                metadata=json.dumps({"caption": f"source {source}"}) if source % 2 else None,
            )
        )
    return rows
