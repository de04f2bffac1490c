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
from bitmill.schemas.dataset.packing import pack_codes, unpack_codes
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.requests.job import StorageSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint
from tests.support.fakes import make_job, make_source

FrameShape = tuple[int, int, int]
"""Frames, height and width of a clip."""

TOKENIZER = "f" * 32
_STEP_NS = 125_000_000


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """What was written, to hold a reader to."""

    folder: Path
    geometry: Geometry
    version: Literal[1, 2]
    shards: list[PlannedShard]
    rows: list[list[TokenRow]]
    """Of each shard, committed or not."""
    row_group_bytes: int
    compression: Literal["none", "zstd"]

    @property
    def clips(self) -> list[TokenRow]:
        """All clips, in the dataset's order."""
        return [row for rows in self.rows for row in rows]

    @property
    def bits_per_token(self) -> int:
        """L."""
        return self.geometry.code.bits_per_token

    def codes(self, row: TokenRow):
        """A clip's codes [T, h, w, D], or [N, D] of a pyramid; bool if they are bits, else int64."""
        shape = (row.num_frames, row.height, row.width)
        codes_ND = unpack_codes(row.codes, self.geometry.num_tokens(shape), self.geometry.code)
        return codes_ND if self.geometry.schedules else codes_ND.reshape(*shape, -1)

    def path(self, shard: int) -> Path:
        """The shard's file."""
        return self.folder / shard_file(self.shards[shard].shard_id)

    def commit(self, shard: int) -> None:
        """Write a shard's file, the same bytes every time."""
        card = json.loads((self.folder / DATASET_FILE).read_text())
        metadata = ShardMetadata(
            format_version=self.version,
            layout=self.geometry.layout,
            patch_px=self.geometry.patch_px,
            code=self.geometry.code,
            schedules=self.geometry.schedules,
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
    geometry: Geometry | None = None,
    row_group_bytes: int = 100,
    compression: Literal["none", "zstd"] = "none",
    sources_per_shard: int = 1,
    leave_out: Sequence[int] = (),
    seed: int = 0,
    tokenizer: str = TOKENIZER,
) -> StoredDataset:
    """A dataset of one shard for each list of clips' shapes; shards of ``leave_out`` are not committed.

    Its shards are of version 1, of ``bits_per_token``; with a ``geometry``, of version 2. Codes are random.
    A shard's clips are spread over its sources in order; every second source has a caption, and a clip of one
    frame is an image, which has no rate and lasts no time.
    """
    job = make_job(sharding={"max_sources": sources_per_shard})
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer,
        size_px=16,
        device="cpu",
        pixel_rule=1,
        shard_version=1 if geometry is None else 2,
    )
    config = preset_config("tiny", bits_per_token=bits_per_token)
    if geometry is not None:
        config = PluginConfig(plugin="stored", geometry=geometry, fingerprint=tokenizer)
    sources = [make_source(number) for number in range(len(shapes) * sources_per_shard)]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    folder.mkdir(parents=True, exist_ok=True)
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer,
        tokenizer=config,
        geometry=config.geometry,
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
        geometry=config.geometry,
        version=1 if geometry is None else 2,
        shards=shards,
        rows=[
            _rows(shard, own, config.geometry, random, seed)
            for shard, own in zip(shards, shapes, strict=True)
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
    geometry: Geometry,
    random: np.random.Generator,
    seed: int,
) -> list[TokenRow]:
    rows: list[TokenRow] = []
    for number, (frames, height, width) in enumerate(shapes):
        place = number * len(shard.sources) // len(shapes)
        start_ns = number * 10**9
        source = shard.first_source_index + place
        codes_ND = _random_codes(geometry, geometry.num_tokens((frames, height, width)), random)
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
                codes=pack_codes(codes_ND, geometry.code),
                metadata=json.dumps({"caption": f"source {source}"}) if source % 2 else None,
                scaled_height=360,
                num_real_frames=frames,
            )
        )
    return rows


def _random_codes(geometry: Geometry, num_tokens: int, random: np.random.Generator):
    code = geometry.code
    if code.kind == "bits":
        return random.random((num_tokens, code.bits_per_token)) < 0.5
    return random.integers(0, code.bases, (num_tokens, code.dimensions))
