"""What several grids cost: how many batches of GridBuckets are not full, by grids, clips and window_bytes.

    python -m benchmarks.reader.bucket_cost

Plans an epoch of made-up datasets, without tokens: row groups of 4 MiB of sources of 25 clips, each of one of
the grids at random, equally likely. Tells the share of batches of 64 that are not full with remainder="keep",
their mean size, and the share of samples that "drop" leaves out. Nothing is timed: the figures are the same
anywhere.
"""

import numpy as np

from bitmill.pipeline.reading.order.bucket_counts import BucketCounts
from bitmill.pipeline.reading.order.bucket_order import BucketOrder, BucketRule
from bitmill.pipeline.reading.order.epoch_order import most_lanes, order_pass

MIB = 2**20
CLIPS = {"16×16×16, 9 KiB": 9216, "16×32×56, 63 KiB": 64512}
"""Bytes of a clip of 18-bit tokens."""
NUM_GRIDS = (3, 10, 40)
WINDOWS = (64 * MIB, 256 * MIB, 1024 * MIB)
_NUM_GROUPS, _GROUP_BYTES, _CLIPS_PER_SOURCE, _BATCH = 1024, 4 * MIB, 25, 64


def sizes_of_batches(clip_bytes: int, num_grids: int, window_bytes: int) -> np.ndarray:
    """The sizes of an epoch's batches, int64."""
    num_sources = _GROUP_BYTES // clip_bytes * _NUM_GROUPS // _CLIPS_PER_SOURCE
    grids = np.random.default_rng(0).integers(0, num_grids, num_sources).repeat(_CLIPS_PER_SOURCE)
    groups = np.arange(len(grids)) * _NUM_GROUPS // len(grids)
    counts = BucketCounts.of(groups, grids, np.ones(len(grids), np.int64), num_groups=_NUM_GROUPS)
    codes_bytes = np.full(_NUM_GROUPS, _GROUP_BYTES)
    lanes = most_lanes(_BATCH, codes_bytes, window_bytes)
    order = order_pass(
        counts.of_groups,
        codes_bytes,
        key=1,
        shuffle=True,
        lanes=1,
        window_bytes=window_bytes // lanes,
        single_groups=False,
    )
    rule = BucketRule(sizes=np.full(num_grids, _BATCH), remainder="keep", lanes=lanes)
    buckets = BucketOrder(order, counts, rule)
    plans = [buckets.plan(t, pass_number=0, rank=0, world_size=1) for t in range(buckets.num_batches)]
    return np.array([plan.num_samples for plan in plans])


def main() -> None:
    print(f"| clips | grids | {' | '.join(f'`window_bytes` {size // MIB} MiB' for size in WINDOWS)} |")
    print("|---" * (2 + len(WINDOWS)) + "|")
    for name, clip_bytes in CLIPS.items():
        for num_grids in NUM_GRIDS:
            cells: list[str] = []
            for window_bytes in WINDOWS:
                sizes = sizes_of_batches(clip_bytes, num_grids, window_bytes)
                short, mean = (sizes < _BATCH).mean(), sizes.mean() / _BATCH
                dropped = sizes[sizes < _BATCH].sum() / sizes.sum()
                cells.append(f"{short:.0%}, {mean:.0%}, {dropped:.0%}")
            print(f"| {name} | {num_grids} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
