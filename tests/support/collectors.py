"""What an audit's processes gather in tests; quick to import in those processes."""

from dataclasses import dataclass, field
from typing import Any

from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES


@dataclass
class Seen:
    """A collector that remembers what it was offered."""

    name: str
    groups: list[tuple[int, int, list[str], list[bytes]]] = field(default_factory=list)

    def add(self, group: RowGroupData) -> None:
        ends = group.starts + group.shapes_n3.prod(axis=1) * 18 // 8
        assert len(group.codes) >= int(ends.max()) + SPARE_BYTES
        codes = [
            group.codes[start:end].tobytes()
            for start, end in zip(group.starts.tolist(), ends.tolist(), strict=True)
        ]
        self.groups.append((group.shard, group.number, group.table.column("clip_id").to_pylist(), codes))

    def merge(self, other: Any) -> None:
        self.groups += other.groups


@dataclass
class Dying(Seen):
    """A collector that kills its process."""

    def add(self, group: RowGroupData) -> None:
        raise SystemExit(9)
