"""Text that comes from outside: how it is read, and how it is spelled where it is shown."""

import io
import json
from collections.abc import Generator
from contextlib import contextmanager

from bitmill.schemas.errors import UsageError


@contextmanager
def text_of(data: bytes, *, what: str) -> Generator[io.TextIOWrapper]:
    """A text that a person handed over, to be read bit by bit: UTF-8, with or without a byte-order mark.

    Lines end as they are written. Raises UsageError, naming ``what``, where the block meets other bytes.
    """
    with io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="") as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            raise UsageError(f"{what} is no UTF-8 text; save it as UTF-8.") from error


def read_text(data: bytes, *, what: str) -> str:
    """As ``text_of``, the whole of it at once."""
    with text_of(data, what=what) as text:
        return text.read()


def lines_of(data: bytes, *, what: str) -> list[str]:
    """As ``read_text``, by lines. Names may hold what else counts as a line's end: these are LF and CRLF."""
    return read_text(data, what=what).replace("\r\n", "\n").split("\n")


def printable(text: str) -> str:
    """Foreign text for a terminal: what is no plain character is spelled out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_json(text: str) -> str:
    """JSON for a terminal: the same values, with what is no plain character as its escape."""
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
