"""``bitmill plan`` as a user types it: counts, an estimate that writes nothing, both as JSON."""

import json
import sys

import pytest

from bitmill.jobs.cli import main
from bitmill.schemas.reports.estimate_report import Estimate
from tests.support.media import jpeg_photo, plain_mp4

pytestmark = pytest.mark.usefixtures("briefly_timed", "forked_children")


def _run(capsys, monkeypatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["bitmill", "plan", *arguments, "--tokenizer", "tiny", "--fps", "10"])
    with pytest.raises(SystemExit, match="0"):
        main()
    return capsys.readouterr().out


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("a", "b", "c"):
        plain_mp4(folder / f"{name}.mp4")
    jpeg_photo(folder / "d.jpg")
    return folder


@pytest.mark.slow
def test_an_estimate_says_what_it_knows_and_writes_nothing(capsys, monkeypatch, tmp_path, media):
    arguments = (str(media), str(tmp_path / "tokens"), "--estimate", "--sample", "2")
    said = _run(capsys, monkeypatch, *arguments)
    assert "probed    3 of them, spread over their sizes" in said
    assert "frames    about 61" in said
    assert "timed on  this machine's CPU, 1 thread(s), float32" in said
    estimate = Estimate.model_validate_json(_run(capsys, monkeypatch, *arguments, "--json"))
    assert (estimate.sources, estimate.sampled, round(estimate.clips.value)) == (4, 3, 7)
    assert list(tmp_path.iterdir()) == [media]


@pytest.mark.slow
def test_a_single_video_tells_no_error(capsys, monkeypatch, tmp_path, media):
    said = _run(capsys, monkeypatch, str(media), str(tmp_path / "tokens"), "--estimate", "--sample", "1")
    assert "The sample is too small to estimate the error; increase --sample." in said


def test_the_counts_of_a_plan_as_json(capsys, monkeypatch, tmp_path, media):
    said = _run(capsys, monkeypatch, str(media), str(tmp_path / "tokens"), "--json")
    counts = json.loads(said)
    assert (counts["sources"], counts["shards"], counts["committed"]) == (4, 1, 0)
    assert (tmp_path / "tokens" / "dataset.json").exists()


def test_long_videos_are_planned_in_spans_and_appended_once(capsys, monkeypatch, tmp_path, media):
    monkeypatch.setattr("bitmill.pipeline.planning.split_videos._LEAST_BYTES_PER_S", 0)
    arguments = (str(media), str(tmp_path / "tokens"), "--set", "sharding.split_s=1", "--json")
    assert json.loads(_run(capsys, monkeypatch, *arguments))["sources"] == 7
    # The stored plan rules: another split on resume changes nothing.
    arguments = (str(media), str(tmp_path / "tokens"), "--set", "sharding.split_s=1.5", "--json")
    assert json.loads(_run(capsys, monkeypatch, *arguments))["sources"] == 7


def test_two_thousand_spans_of_one_video_are_a_shard_and_its_bytes_count_once(capsys, monkeypatch, tmp_path):
    with (tmp_path / "movie.mp4").open("wb") as video:
        video.truncate(300 << 20)
    rows = "".join(f"movie.mp4,{2 * number},{2 * number + 2}\n" for number in range(2000))
    (tmp_path / "m.csv").write_text("uri,start,end\n" + rows)
    arguments = (str(tmp_path / "m.csv"), str(tmp_path / "tokens"), "--json")
    counts = json.loads(_run(capsys, monkeypatch, *arguments))
    assert (counts["sources"], counts["shards"], counts["size_bytes"]) == (2000, 1, 300 << 20)


def test_a_stored_plan_of_spans_goes_on_with_the_shards_that_it_has(capsys, monkeypatch, tmp_path, media):
    (tmp_path / "m.csv").write_text("uri,start,end\nmedia/a.mp4,0,1\nmedia/a.mp4,1,2\n")
    arguments = (str(tmp_path / "m.csv"), str(tmp_path / "tokens"), "--json")
    # As each span was planned before spans of one object stood together.
    _run(capsys, monkeypatch, *arguments, "--set", "sharding.max_sources=1")
    files = {path: path.read_bytes() for path in (tmp_path / "tokens").rglob("*") if path.is_file()}
    counts = json.loads(_run(capsys, monkeypatch, *arguments))
    assert (counts["shards"], counts["size_bytes"]) == (2, (media / "a.mp4").stat().st_size)
    assert all(path.read_bytes() == data for path, data in files.items())
