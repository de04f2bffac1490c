"""What is said where Ray's token is missing or wrong; never the token itself."""

import os

import pytest

from bitmill.jobs.cluster.connection.authentication import hushed, tells_of_token, token_error

TOKEN = "c0ffee" * 10


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine where nothing of Ray's authentication is set."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _file(bare, text: str = TOKEN) -> str:
    path = bare / "token"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("mode", "token", "file", "sentence"),
    [
        (None, None, None, "requires a token: set RAY_AUTH_MODE=token"),
        ("disabled", TOKEN, None, "requires a token: set RAY_AUTH_MODE=token"),
        ("token", None, None, "there is no token for Ray on head:6379"),
        ("token", None, "", "there is no token for Ray on head:6379"),
        ("token", TOKEN, None, "Ray on head:6379 rejects the token that is set here"),
        ("TOKEN", None, TOKEN, "Ray on head:6379 rejects the token that is set here"),
    ],
)
def test_each_mistake_has_its_sentence_and_remedy(bare, monkeypatch, mode, token, file, sentence):
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    if token is not None:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    if file is not None:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", _file(bare, file))
    error = token_error("head:6379")
    assert error.exit_code == 2
    assert sentence in str(error)
    assert "~/.ray/auth_token" in str(error)
    assert TOKEN not in str(error)


def test_a_token_in_rays_own_place_is_found(bare, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    (bare / ".ray").mkdir()
    (bare / ".ray" / "auth_token").write_text(TOKEN)
    assert "rejects the token" in str(token_error("head:6379"))


def test_what_is_written_below_python_is_kept_from_the_terminal(capfd):
    with hushed() as written:
        os.write(2, b"[W] Unauthenticated: RPC error\n")
        assert tells_of_token(written())
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_an_error_within_leaves_the_terminal_as_it_was(capfd):
    with pytest.raises(ConnectionError, match="gone"), hushed():
        raise ConnectionError("gone")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
