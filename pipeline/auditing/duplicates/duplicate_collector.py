"""Collects signatures of a dataset's clips, row group by row group."""

from pathlib import Path

from bitmill.pipeline.auditing.duplicates.lsh import DEFAULT_RADIUS
from bitmill.pipeline.auditing.duplicates.signatures import DuplicateSignatures
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData


class DuplicateCollector:
    """Collects ``signatures`` of shards; a ``collector_protocol.Collector``."""

    def __init__(
        self, bits_per_token: int, radius: float = DEFAULT_RADIUS, folder: Path | None = None
    ) -> None:
        self.signatures = DuplicateSignatures(bits_per_token, radius, folder)

    def add(self, group: RowGroupData) -> None:
        """Add a row group's clips."""
        self.signatures.add(group)

    def merge(self, other: "DuplicateCollector") -> None:
        """See ``Collector``."""
        self.signatures.merge(other.signatures)
