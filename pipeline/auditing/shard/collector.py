"""What an audit learns from codes: every row group is read once, and offered to all who gather from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class RowGroupData:
    """A row group whose pages match their checksums and whose codes are as long as the clips' shapes need."""

    shard: int
    """``shard_index`` of the plan. Groups of one shard come in order."""
    number: int
    """The row group's number in its shard."""
    codes: npt.NDArray[np.uint8]
    """Holds all clips' codes; behind them stand at least ``unpack.SPARE_BYTES`` more.
    The buffer is used again for the next row group: who keeps codes copies them."""
    starts: npt.NDArray[np.int64]
    """int64 [n]: each clip's first byte in ``codes``."""
    shapes_n3: npt.NDArray[np.int64]
    """int64 [n, 3]: frames, height and width of each clip's tokens."""
    table: pa.Table
    """All other columns of the n clips (``bitmill.schemas.dataset.token_shard.TOKEN_COLUMNS``)."""


class Collector(Protocol):
    """Gathers something of the row groups of some consecutive shards, in plan order.

    Pickles, and takes bounded memory however many clips come. Shards are gathered in several processes, then
    merged: taking up one shard after the other must come to the same as merging those that took up one each.
    """

    def add(self, group: RowGroupData) -> None:
        """Take up one more row group."""
        ...

    def merge(self, other: Any) -> None:
        """Take up what another of its kind gathered from the shards that follow; ``other`` may be used up."""
        ...


Collectors = Mapping[str, Callable[[], Collector]]
"""By name, how to make an empty one; a function or ``functools.partial`` that pickles."""
