"""Which planned source of its shard a stored clip came from."""

from collections.abc import Mapping
from typing import Any

from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import clip_id


class SourceMatcher:
    """Finds the place of a clip's source in a shard: by its URI; where several spans of one object are
    planned, by the clip's id, which only one of them gives.
    """

    def __init__(self, shard: PlannedShard, sampling_rule: dict[str, Any]) -> None:
        self._shard = shard
        self._rule = sampling_rule
        self._places: dict[str, list[int]] = {}
        for place, source in enumerate(shard.sources):
            self._places.setdefault(source.uri, []).append(place)

    def place(self, row: Mapping[str, Any]) -> int:
        """The place in the shard, for a row with ``clip_id``, ``source``, ``key`` and ``start_ns``.

        Raises FormatError where no planned source of the shard fits.
        """
        uri, key, start_ns = row["source"], row["key"], row["start_ns"]
        places = self._places.get(uri, [])
        if len(places) == 1:
            return places[0]
        # Where an object has thousands of spans, hashing is dear: few of them hold the clip's start.
        for place in sorted(places, key=lambda place: not self._holds(place, start_ns)):
            span_ns = self._shard.sources[place].span_ns
            if clip_id(uri, key, span_ns, start_ns, self._rule) == row["clip_id"]:
                return place
        raise FormatError(
            f"The clip {row['clip_id']} is of no source that is planned in its shard {self._shard.shard_id}."
        )

    def _holds(self, place: int, time_ns: int) -> bool:
        start_ns, end_ns = self._shard.sources[place].span_ns
        return (start_ns is None or start_ns <= time_ns) and (end_ns is None or time_ns < end_ns)
