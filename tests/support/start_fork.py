"""Started by Ray in the place of a program in Python: has a fork of the fork server's run that program.

The two end with each other, and this one with the raylet. It imports nothing that takes time.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path

PLACE = "BITMILL_TEST_FORK_SERVER"
"""A variable: the fork server's socket."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    end_with_parent()
    request = json.dumps([sys.argv[1:], dict(os.environ), str(Path.cwd())]).encode()
    # Nothing is written to it: its end tells of this process's.
    life, _held = os.pipe()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[PLACE])
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2, life])
        connection.sendall(request)
        connection.recv(1)
