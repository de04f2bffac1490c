"""The one door to the terminal: what comes from outside is printed without control characters."""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import rich.console
import typer
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperGroup

from bitmill.schemas.texts import printable, printable_json

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


class CommandGroup(TyperGroup):
    """Commands whose complaints of arguments, which a shell may have made of names, are spelled out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer's."""
        with _usage_spelled_out():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """As typer's."""
        with _usage_spelled_out():
            return super().invoke(ctx)


@contextmanager
def _usage_spelled_out() -> Generator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = printable(error.message)
        raise


def print_json(text: str) -> None:
    """Print a JSON document, not wrapped."""
    print(printable_json(text.rstrip("\n")))


def print_output(text: str) -> None:
    """Print a piece of another process's output, as it comes: without its colours."""
    print(_by_lines(_COLOURS.sub("", text)), end="", flush=True)


def _by_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
