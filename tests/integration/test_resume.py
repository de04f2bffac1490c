"""The promise of exactness: kill the job anywhere, run the same command again, get the same bytes."""

import os
import signal
from pathlib import Path

import pytest

from bitmill.schemas.reports.status_file import STATUS_FILE, read_status
from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import bitmill, differences, ended, start, stored_files, wait_until

pytestmark = pytest.mark.ray


def test_the_undisturbed_run_is_complete(clips_run):
    _, done = clips_run
    assert done.code == 0, done.err
    assert done.err == ""


@pytest.mark.parametrize("committed", [0, 2])
def test_killed_in_the_middle_and_run_again(tokenize, clips_folder, clips_run, tmp_path, committed):
    undisturbed, _ = clips_run
    output = tmp_path / "tokens"
    arguments = ("tokenize", str(clips_folder), str(output), *CLIPS_OPTIONS)
    process = start(*arguments, "--set", "compute.actors=1")
    if committed:
        shards = output / "shards"
        wait_until(lambda: shards.exists() and len(list(shards.iterdir())) >= committed, "a commit")
    else:
        wait_until((output / "dataset.json").exists, "the plan")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = stored_files(output)
    done = tokenize(*arguments[1:])
    assert done.code == 0, done.err
    after = stored_files(output)
    assert differences(after, stored_files(undisturbed)) == {}
    kept = {name for name in left if name.startswith("shards/")}
    assert len(kept) >= committed
    assert all(after[name] == left[name] for name in kept)


def test_a_run_killed_before_its_card_starts_anew(clips_folder, clips_run, tmp_path):
    output = tmp_path / "tokens"
    done = bitmill("plan", str(clips_folder), str(output), *CLIPS_OPTIONS)
    assert done.code == 0, done.err
    assert "4 shards, 0 of them committed" in done.out
    (output / "dataset.json").unlink()
    done = bitmill("plan", str(clips_folder), str(output), *CLIPS_OPTIONS)
    assert done.code == 0, done.err
    assert (output / "dataset.json").read_bytes() != b""
    plan = "plan/part-00000.parquet"
    assert (output / plan).read_bytes() == (clips_run[0] / plan).read_bytes()


def test_the_end_of_rays_own_process_is_told_and_resumed(tokenize, clips_folder, clips_run, tmp_path):
    undisturbed, _ = clips_run
    arguments = (str(clips_folder), str(tmp_path / "tokens"), *CLIPS_OPTIONS)
    process = start("tokenize", *arguments)
    wait_until(lambda: _actors_at_work(process.pid), "an actor at work")
    children = _children(process.pid)
    # It starts no more of Ray's own processes: no dashboard, no autoscaler, no forwarding of logs.
    assert sorted(children) == ["gcs_server", "raylet"]
    # Of the node's agent only what Ray has without its dashboard.
    assert "--minimal" in Path(f"/proc/{children['raylet']}/cmdline").read_text()
    os.kill(children["raylet"], signal.SIGKILL)
    done = ended(process)
    assert done.code == 5, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "(raylet) was killed from outside" in line
    status = read_status((tmp_path / "tokens" / STATUS_FILE).read_bytes(), origin="here")
    assert (status.state, status.exit_code) == ("failed", 5)
    assert tokenize(*arguments).code == 0
    assert differences(stored_files(tmp_path / "tokens"), stored_files(undisturbed)) == {}


def _children(driver: int) -> dict[str, int]:
    """Process ids of a driver's children, by program or script."""
    words = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    return {_program(_title(Path("/proc") / pid).split()): int(pid) for pid in words}


def _program(words: list[str]) -> str:
    is_python = Path(words[0]).name.startswith("python")
    return Path(next(word for word in words if word.endswith(".py")) if is_python else words[0]).name


def _actors_at_work(driver: int) -> list[int]:
    """Process ids of this driver's tokenizer actors; Ray names a process by what it runs."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _title(folder).startswith("ray::TokenizerActor.tokenize"):
            ancestors, pid = set[int](), int(folder.name)
            while pid > 1:
                ancestors.add(pid)
                pid = _parent(pid)
            if driver in ancestors:
                found.append(int(folder.name))
    return found


def _title(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
