"""Long videos cut by time in the plan, so that one of them is the work of several shards."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.decode.sampling.timeline import SECOND_NS, Span
from bitmill.pipeline.planning.probe_sources import Found, Probed, probe_sources
from bitmill.pipeline.sources.listing import VIDEO_SUFFIXES, suffix
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.job import LimitsSpec

_LEAST_BYTES_PER_S = 16_384
"""A video of fewer bytes than this for each second is rare (128 kbit/s); smaller files are not looked at."""


def split_long(
    sources: Sequence[PlannedSource], split_s: float | None, limits: LimitsSpec
) -> tuple[PlannedSource, ...]:
    """Each long video as several sources, one for each span, in its place; all else as it was.

    Only whole videos by their names are looked at, and such as are large enough to be long; what cannot be
    read stays whole, and its outcome tells why. Raises InfrastructureError where the store gives out.
    """
    if split_s is None:
        return tuple(sources)
    split_ns = round(split_s * SECOND_NS)
    large = [
        source
        for source in sources
        if source.span_ns == (None, None)
        and suffix(source.uri) in VIDEO_SUFFIXES
        and source.size_bytes >= split_s * _LEAST_BYTES_PER_S
    ]
    workers = max(1, min(available_cpus(), len(large)))
    spans = {
        source.uri: spans_of(probed, split_ns)
        for source, probed in probe_sources(large, limits, workers=workers)
    }
    return tuple(
        replace(source, start_ns=start_ns, end_ns=end_ns)
        for source in sources
        for start_ns, end_ns in (
            spans.get(source.uri, [source.span_ns]) if source.span_ns == (None, None) else [source.span_ns]
        )
    )


def spans_of(probed: Found, split_ns: int) -> list[Span]:
    """Spans of ``split_ns`` from the first frame's time on; both outer ends are open.

    The last one is between half a span and one and a half, so that none lies outside what is shown. A video
    that is no longer, or whose times are not to be trusted, is one span.
    """
    if not isinstance(probed, Probed) or probed.media != "video" or not probed.orderly:
        return [(None, None)]
    last_cut_ns = probed.end_ns - split_ns // 2
    cuts = [*range(probed.start_ns + split_ns, last_cut_ns + 1, split_ns)]
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def split_uris(planned: Iterable[PlannedSource]) -> dict[str, list[PlannedSource]]:
    """Objects that are planned whole, though in several spans that follow each other; the newest of each."""
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
