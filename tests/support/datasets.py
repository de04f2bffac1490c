"""Small committed datasets made by the real shard loop from fake items, without Ray or media."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from bitmill.bsq_model import tokenizer_files
from bitmill.bsq_model.presets import preset_config, untrained_tokenizer
from bitmill.pipeline.dataset.dataset_folder import publish_totals, save_tokenizer_files, write_plan
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import ItemEnd, ItemEvent
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import ShardVersion
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint
from tests.support.fakes import HashEncoder, make_item, make_job, make_source


def make_dataset(
    uri: str,
    clip_lengths: Sequence[Sequence[int]],
    *,
    bits_per_token: int = 18,
    grid_size: int = 2,
    max_sources: int = 2,
    row_group_bytes: int = 1024,
    compression: str = "none",
    leave_out: int = 0,
    without: Collection[tuple[int, int]] = (),
    failing: Mapping[int, Reason] | None = None,
    shard_version: ShardVersion = 2,
) -> list[PlannedShard]:
    """A dataset with one item for each list of clip lengths; the last ``leave_out`` shards uncommitted.

    Clips of ``without``, by item and place in it, are as if they had never been. Items of ``failing`` end
    with a reason.

    A frame's tokens are ``grid_size`` squared; the stored tokenizer decodes those of 16.
    """
    job = make_job(
        sharding={"max_sources": max_sources},
        storage={"row_group_bytes": row_group_bytes, "codes_compression": compression},
    )
    tokenizer = untrained_tokenizer(preset_config("tiny", bits_per_token=bits_per_token))
    files = tokenizer_files(tokenizer)
    folder = Folder(uri)
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer.fingerprint,
        size_px=8 * grid_size,
        device="cpu",
        pixel_rule=1,
        shard_version=shard_version,
    )
    sources = [
        make_source(
            number,
            metadata=json.dumps({"caption": f"clip {number}"}, separators=(",", ":")) if number % 2 else None,
        )
        for number in range(len(clip_lengths))
    ]
    shards = cut_shards(sources, job.sharding, job_fingerprint(fields))
    save_tokenizer_files(folder, files)
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokenizer=tokenizer.config,
        geometry=tokenizer.geometry,
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
        # Without its limit on frames.
        geometry=Geometry(patch_px=(8, 8), code=tokenizer.geometry.code),
        sizes=squares(8 * grid_size),
        pixel_rule=1,
        shard_version=shard_version,
    )
    encoder = HashEncoder(grid_size=grid_size, bits_per_token=bits_per_token)
    for shard in shards[: len(shards) - leave_out]:
        numbers = range(shard.first_source_index, shard.first_source_index + len(shard.sources))
        items = [
            _kept(
                make_item(
                    number,
                    clip_lengths[number],
                    reason=(failing or {}).get(number),
                    size_px=8 * grid_size,
                ),
                number,
                without,
            )
            for number in numbers
        ]
        list(tokenize_shard(shard, items, encoder, context, folder))
    if not leave_out:
        publish_totals(folder, card, committed_totals(folder, shards, {shard.shard_id for shard in shards}))
    return shards


def _kept(
    events: Iterator[ItemEvent], item: int, without: Collection[tuple[int, int]]
) -> Iterator[ItemEvent]:
    for place, event in enumerate(events):
        if isinstance(event, ItemEnd) or (item, place) not in without:
            yield event


def expected_bits(clip_lengths: Sequence[Sequence[int]], *, bits_per_token: int = 18):
    """Bits [T, 2, 2, L] of each clip that ``make_dataset`` stores, in order."""
    encoder = HashEncoder(bits_per_token=bits_per_token)
    for number, lengths in enumerate(clip_lengths):
        for event in make_item(number, lengths):
            if hasattr(event, "frames_THWC"):
                yield encoder.encode([event.frames_THWC])[0]


def _caption(number: int) -> str:
    return json.dumps({"caption": f"clip {number}"}, separators=(",", ":"))
