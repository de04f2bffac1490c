"""Commands in processes that are forked from one that has imported what they need, which takes seconds.

A forked process differs from one that a shell starts only in that its modules are there: it has an
environment, a working folder, arguments, standard streams, ``sys.path`` and an exit code of its own.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import ModuleType
from typing import IO

LIBRARIES = (
    # Of torch, which imports it with an optimizer's first step.
    "torch._dynamo",
    "pandas",
    "aiohttp",
    # Of Ray.
    "requests",
    "jsonschema",
    "filelock",
    "tqdm",
    "pdb",
    "google.protobuf.json_format",
    "google.protobuf.timestamp_pb2",
)
"""Modules of others that ours and Ray's import; Ray itself reads its environment when it is imported."""

_PRELOADED = (
    # All that is slow to import. None starts a thread of Python's.
    "bitmill.jobs.cli",
    "bitmill.jobs.preparation.prepare",
    "bitmill.pipeline.shard.model_encoder",
    "bitmill.pipeline.reading",
    "bitmill.pipeline.inspection.make_preview",
    *LIBRARIES,
    "tests.support.forked",
    "tests.support.freezing",
)

AT_IMPORT = dict(os.environ)
"""The environment, as it was."""


class ForkedCommand:
    """A program at work, in a session of its own; used like a ``subprocess.Popen[str]``.

    ``words`` are the program and its arguments: the path of ``bitmill`` or of a script, or a module's name.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
        self._words = list(words)
        # Files, so that a process that it leaves behind keeps nobody waiting, as it would with pipes.
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        files = (_Inherited(self._out), _Inherited(self._err))
        arguments = (self._words, dict(environment), str(cwd), *files)
        self._process = context().Process(target=_command, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._words, timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has said, once it has ended. Raises subprocess.TimeoutExpired."""
        self.wait(timeout)
        return _read(self._out), _read(self._err)


class _Inherited:
    """A file that goes to the other process as a descriptor."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __reduce__(self):
        from multiprocessing.reduction import DupFd

        return (_detached, (DupFd(self._file.fileno()),))


def _detached(descriptor) -> int:
    return descriptor.detach()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def context() -> ForkServerContext:
    """Of processes that are forked from the one that has imported the libraries."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    # It starts with the first command, in a test that may have set variables of its own: what a
    # sitecustomize.py of its PYTHONPATH does would be done to the commands of all tests after it.
    now = dict(os.environ)
    _set_environment(AT_IMPORT)
    try:
        ensure_running()
    finally:
        _set_environment(now)
    return context


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _command(words: list[str], environment: dict[str, str], cwd: str, out: int, err: int) -> None:
    become(words, environment, cwd, out, err)
    # It would be how this process was started.
    multiprocessing.set_start_method(None, force=True)
    try:
        run(words[0])
    finally:
        # Where a process of multiprocessing ends, the interpreter's own end does not come.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()


def become(words: list[str], environment: dict[str, str], cwd: str, out: int, err: int) -> None:
    """Give this forked process what a program finds when it starts, in a session of its own."""
    os.setsid()
    _set_environment(environment)
    os.chdir(cwd)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.argv = words
    # As a program in the environment's folder of scripts has it: no repository, no current folder.
    standard = {*map(sysconfig.get_path, ("stdlib", "platstdlib")), sysconfig.get_config_var("DESTSHARED")}
    asked = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path = asked + [path for path in sys.path if path in standard or Path(path).name == "site-packages"]
    # Whatever this process spawns would import its main module anew.
    sys.modules["__main__"] = ModuleType("__main__")


def run(program: str) -> None:
    """Run a program or a module as the main one."""
    if os.sep not in program:
        # As `python -m` has it, in the folder of the module.
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    sys.path.insert(0, str(Path(program).parent))
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
        return
    from bitmill.jobs.cli import main

    main()
