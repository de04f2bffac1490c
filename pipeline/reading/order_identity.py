"""Identifies the order of batches: saved states name it, so nothing here may change for existing options."""

import hashlib
from collections.abc import Sequence

from bitmill.pipeline.reading.dataset import TokenDataset
from bitmill.pipeline.reading.order.batch_plan import Remainder
from bitmill.pipeline.reading.samples.cut import SampleShape


def identify_order(
    datasets: Sequence[TokenDataset],
    *,
    batch_size: int | None,
    lanes: int,
    window_bytes: int,
    shuffle: bool,
    remainder: Remainder,
    shape: SampleShape,
    weights: Sequence[float] | None,
    batches_per_epoch: int | None,
) -> int:
    """A 63-bit number that identifies everything that determines the order, except seed and position."""
    digest = hashlib.sha256()
    said = (1, batch_size, lanes, window_bytes, shuffle, remainder, repr(shape), weights, batches_per_epoch)
    digest.update(repr(said).encode())
    for dataset in datasets:
        digest.update(b"dataset")
        for part in dataset.clips.parts:
            digest.update("\n".join(part.index.shard_ids).encode())
            # Includes row counts, because shards keep their names when clips are removed.
            digest.update(part.index.num_rows.tobytes())
            for selected in part.selected:
                digest.update(b"all" if selected is None else b"%d " % len(selected) + selected.tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 1
