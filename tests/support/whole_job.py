"""A whole job but for Ray, in this process."""

from collections.abc import Iterator

from PIL import Image

from bitmill.jobs.preparation.prepare import prepare
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import ItemEvent
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.requests.job import JobSpec
from tests.support.fakes import HashEncoder
from tests.support.media import real_pictures


def put_pictures(folder: str, number: int) -> None:
    """Real pictures as files of a folder, on any store."""
    media = Folder(folder)
    for index, picture in enumerate(real_pictures(number, 96, 72)):
        with media.publishing(f"{index}.png") as staged:
            Image.fromarray(picture).save(staged.path, format="PNG")


def whole_job(base: str, name: str, *, shards: int | None = None) -> dict[str, bytes]:
    """List ``base``/media, plan, read, decode, encode and publish to ``base``/``name``; every stored file but
    the card. At most so many of the remaining ``shards``, of two sources each."""
    document = {
        "version": 1,
        "source": {"paths": [f"{base}/media"]},
        "output": f"{base}/{name}",
        "tokenizer": {"preset": "tiny", "seed": 1},
        "compute": {"device": "cpu"},
        "sharding": {"max_sources": 2},
    }
    prepared = prepare(JobSpec.model_validate(document), cluster_has_gpus=lambda: False)
    decode = DecodeSettings.of(prepared.job, prepared.context.sizes, pixel_rule=prepared.context.pixel_rule)
    encoder = HashEncoder(grid_size=16)
    for shard in prepared.remaining[:shards]:
        items = (_events(source, decode) for source in shard.sources)
        list(tokenize_shard(shard, items, encoder, prepared.context, prepared.folder))
    folder = prepared.folder
    return {
        f"{part}/{file}": folder.read_bytes(f"{part}/{file}")
        for part in ("plan", "shards", "ledger", "tokenizer")
        for file in folder.list_names(part)
    }


def _events(source, decode) -> Iterator[ItemEvent]:
    return (event for event in source_events(source, decode) if not isinstance(event, Staged))
