"""The collector interface: every row group is read once and passed to all collectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class RowGroupData:
    """A row group whose pages match their checksums and whose codes have the length that the shapes need."""

    shard: int
    """``shard_index`` of the plan. Groups of one shard arrive in order."""
    number: int
    """The row group's number in its shard."""
    codes: npt.NDArray[np.uint8]
    """All clips' codes, followed by at least ``unpack.SPARE_BYTES`` more. The buffer is reused for the next
    row group: copy codes to keep them."""
    starts: npt.NDArray[np.int64]
    """int64 [n]: each clip's first byte in ``codes``."""
    shapes_n3: npt.NDArray[np.int64]
    """int64 [n, 3]: t, h and w of each clip's (full) token grid."""
    num_tokens: npt.NDArray[np.int64]
    """int64 [n]: all tokens of each clip."""
    table: pa.Table
    """All other columns of the n clips (``bitmill.schemas.dataset.token_shard.TOKEN_COLUMNS``)."""


class Collector(Protocol):
    """Collects data from row groups of consecutive shards, in plan order.

    Picklable, and uses bounded memory for any number of clips. Shards are collected in several processes,
    then merged: adding shards one after the other must equal merging collectors of one shard each.
    """

    def add(self, group: RowGroupData) -> None:
        """Add one row group."""
        ...

    def merge(self, other: Any) -> None:
        """Add what another of its type collected from the following shards; ``other`` may be used up."""
        ...


Collectors = Mapping[str, Callable[[], Collector]]
"""Factories of empty collectors by name; functions or ``functools.partial`` that pickle."""
