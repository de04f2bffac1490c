"""How many actors a cluster has room for, and what each takes of it: pure arithmetic."""

from dataclasses import dataclass

from bitmill.pipeline.isolation.small_sources import MESSAGE_BYTES
from bitmill.schemas.requests.job import ComputeSpec, Device

_DECODING_CPUS = 1
"""Decoding always has at least one CPU: actors that held them all would wait for ever."""

LEAST_VALUES = 4
"""What a decoding task may give before it is taken, at least: its two marks and the first clips."""

_SHARE_OF_STORE = 0.5
"""Of Ray's object store for clips in flight; what it has no room for is spilled to disk and read again."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What the cluster's living nodes hold altogether."""

    cpus: int
    gpus: int
    object_store_bytes: int | None = None
    """Null where it is not known; then it is no bound."""


def room(compute: ComputeSpec, device: Device, capacity: Capacity) -> int:
    """Actors that the cluster has room for: by GPUs, or one half of the CPUs where there are none.

    The other half of the CPUs decodes. On CPUs there is always room for one, which then takes turns.
    """
    if device == "cuda":
        return capacity.gpus * int(1 / compute.gpus_per_actor + 1e-9)
    return max(1, capacity.cpus // 2)


def actors_wanted(compute: ComputeSpec, device: Device, capacity: Capacity, shards_left: int) -> int:
    """Actors to have now; at least one while there are shards, so that a cluster of no nodes may grow one.

    A fixed number of GPU actors is asked for at once, and Ray starts those that find no room when nodes join;
    on CPUs it is reached as far as decoding keeps its half.
    """
    most = room(compute, device, capacity)
    if compute.actors is not None:
        most = compute.actors if device == "cuda" else min(compute.actors, most)
    return min(max(1, most), shards_left)


def actor_cpus(device: Device, capacity: Capacity) -> int:
    """CPUs that a new actor takes: none beside a GPU, nor where there is but one, which decoding needs."""
    return 0 if device == "cuda" or capacity.cpus == 1 else 1


def actors_too_many(held_cpus: list[int], capacity: Capacity) -> int:
    """How many of the running actors, each holding so many CPUs, must go for decoding to have one."""
    held, too_many = sorted(held_cpus, reverse=True), 0
    while sum(held[too_many:]) > max(0, capacity.cpus - _DECODING_CPUS):
        too_many += 1
    return too_many


@dataclass(frozen=True, kw_only=True)
class DecodeWindowSize:
    """What may be under way in decoding tasks for one actor."""

    items: int
    values: int = LEAST_VALUES
    """That each task may give before they are taken: marks, clips, or messages of many small ones."""


def decode_window_size(
    compute: ComputeSpec, held_cpus: list[int], capacity: Capacity, *, clip_bytes: int
) -> DecodeWindowSize:
    """As much as CPUs can decode and half of the object stores hold; ``clip_bytes`` are a full clip's frames.

    One item more than can be decoded at once, so that a freed CPU finds its next one waiting; fewer where
    their first clips would not fit. Clips are taken item by item, in order: what the stores have room for
    beyond that lets the items behind the first one be decoded to their ends meanwhile.
    """
    actors = max(1, len(held_cpus))
    items = max(_DECODING_CPUS, capacity.cpus - sum(held_cpus)) // actors + 1
    if capacity.object_store_bytes is None:
        return DecodeWindowSize(items=compute.decoders or items)
    room = int(_SHARE_OF_STORE * capacity.object_store_bytes) // actors // max(clip_bytes, MESSAGE_BYTES)
    items = compute.decoders or max(1, min(items, room // LEAST_VALUES))
    return DecodeWindowSize(items=items, values=max(LEAST_VALUES, room // items))
