"""SIGTERM during a run: the first asks, the second ends at once, and afterwards all is as before."""

import os
import signal

import pytest

from bitmill.jobs.scheduling.graceful_shutdown import Drain, StopRequest
from bitmill.jobs.scheduling.signals import drained_on_sigterm
from bitmill.schemas.errors import InterruptedJobError


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_first_is_a_request_and_the_second_ends_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with drained_on_sigterm() as request:
        assert not request.asked
        _terminate()
        assert request.asked
        with pytest.raises(InterruptedJobError, match="Interrupted; committed shards stay"):
            _terminate()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_grace_period_begins_when_the_request_is_seen():
    now = [100.0]
    request = StopRequest()
    drain = Drain(request, 20, lambda: now[0])
    assert (drain.draining, drain.over) == (False, False)
    request.receive()
    assert drain.draining
    now[0] += 19
    assert (drain.draining, drain.over) == (True, False)
    now[0] += 1
    assert drain.over
