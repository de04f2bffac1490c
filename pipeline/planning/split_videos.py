"""Splits long videos by time in the plan, so that several shards can share one."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.decode.sampling.timeline import LONGEST_HOLD_NS, MOST_NS, SECOND_NS, Span
from bitmill.pipeline.planning.probe_sources import Found, Probed, probe_sources
from bitmill.pipeline.sources.listing import VIDEO_SUFFIXES, suffix
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.job import LimitsSpec

_LEAST_BYTES_PER_S = 16_384
"""Minimum plausible bitrate of a video (128 kbit/s); files too small to be long at it are not probed."""


def split_long(
    sources: Sequence[PlannedSource], split_s: float | None, limits: LimitsSpec
) -> tuple[PlannedSource, ...]:
    """Replace each long video by one source per span, in its place; other sources stay as they are.

    Probes only whole videos, by suffix, that are large enough to be long; unreadable ones stay whole, and
    their ledger row says why. Raises InfrastructureError if the store fails.
    """
    if split_s is None:
        return tuple(sources)
    large = [
        source
        for source in sources
        if source.span_ns == (None, None)
        and suffix(source.uri) in VIDEO_SUFFIXES
        and source.size_bytes >= split_s * _LEAST_BYTES_PER_S
    ]
    if not large:
        return tuple(sources)
    split_ns = round(split_s * SECOND_NS)
    spans = {
        source.uri: spans_of(probed, split_ns)
        for source, probed in probe_sources(large, limits, workers=max(1, min(available_cpus(), len(large))))
    }
    return tuple(
        replace(source, start_ns=start_ns, end_ns=end_ns)
        for source in sources
        for start_ns, end_ns in (
            spans.get(source.uri, [source.span_ns]) if source.span_ns == (None, None) else [source.span_ns]
        )
    )


def spans_of(probed: Found, split_ns: int) -> list[Span]:
    """Returns spans of ``split_ns`` from the first frame's time on; both outer ends are open.

    The last span's length is between 0.5 and 1.5 spans, so that none lies outside the video. A shorter video,
    or one with unreliable timestamps, is one span.
    """
    if not isinstance(probed, Probed) or probed.media != "video" or not _has_reliable_times(probed):
        return [(None, None)]
    last_cut_ns = probed.end_ns - split_ns // 2
    cuts = [*range(probed.start_ns + split_ns, last_cut_ns + 1, split_ns)]
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def _has_reliable_times(probed: Probed) -> bool:
    """Returns whether the times can be stored, and the gaps between frames may all be read."""
    longest_ns = probed.num_frames * LONGEST_HOLD_NS
    is_plausible = probed.end_ns - probed.start_ns <= longest_ns and probed.end_ns <= MOST_NS
    return probed.orderly and is_plausible


def split_uris(planned: Iterable[PlannedSource]) -> dict[str, list[PlannedSource]]:
    """Returns objects planned completely as several consecutive spans, with the newest entry of each span."""
    parts: dict[str, dict[int | None, PlannedSource]] = {}
    for source in planned:
        if source.span_ns != (None, None):
            parts.setdefault(source.uri, {})[source.start_ns] = source
    return {uri: list(spans.values()) for uri, spans in parts.items() if _from_end_to_end(spans)}


def _from_end_to_end(spans: dict[int | None, PlannedSource]) -> bool:
    at: int | None = None
    for _ in spans:
        if at not in spans:
            return False
        at = spans[at].end_ns
        if at is None:
            return True
    return False
