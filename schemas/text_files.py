"""Reads users' text files as UTF-8, and escapes foreign text for terminals."""

import io
import json
from collections.abc import Generator
from contextlib import contextmanager

from bitmill.schemas.errors import UsageError


@contextmanager
def text_of(data: bytes, *, what: str) -> Generator[io.TextIOWrapper]:
    """Yield a user's text for incremental reading: UTF-8, with or without a byte-order mark.

    Line endings are kept. Raises UsageError naming ``what`` if the block reads bytes that are not UTF-8.
    """
    with io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="") as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            raise UsageError(f"{what} is not UTF-8 text; save it as UTF-8.") from error


def read_text(data: bytes, *, what: str) -> str:
    """Return the whole text; otherwise like ``text_of``."""
    with text_of(data, what=what) as text:
        return text.read()


def lines_of(data: bytes, *, what: str) -> list[str]:
    """Return the lines of a text, split at LF and CRLF only: names may contain other line separators."""
    return read_text(data, what=what).replace("\r\n", "\n").split("\n")


def printable(text: str) -> str:
    """Escape unprintable characters of foreign text for a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_json(text: str) -> str:
    """Escape unprintable characters of JSON for a terminal; the values stay the same."""
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
