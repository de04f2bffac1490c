"""Draws a sample of clips: those whose ids rank first in an order that depends on a seed."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.splitmix64 import derive_key, mixed
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.reports.audit_report import ClipPlace


@dataclass(frozen=True, kw_only=True)
class DrawnClip:
    """A clip of the sample, with its codes."""

    rank: int
    """Its rank in the seed's order, in [0, 2^64)."""
    clip: ClipPlace
    shape: tuple[int, int, int]
    codes: bytes
    frame_pts_ns: tuple[int, ...]


class SampleDrawer:
    """The ``num_clips`` clips whose ids rank first, independent of workers and order.

    Ids do not depend on the tokenizer, so datasets with the same sources and sampling draw the same clips.
    """

    def __init__(self, *, num_clips: int, seed: int, bits_per_token: int) -> None:
        self._num_clips = num_clips
        self._seed = seed
        self._bits_per_token = bits_per_token
        self._drawn: list[DrawnClip] = []

    @property
    def clips(self) -> list[DrawnClip]:
        """The drawn clips, in the seed's order."""
        return self._drawn

    def add(self, group: RowGroupData) -> None:
        """Consider a row group's clips."""
        if not self._num_clips or not len(group.starts):
            return
        clip_ids: list[Any] = group.table.column("clip_id").to_pylist()
        ranks = ranks_of(clip_ids, self._seed)
        full = len(self._drawn) == self._num_clips
        rows = np.flatnonzero(ranks < np.uint64(self._drawn[-1].rank)) if full else np.arange(len(ranks))
        first = rows[np.argsort(ranks[rows], kind="stable")][: self._num_clips]
        self._keep([self._drawn_clip(group, row, int(ranks[row])) for row in first.tolist()])

    def merge(self, other: "SampleDrawer") -> None:
        """Add another's candidates."""
        self._keep(other.clips)

    def _keep(self, clips: list[DrawnClip]) -> None:
        merged = heapq.merge(self._drawn, clips, key=lambda one: (one.rank, one.clip.clip_id))
        self._drawn = [one for one, _ in zip(merged, range(self._num_clips), strict=False)]

    def _drawn_clip(self, group: RowGroupData, row: int, rank: int) -> DrawnClip:
        values: dict[str, Any] = {
            name: group.table.column(name)[row].as_py()
            for name in ("clip_id", "source", "key", "start_ns", "end_ns", "frame_pts_ns")
        }
        rows, height, width = group.shapes_n3[row].tolist()
        start = int(group.starts[row])
        size = packed_size(int(group.num_tokens[row]), self._bits_per_token)
        return DrawnClip(
            rank=rank,
            frame_pts_ns=tuple(values.pop("frame_pts_ns")),
            clip=ClipPlace(**values),
            shape=(rows, height, width),
            codes=group.codes[start : start + size].tobytes(),
        )


def ranks_of(clip_ids: list[str], seed: int) -> npt.NDArray[np.uint64]:
    """The rank of each id in the seed's order, uint64 [n]: its first 64 bits, mixed with the seed."""
    return mixed(np.fromiter(map(_prefix, clip_ids), np.uint64, len(clip_ids)), derive_key(seed))


def _prefix(clip_id: str) -> int:
    try:
        return int(clip_id[:16], 16) & (2**64 - 1)
    except ValueError:
        # Not a valid id, which is a separate finding; it still gets a rank.
        return derive_key(*clip_id.encode("utf-8", "replace"))
