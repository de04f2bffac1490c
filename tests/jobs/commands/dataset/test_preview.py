"""``bitmill preview``: which clips it shows."""

import sys

import pytest
from PIL import Image

from bitmill.jobs.cli import main
from bitmill.pipeline.inspection.make_preview import preview_clips
from bitmill.pipeline.storage import Folder, normalise
from tests.support.datasets import make_dataset
from tests.support.fakes import make_source

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("preview") / "tokens"
    make_dataset(str(folder), [[2, 2, 2, 2], [1], [2, 1], [3]], grid_size=16, max_sources=4)
    return str(folder)


def _shown(tokens: str, *numbers: int, max_clips: int = 8) -> list[int]:
    uris = [make_source(number).uri for number in numbers]
    clips = list(preview_clips(tokens, clip_ids=None, sources=uris, max_clips=max_clips))
    return [uris.index(clip.source) for clip in clips]


def test_all_sources_that_are_named_are_shown(tokens):
    assert _shown(tokens, 2, 1) == [0, 0, 1]
    assert _shown(tokens, 0, 3) == [0, 0, 0, 0, 1]


def test_none_takes_the_place_of_the_others(tokens):
    assert _shown(tokens, 0, 2, max_clips=3) == [0, 0, 1]
    assert _shown(tokens, 0, 1, 3, max_clips=4) == [0, 0, 1, 2]


def test_the_command_takes_several_and_names_one_that_is_not_there(tokens, tmp_path, capsys, monkeypatch):
    def run(*sources: str) -> tuple[object, str]:
        words = [word for source in sources for word in ("--source", source)]
        out = str(tmp_path / "sheet.png")
        monkeypatch.setattr(sys, "argv", ["bitmill", "preview", tokens, "--out", out, *words])
        try:
            main()
        except SystemExit as end:
            return end.code, "".join(capsys.readouterr())
        raise AssertionError

    code, said = run(make_source(1).uri, make_source(3).uri)
    assert (code, "2 clips" in said) == (0, True)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height == 2 * (16 + 128 + 4)
    code, said = run(make_source(1).uri, "/media/none.mp4")
    assert (code, "has no source /media/none.mp4" in said) == (2, True)


@pytest.mark.parametrize(
    "place", ["{here}/a sheet.png", "file://{here}/a%20sheet.png", "memory://{name}/a.png"]
)
def test_the_picture_goes_to_a_path_a_uri_or_a_store(place, tokens, tmp_path, capsys, monkeypatch):
    out = place.format(here=tmp_path, name=tmp_path.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bitmill", "preview", tokens, "--out", out])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    is_local = not out.startswith("memory://")
    assert [path.name for path in tmp_path.iterdir()] == (["a sheet.png"] if is_local else [])
    folder, _, name = normalise(out).rpartition("/")
    assert Folder(folder).read_bytes(name).startswith(b"\x89PNG")
