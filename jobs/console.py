"""The one door to the terminal: what comes from outside is printed without control characters."""

import json
import os
import re
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
"""Typer's own, by whichever name its version has it."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Console(rich.console.Console):
    """A console to which every text is foreign: brackets and colons in it mean nothing, a string is one line.

    What is no plain character is spelled out, in strings, in the cells of tables and in live views.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, **options: Any) -> None:
        super().__init__(
            stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False, **options
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """A string, spelled out before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(
        self,
        renderable: rich.console.RenderableType,
        options: rich.console.ConsoleOptions | None = None,
    ) -> Iterable[Segment]:
        """All that is shown, strings or not; rich's own moves of the cursor are apart from text."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(_by_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raises OutputClosedError, where rich would end the process."""
        raise _output_closed()


class CommandGroup(TyperGroup):
    """Commands whose complaints of arguments, which a shell may have made of names, are spelled out."""

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
            # Not the output's, which has an error of its own: typer would end with code 1 and no word.
            raise RuntimeError(f"{error} (between processes, or to a store)") from error


@contextmanager
def _usage_spelled_out() -> Generator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = printable(error.message)
        raise


def print_json(text: str) -> None:
    """Print a JSON document, not wrapped; in escapes where the output's encoding needs them."""
    told = printable_json(text.rstrip("\n"))
    try:
        told.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        told = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in told)
    with _output_open():
        print(told)


def print_output(text: str) -> None:
    """Print a piece of another process's output, as it comes: without its colours."""
    with _output_open():
        print(_by_lines(_COLOURS.sub("", text)), end="", flush=True)


def flush_output() -> None:
    """Write out what is still held back. Raises OutputClosedError."""
    with _output_open():
        sys.stdout.flush()


@contextmanager
def _output_open() -> Generator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _output_closed() from error


def _output_closed() -> OutputClosedError:
    """Whatever is still held back goes nowhere, so that the interpreter's end does not fail with it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return OutputClosedError("Nobody reads the output any more; run the same command again to resume.")


def _by_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
