"""Takedown from a real dataset by the command line: killed, resumed, read, and never brought back."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.reading import FrameWindows, TokenBatches, TokenDataset
from bitmill.pipeline.storage import Folder
from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import bitmill, command, environment
from tests.support.removals import files_of, holding
from tests.support.tars import write_tar

pytestmark = pytest.mark.ray

KILLER = """
import os
import signal

from bitmill.pipeline.storage import Folder

publish = Folder._publish


def dying(self, staged, name):
    if name.startswith(os.environ["DIES_BEFORE"]):
        os.kill(os.getpid(), signal.SIGKILL)
    publish(self, staged, name)


Folder._publish = dying
"""


def ledger_of(tokens: Path) -> dict[tuple[str, str | None], dict]:
    """Ledger rows by the source's name and key; of several attempts the last."""
    folder = Folder(str(tokens))
    plan = load_plan(folder, require_card(folder))
    rows = [row for shard in plan for row in load_ledger(folder, shard.shard_id)]
    return {(Path(row["source"]).name, row["key"]): row for row in rows}


@pytest.fixture(scope="module")
def taken(clips_run: tuple[Path, object], tmp_path_factory: pytest.TempPathFactory):
    """A dataset without one of its sources, and its source's URI and clip ids."""
    tokens = Path(shutil.copytree(clips_run[0], tmp_path_factory.mktemp("taken") / "tokens"))
    dataset = TokenDataset(tokens, columns=("source", "clip_id"))
    uri = dataset[0]["source"]
    gone = [sample["clip_id"] for sample in dataset if sample["source"] == uri]
    dataset.find(gone[0])
    done = bitmill("remove", str(tokens), "--source", uri, "--yes")
    assert done.code == 0, done.err
    return tokens, uri, gone


@pytest.mark.parametrize("name", ["shards/", "dataset.json"])
def test_killed_in_between_and_run_again(clips_run, taken, tmp_path, name):
    undisturbed, uri, _ = taken
    tokens = Path(shutil.copytree(clips_run[0], tmp_path / "tokens"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    words = ("remove", str(tokens), "--source", uri, "--yes")
    dying = {"PYTHONPATH": str(tmp_path / "site"), "DIES_BEFORE": name}
    process = subprocess.run(command(*words), env=environment(dying), check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL
    assert files_of(tokens) != files_of(undisturbed)
    done = bitmill(*words)
    assert done.code == 0, done.err
    assert files_of(tokens) == files_of(undisturbed)


def test_all_that_reads_a_dataset_reads_what_is_left(taken, tmp_path):
    tokens, uri, gone = taken
    assert not any(list(holding(tokens, clip)) for clip in gone)
    left = TokenDataset(tokens, columns=("source", "clip_id"))
    assert uri not in {sample["source"] for sample in left}
    batches = TokenBatches(TokenDataset(tokens), batch_size=2, shuffle=True, shape=FrameWindows(2))
    assert sum(1 for _ in batches) == len(batches)
    inspected = bitmill("inspect", str(tokens))
    assert "removed by a takedown" in inspected.out
    clip = left[0]["clip_id"]
    done = bitmill("preview", str(tokens), "--out", str(tmp_path / "preview.png"), "--clip", clip)
    assert done.code == 0, done.err
    done = bitmill("export", str(tokens), str(tmp_path / "wds"), "--to", "webdataset", "--workers", "1")
    assert done.code == 0, done.err
    assert f"{len(left)} clips" in done.out
    assert not any(
        clip.encode() in path.read_bytes() for path in (tmp_path / "wds").iterdir() for clip in gone
    )


def test_no_resume_retry_or_append_brings_it_back(taken, clips_folder):
    tokens, uri, _ = taken
    before = files_of(tokens)
    words = ("tokenize", str(clips_folder), str(tokens), *CLIPS_OPTIONS)
    for more in ((), ("--append", "--retry-failed")):
        done = bitmill(*words, *more)
        assert done.code == 3, done.err
        assert "nothing to do: every planned shard is committed." in done.out
    assert "nothing to retry: every failed item" in done.out
    after = files_of(tokens)
    assert {name: after[name] for name in before if name != "status.json"} == {
        name: data for name, data in before.items() if name != "status.json"
    }
    assert ledger_of(tokens)[Path(uri).name, None]["reason"] == "removed"


def test_what_is_removed_before_it_was_tokenized_is_not_read(tokenize, clips_folder, tmp_path):
    media, tokens = tmp_path / "media", tmp_path / "tokens"
    media.mkdir()
    clips = sorted(path.resolve() for path in clips_folder.iterdir())[:2]
    for clip in clips:
        shutil.copy(clip, media / clip.name)
    (media / "broken.mp4").write_text("not a video")
    write_tar(media / "pair.tar", [(clip.name, clip.read_bytes()) for clip in clips])
    options = (*CLIPS_OPTIONS[:-1], "sharding.max_sources=3")
    words = ("tokenize", str(media), str(tokens), *options)
    assert bitmill("plan", *words[1:]).code == 0
    gone, kept = clips
    for more in (
        ("--source", str(media / gone.name)),
        ("--source", str(media / "pair.tar"), "--key", gone.name),
    ):
        done = bitmill("remove", str(tokens), *more, "--yes")
        assert "0 clips; to be rewritten: 0 shards; not to be read: 1 source of pending shards" in done.out
    (media / gone.name).unlink()
    done = tokenize(*words[1:])
    assert done.code == 3, done.err
    ended = {name: (row["reason"], row["num_clips"] > 0) for name, row in ledger_of(tokens).items()}
    assert ended == {
        (gone.name, None): ("removed", False),
        (kept.name, None): (None, True),
        ("broken.mp4", None): ("not_media", False),
        ("pair.tar", gone.name): ("removed", False),
        ("pair.tar", kept.name): (None, True),
    }
    columns = ("source", "key")
    left = {(sample["source"], sample["key"]) for sample in TokenDataset(tokens, columns=columns)}
    assert left == {(str(media / kept.name), None), (str(media / "pair.tar"), kept.name)}
