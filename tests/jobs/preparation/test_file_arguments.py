"""What the command line takes for a place of this machine; a store's URI never becomes a folder ``s3:``."""

import sys
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.preparation.file_arguments import local_path


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
