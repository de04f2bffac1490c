"""Distributes an audit's shards to workers in chunks and merges the results in plan order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from bitmill.pipeline.auditing.result import ShardAtHand, ShardsAudit
from bitmill.pipeline.auditing.shard_auditor import ShardAuditor
from bitmill.pipeline.isolation.child_process import ChildProcess, serve

Chunk = Sequence[ShardAtHand]

_MAX_CHUNK = 64
_CHUNKS_PER_WORKER = 8

AHEAD = 4
"""Chunks per worker that may finish before their turn to be merged; their results are in memory."""


@dataclass(frozen=True, kw_only=True)
class AuditProgress:
    """A progress snapshot of an audit."""

    done_shards: int
    shards: int
    done_clips: int
    done_bytes: int
    """Bytes of token shards' codes."""


class ShardReaders(Protocol):
    """Audits chunks somewhere and returns the results in the order of the chunks."""

    def __call__(self, auditor: ShardAuditor, chunks: Sequence[Chunk]) -> Iterator[ShardsAudit]: ...


def cut_chunks(shards: Sequence[ShardAtHand], workers: int) -> list[Chunk]:
    """Split into runs of shards: enough to keep workers busy to the end, few enough to merge quickly."""
    size = max(1, min(_MAX_CHUNK, len(shards) // (workers * _CHUNKS_PER_WORKER)))
    return [shards[first : first + size] for first in range(0, len(shards), size)]


def merge_all(
    auditor: ShardAuditor,
    shards: Sequence[ShardAtHand],
    readers: ShardReaders,
    *,
    workers: int,
    on_progress: Callable[[AuditProgress], None],
) -> ShardsAudit:
    """Audit all shards. Calls ``on_progress`` after each chunk, in this thread."""
    whole = auditor.empty()
    for audit in readers(auditor, cut_chunks(shards, workers)):
        whole.merge(audit)
        on_progress(
            AuditProgress(
                done_shards=whole.planned,
                shards=len(shards),
                done_clips=whole.clips,
                done_bytes=whole.code_bytes,
            )
        )
    return whole


def in_order(chunks: Sequence[Chunk], pool: "AuditPool", *, max_pending: int) -> Iterator[ShardsAudit]:
    """Send chunks to a pool and yield results in order; at most ``max_pending`` are running or waiting."""
    done: dict[int, ShardsAudit] = {}
    sent = given = 0
    while given < len(chunks):
        while sent < len(chunks) and sent - given < max_pending and pool.has_room():
            pool.send(sent, chunks[sent])
            sent += 1
        if given in done:
            yield done.pop(given)
            given += 1
        else:
            done.update(pool.receive())


class AuditPool(Protocol):
    """Audits several chunks at once."""

    def has_room(self) -> bool:
        """True if the pool can start another chunk now."""
        ...

    def send(self, number: int, chunk: Chunk) -> None:
        """Start a chunk."""
        ...

    def receive(self) -> dict[int, ShardsAudit]:
        """Wait for finished chunks and return at least one, keyed by chunk number."""
        ...


@dataclass(frozen=True)
class LocalProcesses:
    """Audits shards in processes of this machine, or in this process if one is enough."""

    workers: int

    def __call__(self, auditor: ShardAuditor, chunks: Sequence[Chunk]) -> Iterator[ShardsAudit]:
        """Audit the chunks. Raises what fails in a process."""
        workers = min(self.workers, len(chunks))
        if workers <= 1:
            yield from map(auditor.audit, chunks)
            return
        pool = _LocalPool(auditor, workers)
        try:
            yield from in_order(chunks, pool, max_pending=AHEAD * workers)
        finally:
            pool.end()


class _LocalPool:
    """Processes that each run at most one chunk."""

    def __init__(self, auditor: ShardAuditor, workers: int) -> None:
        self._idle = [ChildProcess(_work, auditor, doing="read shards") for _ in range(workers)]
        self._busy: dict[Connection[Any, Any], tuple[int, ChildProcess]] = {}

    def has_room(self) -> bool:
        return bool(self._idle)

    def send(self, number: int, chunk: Chunk) -> None:
        process = self._idle.pop()
        process.send(chunk)
        self._busy[process.pipe] = (number, process)

    def receive(self) -> dict[int, ShardsAudit]:
        done: dict[int, ShardsAudit] = {}
        for pipe in wait(list(self._busy)):
            assert isinstance(pipe, Connection)
            number, process = self._busy[pipe]
            done[number] = process.receive()
            del self._busy[pipe]
            self._idle.append(process)
        return done

    def end(self) -> None:
        everyone = [*self._idle, *(process for _, process in self._busy.values())]
        for process in everyone:
            process.let_go()
        for process in everyone:
            process.end()


def _work(pipe: "Connection[Any, Any]", auditor: ShardAuditor) -> None:
    serve(pipe, lambda chunk: pipe.send(auditor.audit(chunk)))
