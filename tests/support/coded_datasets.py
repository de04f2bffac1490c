"""Small committed datasets with random legal codes of any geometry, of a plugin that is not installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bitmill.pipeline.dataset.dataset_folder import publish_totals, save_tokenizer_files, write_plan
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, squares
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard
from bitmill.schemas.ids import content_id
from bitmill.schemas.models.geometry import Code, Geometry, SizePx
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint
from tests.support.audits import AuditedDataset
from tests.support.fakes import CodeEncoder, make_item, make_job, make_source

PACKAGE = "kit-of-tokenizers 1.2"


def _video(code: Code) -> Geometry:
    """4 frames a token row after a lead frame, patches of 8 pixels."""
    return Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, max_frames=17, code=code)


GEOMETRIES = {
    "digits": _video(Code.of_digits((8, 8, 5, 5))),
    "index": _video(Code.of_index(1000)),
    "wide bits": _video(Code.of_bits(100)),
    "bits, least first": Geometry(patch_px=(8, 8), code=Code.of_bits(18, "least")),
    "pyramid": Geometry(
        layout="pyramid",
        patch_px=(8, 8),
        max_frames=1,
        schedules={"4x4": ((1, 1, 1), (1, 2, 2), (1, 4, 4))},
        code=Code.of_index(4096),
    ),
}
"""Geometries unlike BSQ-ViT's, by what is special in them."""

VIDEOS = [[17, 17, 6], [9], [1, 1], [5, 17]]
"""Frames of the clips of each source; 6 are padded to 9."""
IMAGES = [[1], [1, 1], [1], [1]]


MIXED = ((32, 48), (48, 32), (32, 32))
"""Frame sizes of ``mixed_dataset``, so that a shard has two of them."""


def mixed_dataset(path: Path, code: str = "digits") -> AuditedDataset:
    """A complete dataset of landscape, portrait and square frames, of one of ``GEOMETRIES``."""
    return coded_dataset(path, GEOMETRIES[code], [*VIDEOS, [6, 3], [17]], sizes=MIXED)


def coded_dataset(
    path: Path,
    geometry: Geometry,
    clip_lengths: Sequence[Sequence[int]] | None = None,
    sizes: tuple[SizePx, ...] | None = None,
) -> AuditedDataset:
    """A complete dataset made by the real shard loop; two sources a shard.

    Frames are of 32 pixels, or have ``sizes``, one after the other by source.
    """
    lengths = clip_lengths or (IMAGES if geometry.max_frames == 1 else VIDEOS)
    job = make_job(
        tokenizer={"plugin": "kit", "options": {"size": "small"}},
        sharding={"max_sources": 2},
        storage={"row_group_bytes": 1024},
        frames={} if sizes is None else {"buckets": sizes},
    )
    of_job = squares(32) if sizes is None else Buckets(sizes)
    tokenizer = PluginConfig(
        plugin="kit",
        options={"size": "small"},
        package=PACKAGE,
        geometry=geometry,
        fingerprint=content_id("tokenizer", geometry.model_dump(mode="json")),
    )
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer.fingerprint,
        size_px=None if sizes else 32,
        device="cpu",
        pixel_rule=2,
        shard_version=2,
    )
    folder = Folder(str(path))
    sources = [make_source(number) for number in range(len(lengths))]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    save_tokenizer_files(folder, {"config.json": tokenizer.model_dump_json().encode()})
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokenizer=tokenizer,
        geometry=geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job=job.model_dump(mode="json", exclude={"output"}),
        source_fields={"source.paths": ["/media"], "source.manifest": None},
        plan=[write_plan(folder, 0, shards)],
    )
    folder.write_bytes(DATASET_FILE, card.to_json())
    context = ShardContext(
        job=job,
        job_fingerprint=card.job_fingerprint,
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        geometry=geometry,
        sizes=of_job,
        pixel_rule=2,
        shard_version=2,
    )
    for shard in shards:
        numbers = range(shard.first_source_index, shard.first_source_index + len(shard.sources))
        items = [
            make_item(number, lengths[number], size_px=of_job.sizes[number % len(of_job.sizes)])
            for number in numbers
        ]
        list(tokenize_shard(shard, items, CodeEncoder(geometry), context, folder))
    publish_totals(folder, card, committed_totals(folder, shards, {shard.shard_id for shard in shards}))
    return AuditedDataset(path)


class GreyTokenizer:
    """The tokenizer of a ``coded_dataset``; decodes everything to grey."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.fingerprint = content_id("tokenizer", geometry.model_dump(mode="json"))

    def to(self, **_: object) -> object:
        return self

    def encode(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        found: Any = CodeEncoder(self.geometry).begin([clip.numpy() for clip in clips]).wait()
        return [torch.from_numpy(codes) for codes in found]

    def decode(self, codes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        is_grid = self.geometry.layout == "grid"
        rows = [self.geometry.frames_of_rows(len(one)) if is_grid else 1 for one in codes]
        return [
            torch.full((count, *self._size_px(one), 3), 128, dtype=torch.uint8)
            for count, one in zip(rows, codes, strict=True)
        ]

    def _size_px(self, codes: torch.Tensor) -> tuple[int, int]:
        if self.geometry.layout == "pyramid":
            return 32, 32
        return codes.shape[1] * self.geometry.patch_px[0], codes.shape[2] * self.geometry.patch_px[1]
