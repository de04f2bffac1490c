"""What the command line takes for a place of this machine; a store's URI never becomes a folder ``s3:``."""

import sys
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.preparation.file_arguments import local_path, out_file, out_folder, publish
from bitmill.schemas.errors import UsageError
from tests.support.media import jpeg_photo


def test_a_path_stays_as_it_was_typed_and_a_file_uri_is_its_path():
    assert local_path("a b/c") == Path("a b/c")
    assert local_path("file:///a%20b/c") == Path("/a b/c")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "small", "/media", "--out", "s3://bucket/out"),
        ("evaluate-tokens", "small", "/tokens", "--out", "s3://bucket/out.json"),
        ("sample", "clips", "small", "s3://bucket/out"),
        ("remove", "/tokens", "--sources-from", "s3://bucket/list"),
        ("weights", "resize", "small", "s3://bucket/out", "--size", "64"),
    ],
)
def test_a_store_is_refused_where_only_this_machine_will_do(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bitmill", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "error: s3://bucket/" in (said := capsys.readouterr().err)
    assert "is on a remote store; give a local path here" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "tiny", "{media}", "--out", "{out}"),
        ("evaluate-tokens", "small-1", "/tokens", "--out", "{out}"),
        ("evaluate-samples", "/model", "/tokens", "--held-out", "*", "--out", "{out}"),
        ("sample", "clips", "small-1", "{out}"),
        ("weights", "resize", "small-1", "{out}", "--size", "64"),
        ("weights", "import", "{media}", "{out}", "--config", "{media}"),
        ("config", "new", "{media}", "/tokens", "--out", "{out}"),
        ("compress", "{media}", "{out}.bmz"),
        ("train", "{train}", "--set", "output={out}"),
    ],
)
@pytest.mark.parametrize("out", ["{media}/x", "{tmp}/" + 300 * "a"])
def test_an_output_where_none_can_be_is_told_before_any_work(words, out, tmp_path, monkeypatch, capsys):
    media = jpeg_photo(tmp_path / "a.jpg")
    places = {
        "media": media,
        "out": out.format(media=media, tmp=tmp_path),
        "train": "schemas/train.example.yaml",
    }
    monkeypatch.setattr(sys, "argv", ["bitmill", *(word.format(**places) for word in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "cannot be written: " in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == [media]


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file is a file; choose another path\.$"):
        out_folder(str(tmp_path / "file"))
    for refused in (lambda: out_file(tmp_path), lambda: publish(tmp_path, lambda path: path.touch())):
        with pytest.raises(UsageError, match=f"{tmp_path} is a folder; choose another path"):
            refused()


@pytest.mark.parametrize("planted", ["report.json", "pictures.png", "tiny/report.json"])
def test_an_evaluation_looks_at_all_its_files_first(planted, tmp_path, monkeypatch, capsys):
    (tmp_path / "out" / planted).mkdir(parents=True)
    others = ["--tokenizer", "tiny"] if "/" in planted else []
    words = ["evaluate", "tiny", str(jpeg_photo(tmp_path / "a.jpg")), "--out", str(tmp_path / "out"), *others]
    monkeypatch.setattr(sys, "argv", ["bitmill", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"{tmp_path}/out/{planted} is a folder; choose another path." in capsys.readouterr().err
