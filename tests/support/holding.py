"""A job that goes no further than a test lets it: its actors begin no shard behind a number of them."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.changed_modules import change_modules
from tests.support.commands import command, environment
from tests.support.foreign import foreign_folder
from tests.support.forked import ForkedCommand

_CODE = """
import os
import time


def held(tokenize_shard):
    def tokenize(planned, *rest):
        while planned.shard_index >= int(os.environ["HOLD_AT"]):
            open(os.environ["HELD"], "w").close()
            time.sleep(0.05)
        yield from tokenize_shard(planned, *rest)

    return tokenize


def change(module):
    module.tokenize_shard = held(module.tokenize_shard)


CHANGES = {"bitmill.pipeline.shard.shard_loop": change}
"""


@dataclass(frozen=True)
class Held:
    """A job that commits some of its shards, and then waits."""

    process: ForkedCommand
    _reached: Path

    def is_held(self) -> bool:
        """Whether an actor has begun the shard behind them. The last of them may not be committed yet."""
        return self._reached.exists()


def start_held(site: Path, *arguments: str, num_shards: int) -> Held:
    """Start a job on a Ray of its own that commits this many of its first shards, and then waits."""
    change_modules(site, _CODE)
    reached = site / "held"
    variables = environment({"PYTHONPATH": str(site), "HOLD_AT": str(num_shards), "HELD": str(reached)})
    return Held(ForkedCommand(command(*arguments), variables, foreign_folder()), reached)
