"""Collects code statistics row group by row group."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from bitmill.pipeline.auditing.codes.code_counts import NUM_STRETCHES, CodeStatistics
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.schemas.models.geometry import Geometry


class CodeCollector:
    """Collects ``statistics`` of shards; a ``collector_protocol.Collector``."""

    def __init__(self, geometry: Geometry, num_shards: int, prefix_of: Callable[[str], str]) -> None:
        """``num_shards`` is the planned number. ``prefix_of`` (picklable) maps a source to its prefix."""
        self._is_grid = geometry.layout == "grid"
        self._geometry = geometry
        self.statistics = CodeStatistics(geometry.code, pyramids=not self._is_grid)
        self._num_shards = num_shards
        self._prefix_of = prefix_of

    def add(self, group: RowGroupData) -> None:
        """Count a row group's clips."""
        sources: Any = group.table.column("source").combine_chunks().dictionary_encode()
        prefixes: list[str] = [self._prefix_of(source) for source in sources.dictionary.to_pylist()]
        num_rows = group.shapes_n3[:, 0] if self._is_grid else np.ones(len(group.starts), np.int64)
        self.statistics.add_clips(
            group.codes,
            group.starts,
            np.stack((num_rows, group.num_tokens // num_rows), axis=1),
            [prefixes[place] for place in sources.indices.to_pylist()],
            group.shard * NUM_STRETCHES // self._num_shards,
            scales=None if self._is_grid else self._scales(group.shapes_n3.tolist()),
        )

    def _scales(self, shapes: list[list[int]]) -> list[list[int]]:
        """Tokens of each scale of each clip."""
        found = {(t, h, w): [prod(grid) for grid in self._geometry.scales((t, h, w))] for t, h, w in shapes}
        return [found[t, h, w] for t, h, w in shapes]

    def merge(self, other: "CodeCollector") -> None:
        """See ``Collector``."""
        self.statistics.merge(other.statistics)
