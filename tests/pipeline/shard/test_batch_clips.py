"""Batches are of one size, bounded, and a pure function of the clips' order; rows come out in that order."""

from dataclasses import dataclass
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.shard.batch_clips import WAITING_BATCHES, Batcher, PlanOrder
from bitmill.schemas.models.geometry import SizePx

SIZES = [(8, 8), (8, 16), (16, 8), (16, 16)]


@dataclass(frozen=True)
class Clip:
    number: int
    num_frames: int
    size: SizePx

    @property
    def num_px(self) -> int:
        return self.num_frames * prod(self.size)


def numbered(drawn):
    return [Clip(number, *clip) for number, clip in enumerate(drawn)]


one_size = st.lists(st.tuples(st.integers(1, 30), st.just((4, 8)))).map(numbered)
mixed = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(SIZES)), max_size=200).map(numbered)
budgets = st.integers(1, 40)


def batches_of(clips, batch_px):
    batcher = Batcher[Clip](batch_px)
    return [batch for clip in clips for batch in batcher.add(clip)] + batcher.rest()


@given(one_size, budgets)
def test_a_batch_of_the_only_size_ends_because_the_next_does_not_fit(clips, batch_frames):
    batches = batches_of(clips, batch_frames * 32)
    assert [clip for batch in batches for clip in batch] == clips
    for batch, following in zip(batches, [*batches[1:], None], strict=False):
        frames = sum(clip.num_frames for clip in batch)
        assert frames <= batch_frames or len(batch) == 1
        assert following is None or frames + following[0].num_frames > batch_frames


@given(mixed, budgets)
def test_batches_are_of_one_size_and_bounded_and_nothing_is_lost(clips, batch_frames):
    batch_px = batch_frames * 256
    batches = batches_of(clips, batch_px)
    assert sorted(clip.number for batch in batches for clip in batch) == list(range(len(clips)))
    for batch in batches:
        assert batch
        assert len({clip.size for clip in batch}) == 1
        assert sum(clip.num_px for clip in batch) <= batch_px or len(batch) == 1
    for size in SIZES:
        assert [clip for batch in batches for clip in batch if clip.size == size] == [
            clip for clip in clips if clip.size == size
        ]


@given(mixed, budgets)
def test_no_clip_waits_for_longer_than_the_bound(clips, batch_frames):
    batch_px, waiting = batch_frames * 256, dict[int, int]()
    batcher = Batcher[Clip](batch_px)
    for clip in clips:
        waiting = {number: behind + clip.num_px for number, behind in waiting.items()} | {clip.number: 0}
        for batch in batcher.add(clip):
            for done in batch:
                del waiting[done.number]
        assert max(waiting.values(), default=0) <= WAITING_BATCHES * batch_px


@given(mixed, budgets, st.integers(0, 200))
def test_batches_that_are_full_follow_from_the_clips_so_far(clips, batch_frames, stop):
    batcher = Batcher[Clip](batch_frames * 256)
    early = [batch for clip in clips[:stop] for batch in batcher.add(clip)]
    assert batches_of(clips, batch_frames * 256)[: len(early)] == early


@given(mixed, budgets)
def test_rows_come_out_in_plan_order_at_once_when_their_turn_has_come(clips, batch_frames):
    order, written = PlanOrder[int](), list[int]()
    given_so_far = set[int]()
    for batch in batches_of(clips, batch_frames * 256):
        for clip in batch:
            given_so_far.add(clip.number)
            written += order.put(clip.number, clip.number)
            due = next(number for number in range(len(clips) + 1) if number not in given_so_far)
            assert written == list(range(due))
    assert len(written) == len(clips)
