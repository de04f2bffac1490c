"""The clips as a bitmill dataset, as a finished job leaves it: card, plan, token shards, ledgers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.reader.corpus import BITS_PER_TOKEN, SHAPE_THW, TOKENS_PER_CLIP, Tokens, open_corpus
from bitmill.bsq_model import tokenizer_files
from bitmill.bsq_model.presets import preset_config, untrained_tokenizer
from bitmill.pipeline.dataset.dataset_folder import save_tokenizer_files, write_plan
from bitmill.pipeline.dataset.ledger import LedgerRow, ledger_bytes, totals_of
from bitmill.pipeline.items import ItemEnd, ItemStart, MediaFacts
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.ledger_rows import ledger_row
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard, Totals, ledger_file, shard_file
from bitmill.schemas.dataset.packing import pack_integers, packed_size
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.ids import clip_id
from bitmill.schemas.models.geometry import Code
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint

NUM_SHARDS = 8
_CLIPS_PER_SOURCE = 25
_CLIP_BYTES = packed_size(TOKENS_PER_CLIP, BITS_PER_TOKEN)
_FRAME_NS = 125_000_000
_CLIP_NS = SHAPE_THW[0] * _FRAME_NS
_FPS = 8.0
_PATCH_PX = 8


def write_dataset(corpus: Path, folder: Path, *, grids: Sequence[tuple[int, int]] = (SHAPE_THW[1:],)) -> None:
    """Commit all clips, 25 a source, in eight shards with row groups of the default size.

    The sources have the grids of frames in turn, which must have the same number of tokens.
    """
    tokens_NK = open_corpus(corpus)
    output = Folder(str(folder))
    num_sources = -(-len(tokens_NK) // _CLIPS_PER_SOURCE)
    job = JobSpec.model_validate(
        {
            "version": 1,
            "source": {"paths": ["/media"]},
            "output": str(folder),
            "tokenizer": {"preset": "tiny"},
            "sharding": {"max_sources": -(-num_sources // NUM_SHARDS)},
        }
    )
    tokenizer = untrained_tokenizer(preset_config("tiny", bits_per_token=BITS_PER_TOKEN))
    files = tokenizer_files(tokenizer)
    save_tokenizer_files(output, files)
    side_px = SHAPE_THW[1] * _PATCH_PX
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer.fingerprint,
        size_px=side_px,
        device="cpu",
        pixel_rule=1,
        shard_version=2,
    )
    sources = [
        PlannedSource(uri=f"/media/{number:06d}.mp4", size_bytes=1_000_000, version=f"v{number}")
        for number in range(num_sources)
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
    totals = [_commit(shard, tokens_NK, output, card, job, grids=grids) for shard in shards]
    output.write_bytes(DATASET_FILE, card.model_copy(update={"totals": Totals.sum(totals)}).to_json())


def _commit(
    shard: PlannedShard,
    tokens_NK: Tokens,
    output: Folder,
    card: DatasetCard,
    job: JobSpec,
    *,
    grids: Sequence[tuple[int, int]],
) -> Totals:
    """Ledger, then token shard."""
    metadata = ShardMetadata(
        patch_px=(_PATCH_PX, _PATCH_PX),
        code=Code.of_bits(BITS_PER_TOKEN),
        pixel_rule=1,
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        job_fingerprint=card.job_fingerprint,
        shard_id=shard.shard_id,
    )
    ledger: list[LedgerRow] = []
    with output.publishing(shard_file(shard.shard_id)) as staged:
        with TokenShardWriter(staged.path, metadata, job.storage) as writer:
            for place, source in enumerate(shard.sources):
                first = (shard.first_source_index + place) * _CLIPS_PER_SOURCE
                grid = grids[(shard.first_source_index + place) % len(grids)]
                rows = list(_rows(source, tokens_NK[first : first + _CLIPS_PER_SOURCE], grid))
                for row in rows:
                    writer.add(row)
                ledger.append(_ledger_row(shard, place, len(rows)))
        output.write_bytes(ledger_file(shard.shard_id), ledger_bytes(ledger))
    return totals_of(ledger)


def _rows(source: PlannedSource, tokens_NK: Tokens, grid: tuple[int, int]) -> Iterator[TokenRow]:
    """A clip's tokens fill whole bytes, so that all clips of a source are packed at once."""
    codes = pack_integers(tokens_NK.astype(np.uint64).reshape(-1), BITS_PER_TOKEN)
    for number in range(len(tokens_NK)):
        start_ns = number * _CLIP_NS
        yield TokenRow(
            clip_id=clip_id(source.uri, None, source.span_ns, start_ns, {"fps": _FPS}),
            source=source.uri,
            key=None,
            start_ns=start_ns,
            end_ns=start_ns + _CLIP_NS,
            fps=_FPS,
            frame_pts_ns=[start_ns + frame * _FRAME_NS for frame in range(SHAPE_THW[0])],
            num_frames=SHAPE_THW[0],
            height=grid[0],
            width=grid[1],
            source_height=720,
            source_width=1280,
            codes=codes[number * _CLIP_BYTES : (number + 1) * _CLIP_BYTES],
            metadata=None,
            scaled_height=grid[0] * _PATCH_PX,
            scaled_width=grid[1] * _PATCH_PX,
            num_real_frames=SHAPE_THW[0],
        )


def _ledger_row(shard: PlannedShard, place: int, num_clips: int) -> LedgerRow:
    source = shard.sources[place]
    num_frames = num_clips * SHAPE_THW[0]
    return ledger_row(
        shard_id=shard.shard_id,
        source_index=shard.first_source_index + place,
        source=source,
        start=ItemStart(key=None, size_bytes=source.size_bytes),
        end=ItemEnd(
            facts=MediaFacts(media="video", codec="h264", decoder="pyav"), num_source_frames=num_frames
        ),
        num_clips=num_clips,
        num_frames=num_frames,
        num_tokens=num_clips * TOKENS_PER_CLIP,
        code_bytes=num_clips * _CLIP_BYTES,
        tokenized_ns=num_clips * _CLIP_NS,
        shard_version=2,
    )
