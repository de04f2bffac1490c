"""How a command ends where it cannot go on: one sentence on stderr, and an exit code. The one last net."""

import io
import platform
import sys
import tempfile
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib import metadata

from bitmill.jobs.console import Console, flush_output
from bitmill.schemas.errors import EXIT_UNEXPECTED, BitmillError, OutputClosedError

_MAX_DETAIL = 300
"""Characters of an unexpected error's own text that are shown; its file has the rest."""


@contextmanager
def ended_by_code() -> Generator[None]:
    """Around a whole command: an error of ours is its sentence and its code; any other is a sentence, a file
    with the traceback and a code of its own; where nobody reads the output, nothing is said."""
    _spell_out_what_cannot_be_encoded()
    try:
        try:
            yield
        finally:
            flush_output()
    except OutputClosedError as error:
        sys.exit(error.exit_code)
    except SystemExit as end:
        # The consoles of help and usage are not ours: where nobody reads them, they end with code 1.
        if isinstance(end.__context__, BrokenPipeError):
            sys.exit(OutputClosedError.exit_code)
        raise
    except BitmillError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001
        _say(f"error: {_unexpected(error)}")
        sys.exit(EXIT_UNEXPECTED)


def _spell_out_what_cannot_be_encoded() -> None:
    """A terminal or a pipe that is no UTF-8 gets escapes, where Python would raise in the midst of a job."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str) -> None:
    with suppress(OutputClosedError):
        Console(stderr=True, soft_wrap=True).print(text)


def _unexpected(error: Exception) -> str:
    told = "".join(traceback.format_exception_only(error)).strip().split("\n")[0]
    text = "".join(traceback.format_exception(error))
    about = (
        f"bitmill {metadata.version('bitmill')}, Python {platform.python_version()}, {platform.platform()}"
    )
    try:
        # In a file that only this user may read: the text of a foreign error may hold anything.
        with tempfile.NamedTemporaryFile(
            "w", prefix="bitmill-error-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(f"{about}\n{text}")
        where = f"its traceback is in {file.name}, which belongs to a report of it"
    except OSError:
        sys.stderr.write(text)
        where = "its traceback stands above, since no file could be written"
    return f"Something went wrong that bitmill does not know ({told[:_MAX_DETAIL]}); {where}."
