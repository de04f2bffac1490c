"""Refuses one string or path where a list of them belongs."""

from pathlib import Path

from bitmill.schemas.errors import WrongArgumentError


def refuse_text(value: object, argument: str) -> None:
    """Raise WrongArgumentError for a string, which would be taken letter by letter, or a path."""
    if isinstance(value, str | Path):
        raise WrongArgumentError(f"{argument} is a list: write {argument}=[{str(value)!r}] for one.")
