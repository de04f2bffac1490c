"""``bitmill audit`` as a user types it: exit codes, files, what is printed, and foreign text left alone."""

from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.commands.dataset.audit_output import progress_line
from bitmill.pipeline.auditing.parallel import AuditProgress
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.reports.audit_report import read_audit
from tests.support.audits import AuditedDataset, Planted, dataset_of, sound_dataset
from tests.support.fakes import make_item


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> AuditedDataset:
    return sound_dataset(tmp_path_factory.mktemp("audited") / "tokens")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command, run here."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["bitmill", "audit", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_sound_dataset(dataset: AuditedDataset, tmp_path: Path, monkeypatch, capsys):
    assert run(monkeypatch, dataset.path, "--out", tmp_path / "out", "--workers", 1) == 0
    out = capsys.readouterr().out
    assert f"sound: {dataset.path}" in out
    assert f"wrote {tmp_path}/out/audit.json" in out
    report = read_audit((tmp_path / "out" / "audit.json").read_bytes(), origin="it")
    assert report.verdict == "sound"
    assert report.coverage.total.clips == 12


@pytest.mark.parametrize("compared", [False, True])
def test_without_a_place_nothing_is_written(compared, dataset: AuditedDataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in dataset.path.rglob("*")}
    arguments = ("--compare", dataset.path, dataset.path) if compared else (dataset.path,)
    assert run(monkeypatch, *arguments, "--workers", 1, "--sample", 0) == 0
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in dataset.path.rglob("*")} == before
    out = capsys.readouterr().out
    assert "sound" in out
    assert out.endswith("nothing was written; pass --out FOLDER to keep the report and its page.\n")


def test_json_is_the_report(dataset: AuditedDataset, tmp_path: Path, monkeypatch, capsys):
    assert run(monkeypatch, dataset.path, "--out", tmp_path, "--workers", 1, "--json") == 0
    assert capsys.readouterr().out.encode() == (tmp_path / "audit.json").read_bytes()


def test_metadata_columns_are_shown(dataset: AuditedDataset, tmp_path: Path, monkeypatch, capsys):
    assert run(monkeypatch, dataset.path, "--out", tmp_path, "--by", "caption", "--workers", 1) == 0
    assert "clip 3" in capsys.readouterr().out


def test_a_table_that_is_there_anyway(dataset: AuditedDataset, tmp_path: Path, monkeypatch, capsys):
    assert run(monkeypatch, dataset.path, "--out", tmp_path, "--by", "codec") == 2
    assert "error: Coverage by codec is always included" in capsys.readouterr().err


def test_no_dataset(tmp_path: Path, monkeypatch, capsys):
    assert run(monkeypatch, tmp_path, "--out", tmp_path / "out") == 2
    assert "is not a bitmill dataset" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_damage_names_the_file_and_says_what_to_do(tmp_path: Path, monkeypatch, capsys):
    dataset = sound_dataset(tmp_path / "tokens")
    dataset.flip(dataset.shard(0), column="codes")
    assert run(monkeypatch, dataset.path, "--out", tmp_path / "out", "--workers", 1) == 4
    out = capsys.readouterr().out
    assert f"bad_checksum: shards/{dataset.plan[0].shard_id}.parquet, row group 0" in out
    assert "Restore from a backup, or delete and run the job again." in out


def test_foreign_names_are_no_markup(tmp_path: Path, monkeypatch, capsys):
    name = "/media/[red]a[/red]<script>.mp4"
    planted = Planted(PlannedSource(uri=name, size_bytes=1, version="1"), list(make_item(0, [2])))
    dataset = dataset_of(tmp_path / "tokens", [planted])
    dataset.change_rows(0, lambda rows: rows.append(rows[0]))
    assert run(monkeypatch, dataset.path, "--out", tmp_path / "out", "--workers", 1) == 4
    assert name in capsys.readouterr().out


def test_progress_tells_rate_and_remaining_time():
    progress = AuditProgress(done_shards=25, shards=100, done_clips=5000, done_bytes=10 << 20)
    assert progress_line(progress, 10.0) == ("25/100 shards · 5,000 clips (500/s), 1.0 MiB/s · 30 s left")


@pytest.mark.s3
def test_a_dataset_on_s3_is_audited_and_taken_down_from_like_a_local_one(
    dataset: AuditedDataset, s3: str, tmp_path: Path, monkeypatch, capsys
):
    there, folder = f"{s3}/tokens", Folder(f"{s3}/tokens")
    for path in sorted(path for path in dataset.path.rglob("*") if path.is_file()):
        folder.write_bytes(str(path.relative_to(dataset.path)), path.read_bytes())
    assert run(monkeypatch, there, "--out", f"{s3}/audit", "--workers", 2, "--sample", 0) == 0
    assert run(monkeypatch, dataset.path, "--out", tmp_path, "--workers", 1, "--sample", 0) == 0
    ours = read_audit(Folder(f"{s3}/audit").read_bytes("audit.json"), origin="it")
    unlike = {"created", "seconds", "dataset"}
    local = read_audit((tmp_path / "audit.json").read_bytes(), origin="it")
    assert ours.model_dump(exclude=unlike) == local.model_dump(exclude=unlike)
    gone = dataset.plan[0].sources[0].uri
    monkeypatch.setattr("sys.argv", ["bitmill", "remove", there, "--source", gone, "--yes"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert run(monkeypatch, there, "--out", f"{s3}/audit", "--workers", 1, "--sample", 0) == 0
    after = read_audit(Folder(f"{s3}/audit").read_bytes("audit.json"), origin="it")
    assert (after.verdict, after.removals) == ("sound", 3)
    capsys.readouterr()
