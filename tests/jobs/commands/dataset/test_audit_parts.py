"""``bitmill audit`` on real media: what it says of codes, duplicates, a sample, sources, and two datasets."""

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.pipeline.reading import ClipFilter, TokenDataset, clip_ids_in
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import AuditReport, read_audit
from tests.support.audits import AuditedDataset
from tests.support.media import jpeg_photo, plain_mp4
from tests.support.tokenized import tokenize_here


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Media, of which one is a copy of another, and their tokens."""
    place = tmp_path_factory.mktemp("closer")
    media = place / "media"
    media.mkdir()
    plain_mp4(media / "clip.mp4")
    jpeg_photo(media / "photo.jpg")
    shutil.copy(media / "photo.jpg", media / "photo-again.jpg")
    tokenize_here(media, place / "tokens")
    return place


@pytest.fixture(scope="module")
def closely(made: Path) -> tuple[Path, str]:
    """Where an audit of all that can be asked put its files, and what it said."""
    out = made / "audit"
    arguments = (made / "tokens", "--out", out, "--workers", 1, "--check-source", "--sample", 99)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        assert audit(patch, *arguments) == 0
    return out, said.getvalue()


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """The tokens to change; the media stay where the plan has them."""
    shutil.copytree(made / "tokens", tmp_path / "tokens")
    return tmp_path


def audit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["bitmill", "audit", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def report_in(folder: Path) -> AuditReport:
    return read_audit((folder / "audit.json").read_bytes(), origin="it")


@pytest.mark.slow
def test_a_sound_dataset_looked_at_closely(closely: tuple[Path, str]):
    out, said = closely
    report = report_in(out)
    assert report.findings == []
    assert report.codes is not None
    assert report.codes.tokens == report.coverage.total.tokens
    assert report.sample is not None
    assert report.sample.compared == report.sample.num_clips == report.coverage.total.clips
    assert report.sample.differing_bits == 0
    assert report.sources is not None
    assert (report.sources.checked, report.sources.gone, report.sources.unplanned) == (3, 0, 0)
    # No file of an audit is left half-made, and each picture that the report names is there.
    names = {path.name for path in out.iterdir()}
    pictures = {clip.picture for clip in report.sample.clips}
    assert names == {"audit.json", "audit.html", "duplicates.txt", *pictures}
    page = (out / "audit.html").read_text()
    assert page.count("data:image/webp;base64,") >= 1
    assert "0 of" in said
    assert "bits differ when tokenized again" in said


def test_a_copy_is_listed_and_the_readers_filter_takes_the_list(made: Path, tmp_path: Path, monkeypatch):
    audit(monkeypatch, made / "tokens", "--out", tmp_path, "--workers", 1, "--sample", 0)
    found = report_in(tmp_path).duplicates
    assert found is not None
    assert (found.exact_groups, found.exact_clips) == (1, 1)
    assert [Path(clip.source).name for clip in found.groups[0].clips] == ["photo-again.jpg", "photo.jpg"]
    listed = clip_ids_in(tmp_path / "duplicates.txt")
    every = TokenDataset(made / "tokens")
    kept = TokenDataset(made / "tokens", where=ClipFilter(without_clip_ids=listed))
    assert len(kept) == len(every) - 1


def test_clips_of_another_dataset_are_found_again(made: Path, place: Path, monkeypatch):
    arguments = ("--out", place / "out", "--against", made / "tokens", "--workers", 1, "--sample", 0)
    assert audit(monkeypatch, place / "tokens", *arguments) == 0
    report = report_in(place / "out")
    assert report.duplicates is not None
    assert report.duplicates.exact_clips == report.coverage.total.clips
    assert report.duplicates.groups[0].clips[0].dataset == str(made / "tokens")


@pytest.mark.slow
def test_codes_that_were_altered_with_all_their_checksums_are_found_by_the_sample(place: Path, monkeypatch):
    def flip(rows):
        codes = bytearray(rows[0]["codes"])
        codes[0] ^= 1
        rows[0]["codes"] = bytes(codes)

    dataset = AuditedDataset(place / "tokens")
    dataset.change_rows(0, flip)
    assert audit(monkeypatch, place / "tokens", "--out", place / "out", "--sample", 99, "--workers", 1) == 0
    report = report_in(place / "out")
    assert {one.kind: one.count for one in report.findings} == {Kind.BITS_DIFFER: 1}
    assert report.sample is not None
    assert report.sample.clips[0].differs_at == ["frame 0, row 0, column 0, bit 17"]


def test_without_its_tokenizer_nothing_can_be_decoded(place: Path, monkeypatch):
    shutil.rmtree(place / "tokens" / "tokenizer")
    assert audit(monkeypatch, place / "tokens", "--out", place / "out", "--workers", 1) == 4
    report = report_in(place / "out")
    assert {one.kind: one.count for one in report.findings} == {Kind.MISSING_TOKENIZER: 1}
    assert report.sample is None
    assert any("No sample was compared" in sentence for sentence in report.left_out)


def test_two_audits_side_by_side(closely: tuple[Path, str], place: Path, monkeypatch, capsys):
    (place / "tokens" / "shards").joinpath(next((place / "tokens" / "shards").iterdir()).name).unlink()
    names = (closely[0] / "audit.json", place / "tokens")
    arguments = ("--out", place / "both", "--workers", 1, "--sample", 0)
    assert audit(monkeypatch, "--compare", *names, *arguments) == 0
    out = capsys.readouterr().out
    assert "sound" in out
    assert "incomplete" in out
    assert (place / "both" / "comparison.html").exists()
    assert json.loads((place / "both" / "b" / "audit.json").read_text())["verdict"] == "incomplete"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name one dataset to audit"),
        (("a", "--compare", "a", "b"), "Name one dataset to audit"),
        (("a", "--radius", "0.5"), "--radius must be above 0"),
        (("a", "--no-duplicates", "--against", "b"), "remove --no-duplicates"),
        (("--compare", "no/audit.json", "b"), "no/audit.json does not exist; give an audit.json"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(arguments, message, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert audit(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_not_compared_with_itself(made: Path, tmp_path: Path, monkeypatch, capsys):
    arguments = ("--out", tmp_path, "--against", made / "tokens", "--workers", 1)
    assert audit(monkeypatch, made / "tokens", *arguments) == 2
    assert "is the audited dataset; leave it out" in capsys.readouterr().err
