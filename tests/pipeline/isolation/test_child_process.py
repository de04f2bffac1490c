"""A worker process: what it answers, how its failures and its death are told, and how it ends."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from bitmill.pipeline.isolation.child_process import ChildProcess, serve
from bitmill.schemas.errors import InfrastructureError, UsageError
from tests.support.commands import WITH_TESTS, finish


def _doubles(pipe, offset):
    def answer(work):
        if work == "a mistake":
            raise UsageError("Numbers only.")
        if work == "the end":
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send(2 * work + offset)

    serve(pipe, answer)


def _doubles_while_a_thread_goes_on(pipe):
    threading.Thread(target=time.sleep, args=(3600,)).start()
    _doubles(pipe, 0)


def _started(work, *args):
    """A worker, and its process."""
    before = multiprocessing.active_children()
    worker = ChildProcess(work, *args, doing="doubles")
    (process,) = (child for child in multiprocessing.active_children() if child not in before)
    return worker, process


def test_it_answers_in_order_and_ends_with_its_pipe():
    worker, process = _started(_doubles, 1)
    worker.send(1)
    worker.send(2)
    assert [worker.receive(1e300), worker.receive()] == [3, 5]
    worker.let_go()
    worker.end()
    assert process.exitcode == 0


_SCRIPT = """
import sys
from bitmill.pipeline.isolation.child_process import ChildProcess
from tests.support.main_module import tells_its_main_module

print("run", flush=True)
child = ChildProcess(tells_its_main_module)
print(child.receive())
child.end()
"""


def test_a_script_needs_no_guard_and_is_not_run_again_by_its_processes(tmp_path):
    (tmp_path / "script.py").write_text(_SCRIPT)
    done = finish([sys.executable, str(tmp_path / "script.py")], extra=WITH_TESTS)
    assert (done.code, done.out, done.err) == (0, "run\nno file\n", "")


@pytest.mark.parametrize(
    ("work", "error", "told"),
    [
        ("a mistake", UsageError, r"^Numbers only\.$"),
        ("the end", InfrastructureError, r"^A process that doubles died \(exit code -9\);"),
    ],
)
def test_what_it_fails_or_dies_by_is_raised_here(work, error, told):
    worker = ChildProcess(_doubles, 0, doing="doubles")
    worker.send(work)
    with pytest.raises(error, match=told):
        worker.receive()
    worker.let_go()
    worker.end()


def test_threads_of_libraries_that_go_on_do_not_hold_up_its_end():
    worker, process = _started(_doubles_while_a_thread_goes_on)
    worker.send(4)
    assert worker.receive() == 8
    worker.let_go()
    worker.end()
    # Not killed after a minute's patience.
    assert process.exitcode == 0
