"""Laws of batches of one bucket each: every sample once, ranks tile a batch, batch t depends on t alone."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.order.bucket_counts import BucketCounts
from bitmill.pipeline.reading.order.bucket_order import BucketOrder, BucketRule
from bitmill.pipeline.reading.order.epoch_order import order_pass

NUM_BUCKETS = 4

GROUPS = st.lists(
    st.tuples(st.lists(st.integers(0, NUM_BUCKETS - 1), max_size=12), st.integers(1, 40)), max_size=10
)
"""Of each row group: the buckets of its samples, and the bytes of its codes."""


class Case(NamedTuple):
    groups: list[tuple[list[int], int]]
    key: int
    sizes: list[int]
    """Samples of a full batch of each bucket."""
    remainder: str
    lanes: int
    shuffle: bool
    lane_bytes: int


CASES = st.builds(
    Case,
    GROUPS,
    st.integers(0, 2**32),
    st.lists(st.integers(1, 7), min_size=NUM_BUCKETS, max_size=NUM_BUCKETS),
    st.sampled_from(["drop", "pad", "keep"]),
    st.integers(1, 4),
    st.booleans(),
    st.integers(1, 90),
)
Sample = tuple[int, int]
"""Row group, and number in it."""


class Read:
    """The batches of a case, read as the reader does: takes of windows that are arranged."""

    def __init__(self, case: Case) -> None:
        self.case = case
        runs = [(group, bucket, 1) for group, (buckets, _) in enumerate(case.groups) for bucket in buckets]
        self.counts = BucketCounts.of(*np.array(runs, np.int64).reshape(-1, 3).T, num_groups=len(case.groups))
        order = order_pass(
            self.counts.of_groups,
            np.array([size for _, size in case.groups], np.int64),
            key=case.key,
            shuffle=case.shuffle,
            lanes=1,
            window_bytes=case.lane_bytes,
            single_groups=False,
        )
        rule = BucketRule(sizes=np.array(case.sizes), remainder=case.remainder, lanes=case.lanes)
        self.order = BucketOrder(order, self.counts, rule)

    def bucket(self, sample: Sample) -> int:
        return self.case.groups[sample[0]][0][sample[1]]

    def window(self, number: int) -> list[Sample]:
        """A window's samples in the order in which it is laid out."""
        groups = self.order.order.groups_of(number).tolist()
        held = [(group, one) for group in groups for one in range(len(self.case.groups[group][0]))]
        samples, buckets = self.order.arrange(number, np.array([self.bucket(one) for one in held]))
        laid = [held[one] for one in samples.tolist()]
        assert [self.bucket(one) for one in laid] == buckets.tolist()
        return laid

    def batch(self, number: int, rank: int = 0, world_size: int = 1) -> list[tuple[Sample, bool]]:
        """Samples of a rank's share and whether they are valid, by place."""
        plan = self.order.plan(number, pass_number=3, rank=rank, world_size=world_size)
        found: dict[int, tuple[Sample, bool]] = {}
        for take in plan.takes:
            assert (take.stream, take.pass_number) == (0, 3)
            laid = self.window(take.window)
            for one in range(take.num_samples):
                assert take.place + one not in found
                found[take.place + one] = (laid[take.first + one], take.valid)
        assert sorted(found) == list(range(len(found)))
        assert {self.bucket(sample) for sample, _ in found.values()} <= {plan.grid}
        if world_size == 1:
            assert len(found) == plan.num_samples
        return [found[place] for place in range(len(found))]

    def epoch(self) -> list[list[tuple[Sample, bool]]]:
        return [self.batch(number) for number in range(self.order.num_batches)]

    def blocks(self) -> list[set[int]]:
        """The windows of each block."""
        bounds = self.order._bounds
        return [set(range(a, b)) for a, b in pairwise(bounds)]


@given(CASES)
def test_every_sample_comes_once_in_a_batch_of_its_bucket(case):
    read = Read(case)
    epoch = read.epoch()
    seen = Counter(sample for batch in epoch for sample, valid in batch if valid)
    assert max(seen.values(), default=1) == 1
    every = {(group, one) for group, (own, _) in enumerate(case.groups) for one in range(len(own))}
    assert set(seen) <= every
    for batch in epoch:
        assert batch
        full = case.sizes[read.bucket(batch[0][0])]
        assert len(batch) <= full
        if case.remainder != "keep":
            assert len(batch) == full
        if case.remainder != "pad":
            assert all(valid for _, valid in batch)
    if case.remainder != "drop":
        assert set(seen) == every
        return
    missing = Counter(
        (number, read.bucket(sample))
        for number, windows in enumerate(read.blocks())
        for window in windows
        for group in read.order.order.groups_of(window).tolist()
        for sample in ((group, one) for one in range(len(case.groups[group][0])))
        if sample not in seen
    )
    # Of each bucket, a block leaves fewer samples out than a batch takes.
    assert all(count < case.sizes[bucket] for (_, bucket), count in missing.items())


@given(CASES, st.integers(1, 9))
def test_ranks_shares_are_together_the_batch_whatever_their_number(case, world_size):
    read = Read(case)
    for number in range(read.order.num_batches):
        parts = [read.batch(number, rank, world_size) for rank in range(world_size)]
        assert [sample for part in parts for sample in part] == read.batch(number)
        lengths = [len(part) for part in parts]
        assert max(lengths) - min(lengths) <= 1


@given(CASES, st.randoms(use_true_random=False))
def test_a_batch_is_a_function_of_its_number(case, random):
    expected = Read(case).epoch()
    numbers = list(range(len(expected)))
    random.shuffle(numbers)
    fresh = Read(case)
    assert all(fresh.batch(number) == expected[number] for number in numbers)


@given(CASES)
def test_batches_are_of_a_block_and_of_what_the_one_before_left(case):
    """Whoever reads keeps the windows of two blocks, each at most as many as there are lanes."""
    read = Read(case)
    blocks = read.blocks()
    assert all(1 <= len(block) <= case.lanes for block in blocks)
    assert sorted(window for block in blocks for window in block) == list(range(read.order.order.num_windows))
    reached, needed = 0, None
    opened: set[int] = set()
    for number in range(read.order.num_batches):
        plan = read.order.plan(number, pass_number=0, rank=0, world_size=1)
        windows = {take.window for take in plan.takes}
        own = [one for one, block in enumerate(blocks) if block & windows]
        assert max(own) >= reached
        assert set(own) <= {max(own) - 1, max(own)}
        reached = max(own)
        assert windows <= plan.needed
        # What was given up is not needed again.
        assert needed is None or not (plan.needed - needed) & opened
        opened |= windows | (needed or set())
        needed = plan.needed


@given(CASES)
def test_a_bucket_with_enough_samples_in_each_block_is_short_at_most_at_the_end(case):
    read = Read(case._replace(remainder="keep"))
    sizes: dict[int, list[int]] = defaultdict(list)
    for number in range(read.order.num_batches):
        plan = read.order.plan(number, pass_number=0, rank=0, world_size=1)
        sizes[plan.grid].append(plan.num_samples)
    groups = [
        [group for window in sorted(block) for group in read.order.order.groups_of(window).tolist()]
        for block in read.blocks()
    ]
    for bucket, own in sizes.items():
        counts = [sum(case.groups[group][0].count(bucket) for group in block) for block in groups]
        if min(counts) >= case.sizes[bucket]:
            assert sum(size < case.sizes[bucket] for size in own) <= 1
        if len(counts) == 2:
            assert sum(size < case.sizes[bucket] for size in own) <= 1


@given(CASES)
def test_full_shuffled_batches_mix_all_windows_of_their_block(case):
    """Each takes as many of a window as any other does, up to one; so a place is of the same few windows."""
    read = Read(case)
    counts: dict[tuple[frozenset[int], int], list[Counter[int]]] = defaultdict(list)
    for number in range(read.order.num_batches):
        plan = read.order.plan(number, pass_number=0, rank=0, world_size=1)
        valid = [take for take in plan.takes if take.valid]
        if not case.shuffle or sum(take.num_samples for take in valid) < case.sizes[plan.grid]:
            continue
        assert [take.window for take in valid] == sorted(take.window for take in valid)
        counts[plan.needed, plan.grid].append(Counter({take.window: take.num_samples for take in valid}))
    for batches in counts.values():
        for window in {window for batch in batches for window in batch}:
            taken = [batch[window] for batch in batches]
            assert max(taken) - min(taken) <= 1


@given(CASES)
def test_padding_is_not_valid_and_of_the_same_bucket(case):
    read = Read(case._replace(remainder="pad"))
    for number in range(read.order.num_batches):
        plan = read.order.plan(number, pass_number=0, rank=0, world_size=1)
        assert {take.window for take in plan.takes} <= plan.needed
        # ``batch`` compares the buckets; what is valid comes first.
        flags = [valid for _, valid in read.batch(number)]
        assert flags == sorted(flags, reverse=True)


@given(CASES)
def test_unshuffled_batches_have_their_buckets_samples_in_order(case):
    read = Read(case._replace(shuffle=False))
    seen: dict[int, list[Sample]] = defaultdict(list)
    for batch in read.epoch():
        for sample, valid in batch:
            if valid:
                seen[read.bucket(sample)].append(sample)
    assert all(samples == sorted(samples) for samples in seen.values())


@given(CASES)
def test_counts_tell_what_row_groups_hold(case):
    counts = Read(case).counts
    assert counts.of_groups.tolist() == [len(buckets) for buckets, _ in case.groups]
    totals = Counter(bucket for buckets, _ in case.groups for bucket in buckets)
    assert counts.totals(NUM_BUCKETS).tolist() == [totals[bucket] for bucket in range(NUM_BUCKETS)]


def test_epochs_have_unrelated_orders():
    groups = [([0, 1, 0, 1] * 2, 10)] * 9
    epochs = [Read(Case(groups, key, [4] * NUM_BUCKETS, "keep", 3, True, 10)).epoch() for key in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
