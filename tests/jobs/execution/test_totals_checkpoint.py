"""Totals kept beside a dataset: when they are written, and that no job needs them or fails by them."""

from pathlib import Path

import pytest

from bitmill.jobs.execution.totals_checkpoint import KEEP_EVERY_S, TotalsCheckpoint
from bitmill.pipeline.dataset.dataset_status import dataset_status
from bitmill.pipeline.dataset.totals_cache import remembered_totals
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.dataset.shard_totals import TOTALS_FILE
from bitmill.schemas.errors import FormatError, InterruptedJobError
from tests.jobs.preparation.test_append_and_retry import APPEND, RETRY, _commit, _prepare

ONE, TWO = Totals(ok=1, clips=3), Totals(failed=2, reasons={"corrupt": 2})


def test_they_are_kept_every_minute_and_at_the_end_however_it_comes(tmp_path):
    folder, now = Folder(str(tmp_path)), [0.0]
    with (  # noqa: PT012
        pytest.raises(InterruptedJobError, match="stop"),
        TotalsCheckpoint(folder, {}, {}, clock=lambda: now[0]) as memory,
    ):
        memory.commit("a", ONE)
        memory.keep()
        assert remembered_totals(folder) == {}
        now[0] = KEEP_EVERY_S
        memory.keep()
        assert remembered_totals(folder) == {"a": ONE}
        memory.commit("b", TWO)
        memory.keep()
        assert remembered_totals(folder) == {"a": ONE}
        raise InterruptedJobError("stop")
    assert remembered_totals(folder) == {"a": ONE, "b": TWO}


def test_a_shard_that_is_to_be_made_anew_is_forgotten_first(tmp_path):
    folder = Folder(str(tmp_path))
    with TotalsCheckpoint(folder, {"a": ONE}, {"a": ONE, "b": TWO}):
        assert remembered_totals(folder) == {"a": ONE}


@pytest.mark.parametrize("data", [b"", b"PAR1 nonsense", b"x" * 5000])
def test_a_damaged_file_says_nothing(tmp_path, data):
    folder = Folder(str(tmp_path))
    folder.write_bytes(TOTALS_FILE, data)
    assert remembered_totals(folder) == {}


def test_a_file_that_cannot_be_written_stops_no_job(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with TotalsCheckpoint(Folder(str(tmp_path / "file")), {"a": ONE}, {}) as memory:
        memory.commit("b", TWO)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.mp4").write_bytes(b"x")
    return folder


def _remember(prepared) -> None:
    from bitmill.pipeline.dataset.totals import committed_accounts

    accounts = committed_accounts(prepared.folder, prepared.shards, prepared.committed)
    with TotalsCheckpoint(prepared.folder, accounts.of_shards, {}):
        pass


def test_a_survey_is_the_same_with_and_without_and_after_a_retry(media):
    _commit(_prepare(media), failing="b")
    _remember(_prepare(media))
    folder = _prepare(media).folder
    assert set(remembered_totals(folder)) == set(_prepare(media).committed)
    for grown in (None, RETRY):
        _prepare(media, grown)
        with_it = dataset_status(folder)
        path = Path(folder.uri) / TOTALS_FILE
        data = path.read_bytes()
        path.unlink()
        assert dataset_status(folder) == with_it
        path.write_bytes(data)
    assert with_it.totals.failed == 1
    _commit(_prepare(media))
    assert dataset_status(folder).totals.failed == 0
    (media / "z.mp4").write_bytes(b"y")
    assert dataset_status(_prepare(media, APPEND).folder).totals.ok == 4


def test_a_ledger_that_is_gone_is_told_though_its_totals_are_remembered(media):
    _commit(_prepare(media))
    _remember(_prepare(media))
    prepared = _prepare(media)
    ledger = next((Path(prepared.folder.uri) / "ledger").iterdir())
    ledger.unlink()
    with pytest.raises(FormatError, match="is missing but its token shard exists"):
        dataset_status(prepared.folder)
