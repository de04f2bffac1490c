"""Token shards and datasets of version 2 with random codes of any geometry, as a plugin would make them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bitmill.pipeline.dataset.dataset_folder import write_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, Totals, shard_file
from bitmill.schemas.dataset.packing import Codes, pack_codes
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.requests.job import StorageSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint
from tests.support.fakes import make_job, make_source

FINGERPRINT = "ab" * 16

SHAPES = [(3, 2, 3), (1, 2, 3), (2, 1, 2)]
"""Token grids of three clips."""

GEOMETRIES = {
    "digits": Geometry(patch_px=(8, 16), frames_per_token=4, code=Code.of_digits((8, 8, 8, 5, 5, 5))),
    "index": Geometry(patch_px=(16, 16), code=Code.of_index(16384)),
    "wide": Geometry(patch_px=(8, 8), code=Code.of_bits(128, "least")),
    "pyramid": Geometry(
        layout="pyramid",
        patch_px=(8, 8),
        code=Code.of_index(4096),
        schedules={"2x3": ((1, 1, 1), (1, 2, 3)), "1x2": ((1, 1, 2),)},
    ),
    "wide pyramid": Geometry(
        layout="pyramid",
        patch_px=(16, 16),
        code=Code.of_bits(64, "least"),
        schedules={"2x3": ((1, 1, 1), (1, 1, 2), (1, 2, 3)), "1x2": ((1, 1, 1), (1, 1, 2))},
    ),
}


def random_codes(geometry: Geometry, num_tokens: int, seed: int) -> Codes:
    """[N, D]"""
    random = np.random.default_rng(seed)
    codes_ND = random.integers(0, geometry.code.bases, (num_tokens, geometry.code.dimensions))
    return codes_ND.astype(np.bool_) if geometry.code.kind == "bits" else codes_ND


def write_shard(
    path: Path,
    geometry: Geometry,
    *,
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    shard_id: str = "shard",
    source: str = "/a.mp4",
    job: str = "job",
) -> list[Codes]:
    """A shard of clips of these token grids; gives their codes [N, D]. A clip has a frame more than rows."""
    metadata = ShardMetadata(
        layout=geometry.layout,
        patch_px=geometry.patch_px,
        frames_per_token=geometry.frames_per_token,
        code=geometry.code,
        schedules=geometry.schedules,
        pixel_rule=2,
        tokenizer_fingerprint=FINGERPRINT,
        job_fingerprint=job,
        shard_id=shard_id,
    )
    written: list[Codes] = []
    with TokenShardWriter(path, metadata, StorageSpec()) as writer:
        for number, (rows, height, width) in enumerate(shapes):
            codes_ND = random_codes(geometry, geometry.num_tokens((rows, height, width)), number)
            written.append(codes_ND)
            writer.add(
                TokenRow(
                    clip_id=f"{number:032x}",
                    source=source,
                    key=None,
                    start_ns=0,
                    end_ns=5,
                    fps=8.0,
                    frame_pts_ns=list(range(rows + 1)),
                    num_frames=rows,
                    height=height,
                    width=width,
                    source_height=100,
                    source_width=200,
                    codes=pack_codes(codes_ND, geometry.code),
                    metadata=None,
                    crop_left=number,
                    num_real_frames=rows + 1,
                    shot_index=number or None,
                )
            )
    return written


def write_other_dataset(
    uri: str, geometry: Geometry, *, shapes: Sequence[tuple[int, int, int]] = SHAPES
) -> list[Codes]:
    """A dataset of one shard; gives the codes [N, D] of its clips."""
    job = make_job(sharding={"max_sources": 1})
    fields = fingerprint_fields(
        job, tokenizer_fingerprint=FINGERPRINT, size_px=16, device="cpu", pixel_rule=2, shard_version=2
    )
    (shard,) = cut_shards([make_source(0)], job.sharding, job_fingerprint(fields))
    folder = Folder(uri)
    card = DatasetCard(
        tokenizer_fingerprint=FINGERPRINT,
        tokenizer=PluginConfig(plugin="other", geometry=geometry, fingerprint=FINGERPRINT),
        geometry=geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job={},
        source_fields={},
        plan=[write_plan(folder, 0, [shard])],
        totals=Totals(),
    )
    folder.write_bytes(DATASET_FILE, card.to_json())
    with folder.publishing(shard_file(shard.shard_id)) as staged:
        return write_shard(
            Path(staged.path),
            geometry,
            shapes=shapes,
            shard_id=shard.shard_id,
            source=shard.sources[0].uri,
            job=card.job_fingerprint,
        )
