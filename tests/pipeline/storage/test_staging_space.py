"""Room for copies, shared by real processes: bounded, waited for, and freed however its holder ends."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bitmill.pipeline.storage import Folder, source_objects, stage, stat
from bitmill.pipeline.storage.staging_space import StagingSpace
from bitmill.schemas.errors import InfrastructureError
from tests.support.commands import environment, wait_until

HOLDER = """
import sys
from pathlib import Path
from bitmill.pipeline.storage.staging_space import StagingSpace
with StagingSpace(Path(sys.argv[1])).room(int(sys.argv[2]), limit_bytes=100) as room:
    Path(room.path).write_bytes(b"x" * 10)
    print("in", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _holder(folder: Path, size_bytes: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds room."""
    words = [sys.executable, "-c", HOLDER, str(folder), str(size_bytes)]
    with subprocess.Popen(
        words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _asking(space: StagingSpace, size_bytes: int) -> Iterator[threading.Event]:
    """A thread that asks for room and keeps it until the block ends; the event tells that it is in."""
    entered, leave = threading.Event(), threading.Event()

    def ask() -> None:
        with space.room(size_bytes, limit_bytes=100):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield entered
    finally:
        leave.set()
        thread.join()


def _names(folder: Path, kind: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{kind}-*"))


def _waiting(folder: Path, count: int) -> None:
    wait_until(lambda: len(_names(folder, "wait")) == count, f"{count} in the queue")


def test_room_is_a_private_file_that_goes_with_the_block(tmp_path):
    folder = tmp_path / "space"
    with StagingSpace(folder).room(7, limit_bytes=None, suffix=".mp4") as room:
        assert room.path.endswith(".mp4")
        assert Path(room.path).stat().st_size == 0
        assert folder.stat().st_mode & 0o777 == 0o700
    assert _names(folder, "copy") == []
    with StagingSpace(folder).room(7, limit_bytes=None, suffix="./../x") as room:
        assert Path(room.path).parent == folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_holder_gives_its_room_and_its_bytes_back(tmp_path, number):
    space = StagingSpace(tmp_path)
    with _holder(tmp_path, 90) as process, _asking(space, 20) as entered:
        _waiting(tmp_path, 1)
        assert not entered.is_set()
        process.send_signal(number)
        wait_until(entered.is_set, "the room of the dead")
        assert [name.split("-")[1] for name in _names(tmp_path, "copy")] == ["20"]
    assert _names(tmp_path, "*") == []


def test_what_the_last_of_the_dead_left_is_swept(tmp_path):
    with _holder(tmp_path, 90) as process:
        process.kill()
        process.wait()
    assert len(_names(tmp_path, "copy")) == 1
    StagingSpace(tmp_path).sweep()
    assert _names(tmp_path, "copy") == []
    with _holder(tmp_path, 90):
        StagingSpace(tmp_path).sweep()
        assert len(_names(tmp_path, "copy")) == 1


def test_they_enter_in_the_order_in_which_they_asked(tmp_path):
    space = StagingSpace(tmp_path)
    with _holder(tmp_path, 90) as process, ExitStack() as late, ExitStack() as early:
        first = early.enter_context(_asking(space, 100))
        _waiting(tmp_path, 1)
        second = late.enter_context(_asking(space, 5))
        _waiting(tmp_path, 2)
        process.kill()
        wait_until(first.is_set, "the first")
        # It would have fitted beside the holder, and does not beside the first.
        assert not second.is_set()
        assert len(_names(tmp_path, "wait")) == 1
        early.close()
        wait_until(second.is_set, "the second")


def test_an_object_over_the_bound_goes_alone(tmp_path):
    space = StagingSpace(tmp_path)
    with ExitStack() as large:
        large.enter_context(space.room(500, limit_bytes=100))
        with _asking(space, 1) as entered:
            _waiting(tmp_path, 1)
            assert not entered.is_set()
            large.close()
            wait_until(entered.is_set, "the small one")


def test_where_nothing_moves_one_goes_over_the_bound_at_a_time(tmp_path):
    now = [0.0]
    space = StagingSpace(tmp_path, patience_s=10.0, clock=lambda: now[0])
    with _holder(tmp_path, 90), _asking(space, 20) as first:
        _waiting(tmp_path, 1)
        with _asking(space, 20) as second:
            _waiting(tmp_path, 2)

            def later() -> bool:
                # From the first's copy on the second is patient anew: the clock must not run away from it.
                if len(_names(tmp_path, "copy")) == 1:
                    now[0] += 1.0
                return first.is_set()

            wait_until(later, "patience")
            at = now[0]
            assert at >= 10.0
            assert not second.is_set()
            now[0] = at + 8.0
            assert not second.wait(1.0)
            wait_until(lambda: now.__setitem__(0, now[0] + 1.0) or second.is_set(), "the second's patience")


def test_a_copy_that_moves_keeps_others_waiting(tmp_path):
    now = [0.0]
    space = StagingSpace(tmp_path, patience_s=10.0, clock=lambda: now[0])
    with ExitStack() as holding:
        room = holding.enter_context(space.room(90, limit_bytes=100))
        with _asking(space, 20) as entered:
            _waiting(tmp_path, 1)
            for _ in range(20):
                room.moved()
                assert not entered.wait(0.3), "a look at least lies between two moves"
                now[0] += 6.0
            holding.close()
            wait_until(entered.is_set, "its room")


def test_a_folder_that_is_not_ours_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "space").symlink_to(tmp_path / "real")
    with pytest.raises(InfrastructureError, match="not a folder of this user"):
        StagingSpace(tmp_path / "space").room(1, limit_bytes=None).__enter__()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InfrastructureError, match="not a folder of this user"):
        StagingSpace(tmp_path / "file").room(1, limit_bytes=None).__enter__()


@pytest.mark.s3
@pytest.mark.parametrize("size_bytes", [0, 3000, 9 << 20])
def test_objects_of_any_size_are_copied_whole_into_their_room(s3, tmp_path, monkeypatch, size_bytes):
    monkeypatch.setattr(source_objects, "StagingSpace", lambda: StagingSpace(tmp_path))
    data = os.urandom(size_bytes)
    Folder(s3).write_bytes("v.bin", data)
    with stage(stat(f"{s3}/v.bin")) as staged:
        (name,) = _names(tmp_path, "copy")
        assert staged.path == str(tmp_path / name)
        assert name.startswith(f"copy-{size_bytes}-")
        assert Path(staged.path).read_bytes() == data
        # The copy is the very file on which the lock lies.
        StagingSpace(tmp_path).sweep()
        assert _names(tmp_path, "copy") == [name]
    assert _names(tmp_path, "*") == []
