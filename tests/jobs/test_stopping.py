"""SIGTERM: the first asks, the second ends, and where nobody looks it ends at once."""

import os
import signal

import pytest

from jobs.stopping import Drain, StopRequest, stop_on_sigterm
from schemas.errors import InterruptedJobError


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_first_is_a_request_and_the_second_ends_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_sigterm() as request, request.heeded():
        _terminate()
        assert request.asked
        with pytest.raises(InterruptedJobError, match="Stopped; committed shards stay"):
            _terminate()
    assert signal.getsignal(signal.SIGTERM) is before


def test_before_the_run_it_ends_at_once_and_after_it_the_end_is_not_disturbed():
    with stop_on_sigterm() as request:
        with pytest.raises(InterruptedJobError, match="Run the same command again"):
            _terminate()
        with request.heeded():
            pass
        _terminate()
        assert not request.asked


def test_a_handler_that_ray_puts_in_place_does_not_swallow_it():
    with stop_on_sigterm() as request:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with request.heeded():
            _terminate()
            assert request.asked


def test_the_grace_period_begins_when_the_request_is_seen():
    now = [100.0]
    request = StopRequest()
    drain = Drain(request, 20, lambda: now[0])
    assert (drain.draining, drain.over) == (False, False)
    with request.heeded():
        request.receive()
    assert drain.draining
    now[0] += 19
    assert (drain.draining, drain.over) == (True, False)
    now[0] += 1
    assert drain.over
