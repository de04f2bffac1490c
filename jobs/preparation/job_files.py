"""Reads job files, and options that stand for keys of one."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bitmill.schemas.errors import BadJobError
from bitmill.schemas.requests.job import SamplingSpec
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.text_files import read_text
from bitmill.schemas.yaml_text import parse_yaml


def assignment(text: str) -> tuple[str, Any]:
    """Parse KEY=VALUE into a dotted key and its YAML value. Raises BadJobError."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise BadJobError(f"--set takes KEY=VALUE, not {text!r}.")
    try:
        return name, parse_yaml(value)
    except ValueError as error:
        raise BadJobError(f"--set {name}: {value!r} is not a YAML value: {error}.") from error


def frame_rate(fps: float | None) -> float | None:
    """Typer callback of ``--fps``. Raises BadJobError where a job refuses it."""
    try:
        return SamplingSpec(fps=fps).fps
    except ValidationError as error:
        raise BadJobError(f"--{describe_validation(error)}") from error


def read_job(path: str) -> str:
    """Returns the text of a job file. Raises BadJobError if it cannot be read."""
    try:
        return read_text(Path(path).read_bytes(), what=f"The job file {path}")
    except FileNotFoundError as error:
        raise BadJobError(
            f"There is no job file {path}; to tokenize a folder give SOURCE and OUTPUT."
        ) from error
    except IsADirectoryError as error:
        raise BadJobError(f"{path} is a folder; to tokenize it give SOURCE and OUTPUT.") from error
    except OSError as error:
        raise BadJobError(f"The job file {path} cannot be read: {error.strerror}.") from error
