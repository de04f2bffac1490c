"""Writes the totals of committed shards to a cache file during a run; write errors do not fail the job."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from bitmill.pipeline.dataset.totals_cache import remember_totals
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.errors import BitmillError

KEEP_EVERY_S = 60.0


class TotalsCheckpoint:
    """A context manager around a run; writes the totals on entry, periodically, and on any exit.

    ``of_shards`` are the totals of committed shards; ``stored`` are those in the file. The write on entry
    drops entries of shards that are not committed (any more) before a run can commit them again.
    """

    def __init__(
        self,
        folder: Folder,
        of_shards: Mapping[str, Totals],
        stored: Mapping[str, Totals],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._totals = dict(of_shards)
        self._clock = clock
        self._kept_at = clock()
        self._is_new = self._totals != stored

    def __enter__(self) -> Self:
        self._keep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep()

    def commit(self, shard_id: str, totals: Totals) -> None:
        """Record the totals of a committed shard, as its ledger sums up."""
        self._totals[shard_id] = totals
        self._is_new = True

    def keep(self) -> None:
        """Write the file if totals changed, at most once a minute."""
        if self._clock() - self._kept_at >= KEEP_EVERY_S:
            self._keep()

    def _keep(self) -> None:
        if not self._is_new:
            return
        # Retried a minute later.
        with suppress(BitmillError, OSError):
            remember_totals(self._folder, self._totals)
            self._is_new = False
        self._kept_at = self._clock()
