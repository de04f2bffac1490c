"""A worker whose parent is killed, in the raylet's place: no Ray."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

from tests.support.commands import HANGS_S

_PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
_WORKER = """
import os, time
from bitmill.jobs.cluster.tokenizing.end_with_raylet import end_with_raylet
end_with_raylet()
print(os.getpid(), flush=True)
time.sleep(900)
"""


def test_a_worker_ends_with_its_parent():
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, _WORKER], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        try:
            assert select.select([worker], [], [], HANGS_S)[0]
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker, signal.SIGKILL)
            os.close(worker)
