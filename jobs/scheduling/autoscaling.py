"""Computes how many actors fit a cluster and what each may use. Pure arithmetic."""

from dataclasses import dataclass

from bitmill.pipeline.isolation.source_bundles import MESSAGE_BYTES
from bitmill.schemas.requests.job import ComputeSpec, Device

_DECODING_CPUS = 1
"""CPUs always left for decoding: actors that took them all would wait forever for clips."""

LEAST_VALUES = 4
"""Minimum unread outputs per decoding task: its start and end marks and the first clips."""

_MOST_SHARES = 4
"""Limits how many tasks wait for a CPU where all actors wait for clips."""

_SHARE_OF_STORE = 0.5
"""Share of Ray's object store used for clips in flight; Ray spills anything beyond the store to disk."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Total resources of the cluster's live nodes."""

    cpus: int
    gpus: int
    object_store_bytes: int | None = None
    """None if unknown, and then not a limit."""


def room(compute: ComputeSpec, device: Device, capacity: Capacity) -> int:
    """Returns how many actors fit the cluster: by GPUs, or half of the CPUs for device ``cpu``.

    The other half of the CPUs decodes. On CPUs at least one actor fits, sharing a CPU with decoding if
    needed.
    """
    if device == "cuda":
        return capacity.gpus * int(1 / compute.gpus_per_actor + 1e-9)
    return max(1, capacity.cpus // 2)


def actors_wanted(compute: ComputeSpec, device: Device, capacity: Capacity, shards_left: int) -> int:
    """Returns how many actors to have; at least one while shards are left, so that an empty cluster grows.

    A fixed number of GPU actors is requested at once, and Ray starts the pending ones when nodes join; on
    CPUs the number is capped so that decoding keeps its half.
    """
    most = room(compute, device, capacity)
    if compute.actors is not None:
        most = compute.actors if device == "cuda" else min(compute.actors, most)
    return min(max(1, most), shards_left)


def actor_cpus(device: Device, capacity: Capacity) -> int:
    """Returns the CPUs a new actor reserves: 0 with a GPU, and 0 on one CPU, which decoding needs; else 1."""
    return 0 if device == "cuda" or capacity.cpus == 1 else 1


def actors_too_many(held_cpus: list[int], capacity: Capacity) -> int:
    """Returns how many actors, with ``held_cpus`` CPUs each, must end so that decoding has a CPU."""
    held, too_many = sorted(held_cpus, reverse=True), 0
    while sum(held[too_many:]) > max(0, capacity.cpus - _DECODING_CPUS):
        too_many += 1
    return too_many


@dataclass(frozen=True, kw_only=True)
class DecodeWindowSize:
    """Limits on decoding tasks in flight for one actor."""

    items: int
    """To begin with: the actor's even share of the CPUs."""
    most: int
    """Items, where the actor waits for clips."""
    room: int
    """Unread outputs of all tasks: marks, clips, or messages with many small clips."""

    def values(self, items: int) -> int:
        """Returns the maximum unread outputs per task, if so many items are decoded at once."""
        return max(LEAST_VALUES, self.room // items)


def decode_window_size(
    compute: ComputeSpec, held_cpus: list[int], capacity: Capacity, *, clip_bytes: int
) -> DecodeWindowSize:
    """Returns what the CPUs can decode and half the object store can hold; ``clip_bytes`` is per full clip.

    Allows one item more than can be decoded at once, so that a freed CPU has its next item queued; fewer if
    their first clips would not fit. Clips are read item by item, in order: remaining room in the store lets
    the later items be decoded to their ends meanwhile. Actors that wait for clips may use what others leave,
    up to ``_MOST_SHARES`` of their own share.
    """
    actors = max(1, len(held_cpus))
    decoding_cpus = max(_DECODING_CPUS, capacity.cpus - sum(held_cpus))
    items = decoding_cpus // actors + 1
    most = min(_MOST_SHARES * items, decoding_cpus + 1)
    room = 0
    if capacity.object_store_bytes is not None:
        room = int(_SHARE_OF_STORE * capacity.object_store_bytes) // actors // max(clip_bytes, MESSAGE_BYTES)
        items, most = (max(1, min(number, room // LEAST_VALUES)) for number in (items, most))
    if compute.decoders is not None:
        items = most = compute.decoders
    return DecodeWindowSize(items=items, most=most, room=room)
