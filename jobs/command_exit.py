"""Turns errors of a command into one sentence on stderr and an exit code; the only catch-all handler."""

import errno
import io
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib import metadata

from bitmill.jobs.console import Console, drop_output, flush_output
from bitmill.schemas.errors import (
    EXIT_UNEXPECTED,
    BitmillError,
    InfrastructureError,
    OutputClosedError,
    UsageError,
)

_MAX_DETAIL = 300
"""Maximum characters shown of an unexpected error's message; its file has the rest."""


@contextmanager
def ended_by_code() -> Generator[None]:
    """Wrap a whole command: turn errors into a sentence and an exit code.

    A BitmillError prints its message and exits with its code, as do a disk that is full or denied and a name
    too long for it. Any other error prints a sentence, writes its traceback to a file and exits with
    EXIT_UNEXPECTED. If the output is closed, nothing is printed.
    """
    _open_what_is_closed()
    _spell_out_what_cannot_be_encoded()
    try:
        try:
            yield
        finally:
            flush_output()
    except OutputClosedError as error:
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Typer prints help and usage itself, and exits with code 1 if the output is closed.
        if isinstance(end.__context__, BrokenPipeError):
            sys.exit(OutputClosedError.exit_code)
        raise
    except Exception as error:  # noqa: BLE001
        told = error if isinstance(error, BitmillError) else _of_disk(error)
        _say(f"error: {_unexpected(error) if told is None else told}")
        sys.exit(EXIT_UNEXPECTED if told is None else told.exit_code)


def _open_what_is_closed() -> None:
    """Give stdout and stderr a place where the caller has closed them and Python has none."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _of_disk(error: Exception) -> BitmillError | None:
    """Return the error of a disk that is full or denied as ours; None for any other."""
    if not isinstance(error, OSError):
        return None
    place = error.filename or "the output"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        if error.filename is None:
            drop_output()
        return InfrastructureError(f"No space left on the disk of {place}; free some and run it again.")
    if error.filename and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}:
        return UsageError(f"{place}: {error.strerror}; choose another place, or get access to it.")
    return None


def _spell_out_what_cannot_be_encoded() -> None:
    """Escape characters that stdout or stderr cannot encode, where Python would raise during a job."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str) -> None:
    # Nobody is left to be told.
    with suppress(OutputClosedError, OSError):
        Console(stderr=True, soft_wrap=True).print(text)


def _unexpected(error: Exception) -> str:
    told = "".join(traceback.format_exception_only(error)).strip().split("\n")[0]
    text = "".join(traceback.format_exception(error))
    about = (
        f"bitmill {metadata.version('bitmill')}, Python {platform.python_version()}, {platform.platform()}"
    )
    try:
        # Readable by this user only: the message of an unexpected error may contain anything.
        with tempfile.NamedTemporaryFile(
            "w", prefix="bitmill-error-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(f"{about}\n{text}")
        where = f"its traceback is in {file.name}, to attach to a bug report"
    except OSError:
        sys.stderr.write(text)
        where = "its traceback is printed above, since no file could be written"
    return f"An unexpected error occurred ({told[:_MAX_DETAIL]}); {where}."
