"""The plan: all sources of a job in a stable order, divided into shards. Written once, before any work."""

from dataclasses import dataclass

import pyarrow as pa

from bitmill.schemas.ids import source_id

PLAN_FORMAT_VERSION = 1

PLAN_SCHEMA = pa.schema(
    [
        # The shard's id and its index in the job, from 0; rows of one shard are consecutive.
        pa.field("shard_id", pa.string(), nullable=False),
        pa.field("shard_index", pa.int32(), nullable=False),
        # Index of the source in the whole job, from 0, without gaps.
        pa.field("source_index", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        # The store's version tag: an ETag, or the modification time of a local file.
        pa.field("version", pa.string(), nullable=False),
        # Wanted span in the source's own clock, half-open; null means from the start, or to the end.
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        # JSON object: the manifest's other columns.
        pa.field("metadata", pa.string()),
    ],
    metadata={"bitmill.format": "plan", "bitmill.format_version": str(PLAN_FORMAT_VERSION)},
)


SourcePlace = tuple[str, int | None, int | None]
"""URI and wanted span: part of clip ids, and unique in a plan."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSource:
    """One row of the plan, without its indices: what to read, and which span of it."""

    uri: str
    size_bytes: int
    version: str
    start_ns: int | None = None
    end_ns: int | None = None
    metadata: str | None = None

    @property
    def id(self) -> str:
        """Content id of this source in the plan."""
        return source_id(self.uri, self.size_bytes, self.version, self.start_ns, self.end_ns)

    @property
    def place(self) -> "SourcePlace":
        """The source's identity, independent of its current bytes."""
        return (self.uri, self.start_ns, self.end_ns)

    @property
    def object(self) -> tuple[str, int, str]:
        """Which bytes it is read from: what the spans of one file have in common."""
        return (self.uri, self.size_bytes, self.version)

    @property
    def is_span(self) -> bool:
        """Whether only a part of the object's time is wanted."""
        return self.span_ns != (None, None)

    @property
    def is_archive(self) -> bool:
        """Whether it is a tar by its name, i.e. a source of many items."""
        return self.uri.lower().endswith(".tar")

    @property
    def span_ns(self) -> tuple[int | None, int | None]:
        """Wanted span [start, end); None is open."""
        return (self.start_ns, self.end_ns)


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """Consecutive sources of the plan that form one token shard and one ledger file."""

    shard_id: str
    shard_index: int
    first_source_index: int
    sources: tuple[PlannedSource, ...]
    attempt: int = 1
    """Above 1 for a retry of failed sources. The card stores it by plan part."""

    @property
    def size_bytes(self) -> int:
        """Source bytes of the shard, an object of which it holds several spans counted once."""
        return sum({source.object: source.size_bytes for source in self.sources}.values())
