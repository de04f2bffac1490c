"""What is told when the process ends on which a local Ray stands: another process in its place, no Ray."""

import signal
import subprocess
from collections.abc import Generator

import pytest

from bitmill.jobs.cluster.connection import raylet
from bitmill.jobs.cluster.connection.raylet import raylet_watched
from bitmill.schemas.errors import InfrastructureError
from tests.support.commands import wait_until


@pytest.fixture
def process(monkeypatch) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "900"]) as started:
        monkeypatch.setattr(raylet, "_raylet_pid", lambda: started.pid)
        yield started
        started.kill()


def _killed(process: subprocess.Popen[bytes]) -> None:
    with raylet_watched():
        process.kill()
        wait_until(lambda: False, "an interruption")


def test_its_end_is_told_at_once(process):
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(InfrastructureError, match=r"\(raylet\) was killed .* same command"):
        _killed(process)
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_signal_that_comes_just_before_a_call_that_blocks_is_not_the_last(process, monkeypatch):
    send, sent = signal.pthread_kill, list[int]()

    def lose_the_first(thread: int, number: int) -> None:
        sent.append(number)
        if len(sent) > 1:
            send(thread, number)

    monkeypatch.setattr(raylet, "_AGAIN_S", 0.01)
    monkeypatch.setattr(signal, "pthread_kill", lose_the_first)
    with pytest.raises(InfrastructureError, match=r"\(raylet\) was killed"):
        _killed(process)


def test_ctrl_c_stays_what_it_is(process):
    with pytest.raises(KeyboardInterrupt), raylet_watched():
        raise KeyboardInterrupt


def test_its_end_after_the_block_is_nothing(process):
    with raylet_watched():
        assert process.poll() is None
    process.kill()
    process.wait()
