"""Forks Ray's programs in Python off a process that has imported what they need, which takes them seconds.

A real raylet starts and ends them. What differs is that other people's modules are there: Ray's read their
environment when they are imported, and those of bitmill may be changed by a test's sitecustomize.py.
"""

import fcntl
import gc
import importlib
import json
import os
import signal
import site
import socket
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from tests.support.forked import LIBRARIES, become, run
from tests.support.start_fork import end_with_parent

_OF_WORKERS = (
    "PIL.Image",
    "PIL.ImageOps",
    "av",
    "braceexpand",
    "fsspec.implementations.local",
    # Of numba, which imports them with the first compiled function that it loads.
    "numba.cpython.randomimpl",
    "numba.cpython.unicode",
    "numba.misc.quicksort",
    "numba.np.arrayobj",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic.fields",
    "pydantic.functional_serializers",
    "pydantic.json_schema",
    "pydantic.types",
    "safetensors.torch",
    "torch",
    "yaml",
    # Of Ray.
    "logging.handlers",
    "msgpack",
    "packaging.version",
    "tqdm.auto",
)


def serve(place: str) -> None:
    """Fork for each connection to the socket at ``place``, until this process's parent ends."""
    end_with_parent()
    for name in (*LIBRARIES, *_OF_WORKERS):
        importlib.import_module(name)
    # What is there by now is no garbage: see freezing.py.
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(128)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Run the program that is asked for, as this process."""
    size, (source, out, err, life), *_ = socket.recv_fds(connection, 8, 4)
    with connection.makefile("rb") as stream:
        words, environment, folder = json.loads(stream.read(int.from_bytes(size, "big")))
    # By the end of its input an agent learns of the raylet's.
    os.dup2(source, 0)
    # The kernel kills this process when the one that asked for it ends.
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETSIG, int(signal.SIGKILL))
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)
    program = [_worker_program(), *words] if words[0].startswith("--") else words
    code: object = 1
    try:
        become(program, environment, folder, out, err)
        site.execsitecustomize()
        run(program[0])
        code = 0
    except SystemExit as end:
        code = end.code
    except Exception:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else bool(code))


def _worker_program() -> str:
    """Where Ray's program of a worker is, found without importing Ray."""
    found = find_spec("ray")
    assert found is not None
    assert found.submodule_search_locations
    return str(Path(found.submodule_search_locations[0]) / "_private" / "workers" / "default_worker.py")


if __name__ == "__main__":
    serve(sys.argv[1])
