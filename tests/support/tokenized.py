"""Datasets tokenized from real media in this process: real decoders, model and shard loop, without Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitmill.bsq_model import tokenizer_files, tokenizer_from_files
from bitmill.bsq_model.bundled import bundled_files
from bitmill.bsq_model.presets import preset_config, untrained_tokenizer
from bitmill.bsq_model.resolution import interpolating
from bitmill.pipeline.dataset.dataset_folder import save_tokenizer_files, write_plan
from bitmill.pipeline.decode.pixels.frame_sizes import frame_sizes
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import SourceEvent
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.model_encoder import ModelEncoder
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint


def tokenize_here(
    media: Path,
    output: Path,
    *,
    clip_frames: int = 4,
    fps: float = 4.0,
    bundled: str | None = None,
    pixel_rule: PixelRule = 2,
    frames: dict[str, Any] | None = None,
) -> DatasetCard:
    """Tokenize all of a folder, a source a shard, with the tiny preset if no other; gives the card.

    With ``frames`` of several sizes, the tokenizer interpolates its positions.
    """
    job = JobSpec.model_validate(
        {
            "version": 1,
            "source": {"paths": [str(media)]},
            "output": str(output),
            "tokenizer": {"preset": "tiny"} if bundled is None else {"bundled": bundled},
            "sampling": {"fps": fps, "clip_frames": clip_frames},
            "sharding": {"max_sources": 1},
            "frames": frames or {},
        }
    )
    made = untrained_tokenizer(preset_config("tiny"))
    made = made if bundled is None else tokenizer_from_files(*bundled_files(bundled))
    files = tokenizer_files(made if job.frames.is_square else interpolating(made))
    tokenizer = tokenizer_from_files(files["config.json"], files["model.safetensors"])
    sizes = frame_sizes(
        job.frames, square_px=made.config.image_size_px, multiple_px=tokenizer.geometry.multiple_px
    )
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer.fingerprint,
        size_px=made.config.image_size_px if job.frames.is_square else None,
        device="cpu",
        pixel_rule=pixel_rule,
        shard_version=2,
    )
    folder = Folder(str(output))
    output.mkdir(parents=True)
    save_tokenizer_files(folder, files)
    shards = cut_shards(find_sources(job.source).sources, job.sharding, job_fingerprint(fields))
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokenizer=tokenizer.config,
        geometry=tokenizer.geometry,
        job_fingerprint=job_fingerprint(fields),
        fingerprint_fields=fields,
        job=job.model_dump(mode="json", exclude={"output"}),
        source_fields={"source.paths": [str(media)], "source.manifest": None},
        plan=[write_plan(folder, 0, shards)],
    )
    folder.write_bytes(DATASET_FILE, card.to_json())
    context = ShardContext(
        job=job,
        job_fingerprint=card.job_fingerprint,
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        geometry=tokenizer.geometry,
        sizes=sizes,
        pixel_rule=pixel_rule,
        shard_version=2,
    )
    settings = DecodeSettings.of(job, sizes, pixel_rule=pixel_rule)
    for shard in shards:
        items = [_events(source, settings) for source in shard.sources]
        list(tokenize_shard(shard, items, ModelEncoder(tokenizer), context, folder))
    return card


def _events(source: PlannedSource, settings: DecodeSettings) -> Iterator[SourceEvent]:
    for event in source_events(source, settings):
        if not isinstance(event, Staged):
            yield event
