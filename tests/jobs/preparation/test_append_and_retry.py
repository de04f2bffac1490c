"""Appending and retrying on a real folder: what is planned, what is said, what stays as it was."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.jobs.preparation import append_and_retry
from bitmill.jobs.preparation import prepare as prepare_module
from bitmill.jobs.preparation.append_and_retry import Growth
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.pipeline.dataset.dataset_folder import load_plan, publish_totals, require_card
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.inspection.summary import view_dataset
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, Totals
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.outcomes import Reason
from tests.support.commands import stored_files
from tests.support.fakes import HashEncoder, make_item, make_job

VERSION = b"bitmill.format_version"
APPEND, RETRY = Growth(append=True), Growth(retry_failed=True)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.mp4").write_bytes(b"x")
    return folder


def _prepare(
    media: Path, growth: Growth | None = None, *, shard_version: int | None = None, **sharding: int
) -> PreparedJob:
    job = make_job(
        source={"paths": [str(media)]},
        output=str(media.parent / "tokens"),
        sharding={"max_sources": 2, **sharding},
        storage={"shard_version": shard_version},
    )
    return prepare(job, cluster_has_gpus=lambda: False, growth=growth)


def _commit(prepared: PreparedJob, *, failing: str = "", reason: Reason = Reason.CORRUPT, limit: int = 99):
    """Commit what remains; sources of these names fail."""
    for shard in prepared.remaining[:limit]:
        items = [
            make_item(index, [] if bad else [2], reason=reason if bad else None)
            for index, bad in enumerate(Path(source.uri).stem in failing for source in shard.sources)
        ]
        list(tokenize_shard(shard, items, HashEncoder(), prepared.context, prepared.folder))


def _totals(prepared: PreparedJob) -> Totals:
    return committed_totals(prepared.folder, prepared.shards, prepared.committed)


def _names(prepared: PreparedJob) -> list[str]:
    return ["".join(Path(source.uri).stem for source in shard.sources) for shard in prepared.remaining]


def test_new_sources_become_new_shards_and_nothing_else_changes(media):
    first = _prepare(media)
    _commit(first)
    before = stored_files(Path(first.folder.uri))
    for name in ("aa", "z"):
        (media / f"{name}.mp4").write_bytes(b"y")
    grown = _prepare(media, APPEND)
    assert _names(grown) == ["aaz"]
    assert grown.notes == ("new sources: 2 appended; 4 planned already.",)
    assert (grown.card.num_sources, grown.card.num_shards, grown.card.totals) == (6, 3, None)
    assert grown.remaining[0].first_source_index == 4
    after = stored_files(Path(first.folder.uri))
    assert {name: after[name] for name in before} == before
    _commit(grown)
    assert _totals(_prepare(media)).ok == 6


def test_a_dataset_begun_by_an_older_release_goes_on(media):
    first = _prepare(media, shard_version=1)
    _commit(first, failing="b", limit=1)
    (old,) = (Path(first.folder.uri) / "ledger").iterdir()
    table = pq.read_table(old)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, VERSION: b"3"}), old)
    before = stored_files(Path(first.folder.uri))
    second = _prepare(media)
    assert _names(second) == ["cd"]
    _commit(second, failing="c", reason=Reason.ENCRYPTED)
    assert _totals(_prepare(media)).reasons == {"corrupt": 1, "encrypted": 1}
    again = _prepare(media, RETRY)
    _commit(again)
    assert _totals(_prepare(media)).ok == 4
    after = stored_files(Path(first.folder.uri))
    assert {name: after[name] for name in before if name != "dataset.json"} == {
        name: data for name, data in before.items() if name != "dataset.json"
    }
    versions = {pq.read_schema(path).metadata[VERSION] for path in old.parent.iterdir()}
    assert versions == {b"3", b"4"}


def test_captions_of_a_later_manifest_are_said_to_be_left(media):
    manifest = media.parent / "manifest.csv"

    def prepared(header: str, *cells: str) -> PreparedJob:
        rows = (f"{media / name}.mp4{cell}" for name, cell in zip("ab", cells, strict=True))
        manifest.write_text("\n".join((header, *rows)) + "\n")
        job = make_job(source={"manifest": str(manifest)}, output=str(media.parent / "tokens"))
        return prepare(job, cluster_has_gpus=lambda: False, growth=APPEND)

    prepared("uri", "", "")
    nothing = "nothing to append: 2 sources found, all planned already."
    assert prepared("uri", "", "").notes == (nothing,)
    told = prepared("uri,caption", ",a cat", ",").notes
    # A cell without a value is no column.
    assert told[0] == nothing
    assert [line for line in told[1:] if "columns of 1 planned source are not those of the plan" in line]


def test_appending_twice_is_appending_once(media):
    _commit(_prepare(media))
    (media / "e.mp4").write_bytes(b"y")
    once = _prepare(media, APPEND)
    card = (Path(once.folder.uri) / "dataset.json").read_bytes()
    again = _prepare(media, APPEND)
    assert again.notes == ("nothing to append: 5 sources found, all planned already.",)
    assert again.shards == once.shards
    assert (Path(once.folder.uri) / "dataset.json").read_bytes() == card


def test_an_append_to_nothing_plans_the_dataset(media):
    assert _names(_prepare(media, APPEND)) == ["ab", "cd"]


def test_changed_sources_are_not_doubled(media):
    _commit(_prepare(media))
    (media / "b.mp4").write_bytes(b"other bytes")
    (media / "e.mp4").write_bytes(b"y")
    grown = _prepare(media, APPEND)
    assert _names(grown) == ["e"]
    assert grown.notes[1].startswith("changed sources: 1 skipped, of another size or version")


def test_an_append_that_died_before_its_card_never_was(media):
    first = _prepare(media)
    _commit(first)
    card = (Path(first.folder.uri) / "dataset.json").read_bytes()
    (media / "e.mp4").write_bytes(b"y")
    grown = _prepare(media, APPEND)
    (Path(first.folder.uri) / "dataset.json").write_bytes(card)
    assert _prepare(media).remaining == []
    assert _prepare(media, APPEND).shards == grown.shards


def test_other_sources_are_refused_unless_they_are_appended(media, tmp_path):
    _commit(_prepare(media))
    other = tmp_path / "other"
    other.mkdir()
    (other / "e.mp4").write_bytes(b"y")
    with pytest.raises(OutputConflictError, match=r"source.paths is .*run it with --append\.$"):
        _prepare(other)
    assert _names(_prepare(other, APPEND)) == ["e"]
    # Both sections of sources are the dataset's now: either command resumes it.
    assert _names(_prepare(other)) == _names(_prepare(media)) == ["e"]


def test_an_append_cannot_change_what_decides_the_bytes(media):
    first = _prepare(media)
    job = first.job.model_copy(update={"sampling": first.job.sampling.model_copy(update={"fps": 3.0})})
    told = r"sampling\.fps is not set there and 3\.0 here(?!.*--append)"
    with pytest.raises(OutputConflictError, match=told):
        prepare(job, cluster_has_gpus=lambda: False, growth=APPEND)


def test_failed_items_are_done_again_and_count_once(media):
    first = _prepare(media)
    _commit(first, failing="bc")
    before = stored_files(Path(first.folder.uri))
    (media / "b.mp4").write_bytes(b"repaired")
    retry = _prepare(media, RETRY)
    assert retry.notes == ("failed items: 2 to be retried.",)
    assert _names(retry) == ["bc"]
    assert retry.remaining[0].sources[0].size_bytes == len(b"repaired")
    assert (retry.card.num_sources, retry.card.num_retried) == (4, 2)
    # They are open now: neither failed nor ok.
    assert _totals(retry).items == 2
    assert view_dataset(retry.folder, max_clips=0, max_not_ok=9).totals.failed == 2
    _commit(retry, failing="c", reason=Reason.TRUNCATED)
    done = _prepare(media)
    totals = _totals(done)
    assert (totals.ok, totals.failed, totals.reasons) == (3, 1, {"truncated": 1})
    view = view_dataset(done.folder, max_clips=9, max_not_ok=9)
    assert view.totals == totals
    assert [Path(row["source"]).stem for row in view.not_ok] == ["c"]
    assert len({clip["clip_id"] for clip in view.clips}) == len(view.clips) == 3
    after = stored_files(Path(first.folder.uri))
    assert {name: after[name] for name in before} == before


def test_a_retry_of_an_unchanged_source_alone_in_its_shard_is_another_shard(media):
    _commit(_prepare(media, max_sources=1), failing="b")
    shards = {shard.shard_id for shard in _prepare(media).shards}
    for _ in range(2):
        retry = _prepare(media, RETRY)
        assert _names(retry) == ["b"]
        assert {shard.shard_id for shard in retry.remaining}.isdisjoint(shards)
        shards |= {shard.shard_id for shard in retry.remaining}
        _commit(retry, failing="b")
    assert _totals(_prepare(media)).failed == 1


def test_an_interrupted_retry_goes_on_with_the_plain_command(media):
    _commit(_prepare(media), failing="abcd")
    retry = _prepare(media, RETRY)
    _commit(retry, limit=1)
    assert _names(_prepare(media)) == ["cd"]
    again = _prepare(media, RETRY)
    assert again.notes == ("nothing to retry: every failed item is already planned again.",)
    assert _names(again) == ["cd"]
    _commit(again)
    assert _totals(_prepare(media)).ok == 4


def test_only_the_reasons_that_were_asked_for(media):
    prepared = _prepare(media)
    _commit(prepared, failing="a", reason=Reason.DECODE_TIMEOUT, limit=1)
    _commit(_prepare(media), failing="c", reason=Reason.CORRUPT)
    retry = _prepare(media, Growth(retry_failed=True, reasons=frozenset({Reason.DECODE_TIMEOUT})))
    assert _names(retry) == ["a"]
    assert retry.notes == ("failed items (decode_timeout): 1 to be retried.",)


def test_retry_and_append_go_together(media):
    _commit(_prepare(media), failing="a")
    (media / "e.mp4").write_bytes(b"y")
    both = _prepare(media, Growth(append=True, retry_failed=True))
    assert _names(both) == ["a", "e"]
    assert load_plan(both.folder, require_card(both.folder)) == list(both.shards)


@pytest.mark.s3
def test_growing_and_mending_on_an_object_store(s3):
    remote = Folder(s3)
    for name in "ab":
        remote.write_bytes(f"media/{name}.mp4", b"x")
    job = make_job(source={"paths": [f"{s3}/media"]}, output=f"{s3}/tokens")
    _commit(prepare(job, cluster_has_gpus=lambda: False), failing="b")
    remote.write_bytes("media/b.mp4", b"y")
    remote.write_bytes("media/c.mp4", b"x")
    both = Growth(append=True, retry_failed=True)
    grown = prepare(job, cluster_has_gpus=lambda: False, growth=both)
    assert _names(grown) == ["b", "c"]
    assert grown.notes[1] == "new sources: 1 appended; 2 planned already."
    _commit(grown)
    again = prepare(job, cluster_has_gpus=lambda: False, growth=both)
    assert (again.remaining, again.card) == ([], grown.card)
    totals = _totals(again)
    publish_totals(again.folder, again.card, totals)
    assert (totals.ok, totals.failed) == (3, 0)
    assert require_card(again.folder).totals == totals


def test_what_cannot_be_retried_is_told(media):
    with pytest.raises(UsageError, match=r"There is no dataset at .*/tokens whose failed items"):
        _prepare(media, RETRY)
    with pytest.raises(UsageError, match="--reason selects what --retry-failed retries; give both"):
        Growth(reasons=frozenset({Reason.CORRUPT}))


def test_totals_of_a_plan_that_grew_meanwhile_are_not_written(media):
    first = _prepare(media)
    _commit(first)
    (media / "e.mp4").write_bytes(b"y")
    grown = _prepare(media, APPEND)
    publish_totals(first.folder, first.card, _totals(first))
    assert require_card(first.folder) == grown.card
    publish_totals(first.folder, grown.card, _totals(grown))
    assert require_card(Folder(first.folder.uri)).totals == _totals(grown)


def test_a_part_that_another_run_dropped_is_told(media):
    first = _prepare(media)
    _commit(first)
    (media / "e.mp4").write_bytes(b"y")
    grown = _prepare(media, APPEND)
    # A run that read the card before it grew, and wrote its totals after.
    first.folder.write_bytes(DATASET_FILE, first.card.to_json())
    _commit(grown)
    with pytest.raises(OutputConflictError, match=r"Another run has written a plan of .*/tokens meanwhile"):
        publish_totals(grown.folder, grown.card, _totals(grown))
    again = _prepare(media, APPEND)
    assert again.card == grown.card
    assert not again.remaining


@pytest.mark.parametrize("growth", [None, APPEND])
def test_of_two_runs_that_plan_at_once_one_is_told(media, monkeypatch, growth):
    if growth:
        _prepare(media)
        (media / "e.mp4").write_bytes(b"y")
    module = append_and_retry if growth else prepare_module
    listed = module.find_sources

    def interrupted(spec):
        found = listed(spec)
        monkeypatch.undo()
        (media / "f.mp4").write_bytes(b"z")
        other = _prepare(media, growth)
        assert "f" in _names(other)[-1]
        return found

    monkeypatch.setattr(module, "find_sources", interrupted)
    with pytest.raises(OutputConflictError, match=r"run this command again, which continues with that plan"):
        _prepare(media, growth)
    assert any("f" in name for name in _names(_prepare(media, growth)))
