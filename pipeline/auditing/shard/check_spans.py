"""Checks that clips' spans are disjoint and inside their source; pure logic."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bitmill.pipeline.auditing.shard.check_ledger import ItemAccount
from bitmill.pipeline.decode.sampling.timeline import LONGEST_HOLD_NS, SECOND_NS

_LEAST_SLACK_NS = SECOND_NS


class ClipSpan(NamedTuple):
    """A clip's time, and its row in the shard."""

    start_ns: int
    end_ns: int
    row: int
    clip_id: str


def is_still(start_ns: int, end_ns: int, num_frames: int) -> bool:
    """True if this is the time of a still image, which ignores the planned span."""
    return start_ns == end_ns == 0 and num_frames == 1


def outside_plan(span: ClipSpan, planned_ns: tuple[int | None, int | None]) -> str | None:
    """Why a clip that is not a still lies outside its planned span, or None. Sampling keeps to it exactly."""
    start_ns, end_ns = planned_ns
    if span.start_ns >= span.end_ns:
        return f"the clip ends at {span.end_ns} ns, and begins at {span.start_ns} ns"
    if start_ns is not None and span.start_ns < start_ns:
        return f"the clip begins at {span.start_ns} ns, the planned span at {start_ns} ns"
    if end_ns is not None and span.end_ns > end_ns:
        return f"the clip ends at {span.end_ns} ns, the planned span at {end_ns} ns"
    return None


def outside_media(spans: Sequence[ClipSpan], account: ItemAccount) -> str | None:
    """Why an item's clips cover more time than its media lasts, or None.

    A source's clock may begin anywhere, so only the length is compared. The duration of the last frame is
    often a guess that the container's duration lacks: the gap before it, up to LONGEST_HOLD_NS, or one
    frame's time. If the file was damaged, its duration proves nothing.
    """
    if not account.is_ok or not account.duration_ns or not spans:
        return None
    frame_ns = round(SECOND_NS / account.fps) if account.fps else 0
    hold_ns = max(min(account.duration_ns, LONGEST_HOLD_NS), frame_ns, _LEAST_SLACK_NS)
    covered_ns = max(span.end_ns for span in spans) - min(span.start_ns for span in spans)
    if covered_ns <= account.duration_ns + hold_ns:
        return None
    return f"the clips cover {covered_ns} ns, the media lasts {account.duration_ns} ns"


def overlapping(spans: Sequence[ClipSpan]) -> Iterator[tuple[ClipSpan, ClipSpan]]:
    """Yield pairs of one item's clips that overlap: each clip with an earlier one that lasts into it.

    A clip ends where the next sample is taken, so that clips touch but never overlap.
    """
    longest: ClipSpan | None = None
    for span in sorted(spans):
        if longest is not None and span.start_ns < longest.end_ns:
            yield longest, span
        if longest is None or span.end_ns > longest.end_ns:
            longest = span
