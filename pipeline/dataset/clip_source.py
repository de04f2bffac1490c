"""Finds the planned source of a stored clip."""

from collections.abc import Mapping
from typing import Any

from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import clip_id


class SourceMatcher:
    """Finds the index of a clip's source in its shard: by URI, and among spans of one object by clip id."""

    def __init__(self, shard: PlannedShard, sampling_rule: dict[str, Any]) -> None:
        self._shard = shard
        self._rule = sampling_rule
        self._places: dict[str, list[int]] = {}
        for place, source in enumerate(shard.sources):
            self._places.setdefault(source.uri, []).append(place)

    def place(self, row: Mapping[str, Any]) -> int:
        """Returns a clip's index, for a row with ``clip_id``, ``source``, ``key`` and ``start_ns``.

        Raises FormatError if no planned source of the shard matches.
        """
        uri, key, start_ns = row["source"], row["key"], row["start_ns"]
        places = self._places.get(uri, [])
        if len(places) == 1:
            return places[0]
        # Hash only the spans that contain the clip's start: an object may have thousands of spans.
        for place in sorted(places, key=lambda place: not self._holds(place, start_ns)):
            if clip_id(uri, key, self._shard.sources[place].span_ns, start_ns, self._rule) == row["clip_id"]:
                return place
        raise FormatError(
            f"The clip {row['clip_id']} matches no planned source of its shard {self._shard.shard_id}."
        )

    def _holds(self, place: int, time_ns: int) -> bool:
        start_ns, end_ns = self._shard.sources[place].span_ns
        return (start_ns is None or start_ns <= time_ns) and (end_ns is None or time_ns < end_ns)
