"""All terminal output goes through here; control characters in untrusted text are escaped."""

import json
import os
import re
import select
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import rich.console
import typer
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperGroup

from bitmill.schemas.errors import OutputClosedError
from bitmill.schemas.text_files import printable, printable_json

_UsageError: Any = typer.BadParameter.__base__
"""Typer's usage error, whose name depends on its version."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Console(rich.console.Console):
    """A console that treats text as untrusted: no markup, no emoji codes, and a string stays one line.

    Escapes unprintable characters in strings, table cells and live views.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, **options: Any) -> None:
        super().__init__(
            stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False, **options
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a string before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(
        self,
        renderable: rich.console.RenderableType,
        options: rich.console.ConsoleOptions | None = None,
    ) -> Iterable[Segment]:
        """Escape all rendered text; rich's cursor control segments pass unchanged."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(_by_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise OutputClosedError, where rich would exit the process."""
        raise _output_closed()


_FEW_COMMANDS = 5


class CommandGroup(TyperGroup):
    """Escapes unprintable characters in usage errors, which quote arguments such as file names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's; an error names the commands of a small group."""
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            if len(self.commands) <= _FEW_COMMANDS and error.message.endswith("."):
                error.message += f" There are: {', '.join(self.commands)}."
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer's."""
        with _usage_spelled_out():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """As typer's."""
        try:
            with _usage_spelled_out():
                return super().invoke(ctx)
        except BrokenPipeError as error:
            # A subcommand's help is written to stdout by typer itself.
            if _output_is_closed():
                raise _output_closed() from error
            # typer would silently exit with code 1.
            raise RuntimeError(f"{error} (between processes, or to a store)") from error


@contextmanager
def _usage_spelled_out() -> Generator[None]:
    try:
        yield
    except _UsageError as error:
        # typer passes on what pydantic put before the reason.
        error.message = printable(error.message.replace("Value error, ", ""))
        raise


def print_json(text: str) -> None:
    """Print a JSON document unwrapped, with escapes if the output's encoding needs them."""
    told = printable_json(text.rstrip("\n"))
    try:
        told.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        told = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in told)
    with _output_open():
        print(told)


def print_output(text: str) -> None:
    """Print a piece of another process's output, without its colours."""
    with _output_open():
        print(_by_lines(_COLOURS.sub("", text)), end="", flush=True)


def flush_output() -> None:
    """Flush stdout. Raises OutputClosedError if it is closed."""
    with _output_open():
        sys.stdout.flush()


@contextmanager
def _output_open() -> Generator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _output_closed() from error


def _output_is_closed() -> bool:
    """Return whether nothing reads the pipe that stdout is."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:
        # It is no file.
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def drop_output() -> None:
    """Redirect stdout to the null device, so that the interpreter's final flush does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _output_closed() -> OutputClosedError:
    drop_output()
    return OutputClosedError("The output was closed; run the same command again to resume.")


def _by_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
