"""``bitmill config keys``."""

from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.keys import keys_of
from bitmill.schemas.requests.token_training import TokenTrainSpec
from bitmill.schemas.requests.training import TrainSpec

_FILES = {"job": JobSpec, "train": TrainSpec, "token-model": TokenTrainSpec}


def show_keys(file: str, find: str) -> None:
    """Print the keys of a file as a table. Raises UsageError if none has the word."""
    wanted = [key for key in keys_of(_FILES[file]) if find.lower() in f"{key.name} {key.meaning}".lower()]
    if not wanted:
        raise UsageError(f"No key of this file has {find!r} in its name or meaning.")
    table = Table("key", "takes", "default", "meaning", box=None, pad_edge=False)
    for key in wanted:
        default = "required" if key.default is None else key.default
        table.add_row(key.name, _plain(key.kind), default, _plain(key.meaning))
    Console().print(table)


def _plain(text: str) -> str:
    return text.replace("`", "")
