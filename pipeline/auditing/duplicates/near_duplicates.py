"""Finds candidate pairs of near duplicates: clips that share a word and differ in few sampled bits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.count_ones import count_ones
from bitmill.pipeline.auditing.duplicates.collection import ClipCollection
from bitmill.pipeline.auditing.duplicates.lsh import most_differing
from bitmill.pipeline.auditing.duplicates.partitions import Partitions, num_partitions, partition_of
from bitmill.pipeline.splitmix64 import mixed
from bitmill.schemas.arrays import Bools, Int64s
from bitmill.schemas.compiled_code.numba_compile import compiled

FIRST_IN_BUCKET = 4
BEFORE_IN_BUCKET = 4
"""Within a bucket (the clips that share a word), each clip is compared with the first ones and those just
before it, so that the number of pairs grows linearly with the clips.
"""

_PARTNERS = FIRST_IN_BUCKET + BEFORE_IN_BUCKET
_BATCH = 1 << 17
_CLIPS_OF_PAIRS = 1 << 15
"""Number of later clips whose pairs are yielded at a time."""

_BAND = np.dtype([("key", np.uint64), ("clip", np.int64)])
_PAIR = np.dtype([("later", np.int64), ("earlier", np.int64)])


def candidate_pairs(
    clips: ClipCollection, left_out: Bools, radius: float, folder: Path, partition_bytes: int
) -> Iterator[tuple[Int64s, Int64s]]:
    """Yield pairs (later, earlier) of clips that may lie within ``radius``, each once, ascending, in batches.

    Pairs of one later clip stay together. Clips in ``left_out`` [n] are in no pair.
    """
    count = num_partitions(int((~left_out).sum()) * clips.words_nW.shape[1] * _BAND.itemsize, partition_bytes)
    bands = Partitions(folder, "bands", _BAND, count)
    for span in clips.spans():
        records = _band_records(clips, span, left_out)
        bands.add(records, partition_of(records["key"], count))
    pair_count = num_partitions(len(clips), _CLIPS_OF_PAIRS)
    pairs = Partitions(folder, "pairs", _PAIR, pair_count)
    most = most_differing(radius)
    for records in bands.read():
        for found in _pairs_in(records, clips, most):
            pairs.add(found, (found["later"] * pair_count // len(clips)).astype(np.uint16))
    for found in pairs.read():
        yield _unique(found)


def _band_records(clips: ClipCollection, span: slice, left_out: Bools) -> npt.NDArray[np.void]:
    """One record per word of each clip; its key hashes the word, its band and the clip's shape."""
    numbers = span.start + np.flatnonzero(~left_out[span])
    words_nW = clips.words_nW[numbers].astype(np.uint64)
    bands_W = np.arange(words_nW.shape[1], dtype=np.uint64) << np.uint64(32)
    records = np.empty(words_nW.shape, _BAND)
    records["key"] = mixed(mixed(clips.clips["shape"][numbers])[:, None] ^ (words_nW | bands_W))
    records["clip"] = numbers[:, None]
    return records.reshape(-1)


def _pairs_in(
    records: npt.NDArray[np.void], clips: ClipCollection, most: int
) -> Iterator[npt.NDArray[np.void]]:
    # Clips with equal keys stay in order.
    order = np.argsort(records["key"], kind="stable")
    keys, members = records["key"][order], records["clip"][order]
    fresh = np.ones(len(keys), np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    places = np.arange(len(keys))
    offsets = places - np.maximum.accumulate(np.where(fresh, places, 0))
    shared = np.flatnonzero(~fresh)
    for first in range(0, len(shared), _BATCH):
        batch = shared[first : first + _BATCH]
        out = np.empty((len(batch) * _PARTNERS, 2), np.int64)
        found = _compare(batch, offsets, members, clips.words_nW, most, out)
        # A copy, so that the larger buffer can be freed.
        yield out[:found].view(_PAIR)[:, 0].copy()


@compiled
def _compare(batch: Any, offsets: Any, members: Any, words_nW: Any, most: int, out: Any) -> int:  # noqa: PLR0917
    """Write pairs of ``batch``'s members and their partners to ``out`` if few sampled bits differ."""
    found = 0
    for place in batch:
        partners = min(offsets[place], _PARTNERS)
        first = place - offsets[place]
        for number in range(partners):
            other = first + number if number < FIRST_IN_BUCKET else place - partners + number
            later, earlier = members[place], members[other]
            differing = 0
            for word in range(words_nW.shape[1]):
                word_bits = np.uint64(words_nW[later, word] ^ words_nW[earlier, word])
                differing += np.int64(count_ones(word_bits))
                if differing > most:
                    break
            else:
                out[found, 0], out[found, 1] = later, earlier
                found += 1
    return found


def _unique(pairs: npt.NDArray[np.void]) -> tuple[Int64s, Int64s]:
    pairs = pairs[np.lexsort((pairs["earlier"], pairs["later"]))]
    fresh = np.ones(len(pairs), np.bool_)
    fresh[1:] = pairs[1:] != pairs[:-1]
    return pairs["later"][fresh], pairs["earlier"][fresh]
