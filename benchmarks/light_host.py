"""An actor's stand-in that only pauses and reports. Imported by many processes, and so without torch."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from bitmill.jobs.scheduling.actor_events import Assignment
from bitmill.pipeline.shard.progress import ShardProgress, ShardReport
from bitmill.schemas.dataset.card import Totals

REPORTED = "write"
"""The stage whose seconds tell when a shard was reported, by the machine's clock."""


class Host:
    """Answers as many actors; a shard takes ``pause_s`` and reports ``events`` times on the way."""

    def __init__(self, pause_s: float, events: int) -> None:
        self._pause_s = pause_s
        self._events = events
        self._at_work: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._begun: defaultdict[int, int] = defaultdict(int)

    async def ready(self) -> bool:
        """See TokenizerActor."""
        return True

    async def tokenize(
        self, assignment: Assignment, _files: Any, _window: Any
    ) -> AsyncIterator[ShardProgress | ShardReport]:
        """Pause, then report; an actor's shards one after another, its first one from anywhere within."""
        shard, actor = assignment.shard, assignment.actor
        async with self._at_work[actor]:
            part = 1.0 if self._begun[actor] else (actor * 0.618034) % 1
            self._begun[actor] = assignment.number
            for _ in range(self._events):
                await asyncio.sleep(part * self._pause_s / self._events)
                yield ShardProgress(shard_id=shard.shard_id, clips=1, frames=1, tokens=16)
            totals = Totals(ok=len(shard.sources), clips=self._events, frames=self._events)
            yield ShardReport(shard_id=shard.shard_id, totals=totals, seconds={REPORTED: time.time()})

    async def expect(self, _assignment: Assignment) -> None:
        """See TokenizerActor; nothing is decoded here."""

    async def withdraw(self, _number: int) -> bool:
        """See TokenizerActor; every shard is done where it was sent."""
        return False

    async def heartbeat(self) -> int:
        """See TokenizerActor."""
        return time.monotonic_ns()
