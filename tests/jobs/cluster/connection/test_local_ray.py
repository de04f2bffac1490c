"""What a local Ray is given on a machine as it is: no home that can be written, a long temporary folder."""

import os
from pathlib import Path

import pytest

from bitmill.jobs.cluster.connection import local_ray
from bitmill.jobs.cluster.connection.local_ray import place_for_ray
from bitmill.schemas.errors import UsageError


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    for name in ("RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))


def _long(monkeypatch, tmp_path) -> Path:
    folder = tmp_path / ("long-" * 20)
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_session_has_a_token_of_its_own_where_there_is_none(monkeypatch, tmp_path):
    with place_for_ray():
        first = os.environ["RAY_AUTH_TOKEN"]
    assert len(first) == 64
    assert "RAY_AUTH_TOKEN" not in os.environ
    with place_for_ray():
        assert os.environ["RAY_AUTH_TOKEN"] == first
    assert not (tmp_path / "no-home").exists()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("the user's")
    with place_for_ray():
        assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_long_folder_has_a_short_name_for_as_long_as_it_is_used(monkeypatch, tmp_path):
    folder = _long(monkeypatch, tmp_path)
    with place_for_ray() as options:
        short = Path(options["_temp_dir"])
        (short / "session").mkdir()
        assert len(str(short)) < 40
    assert (folder / "ray" / "session").is_dir()
    assert not short.parent.exists()


@pytest.mark.parametrize(("variable", "folder"), [("/tmp/x", "/tmp/x/ray"), ("", "/tmp/ray")])
def test_a_short_folder_is_rays_own(monkeypatch, variable, folder):
    monkeypatch.setenv("TMPDIR", variable)
    with place_for_ray() as options:
        assert options == {"_temp_dir": folder}


def test_where_no_shorter_name_can_be_had_a_sentence_says_so(monkeypatch, tmp_path):
    _long(monkeypatch, tmp_path)
    monkeypatch.setattr(local_ray, "_SHORT", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"set RAY_TMPDIR to a folder with a short path"), place_for_ray():
        pass
