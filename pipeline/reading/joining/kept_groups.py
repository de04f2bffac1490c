"""Row groups of joined files that are in memory: the latest used, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

import pyarrow as pa

from bitmill.pipeline.reading.shards.after_fork import renewed_in_forks


class KeptGroups:
    """Loads each table once, also when threads ask together, and drops the least recently used."""

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self.renew()

    def renew(self) -> None:
        """Drop all tables."""
        renewed_in_forks(self)
        self._lock = threading.Lock()
        self._tables: OrderedDict[Hashable, Future[pa.Table]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, load: Callable[[], pa.Table]) -> pa.Table:
        """The table of this key. Raises what loading raises."""
        own = Future[pa.Table]()
        with self._lock:
            known = self._tables.get(key)
            if known is None:
                self._tables[key] = own
            else:
                self._tables.move_to_end(key)
        if known is not None:
            return known.result()
        try:
            table = load()
        except BaseException as error:
            with self._lock:
                self._tables.pop(key, None)
            own.set_exception(error)
            raise
        own.set_result(table)
        self._keep(table.nbytes)
        return table

    def _keep(self, more: int) -> None:
        with self._lock:
            self._bytes += more
            for key in list(self._tables):
                if self._bytes <= self._max_bytes:
                    break
                if self._tables[key].done():
                    self._bytes -= self._tables.pop(key).result().nbytes

    def __getstate__(self) -> float:
        return self._max_bytes

    def __setstate__(self, max_bytes: float) -> None:
        self.__init__(max_bytes)
