"""From a planned source to its events: staged, decoded, every fault of the bytes turned into an end."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.decode.item import decode_item
from pipeline.items import ItemEnd, ItemEvent, MediaFacts
from pipeline.storage import ObjectInfo, stage
from schemas.errors import BadItemError
from schemas.job import LimitsSpec, SamplingSpec
from schemas.outcomes import Reason
from schemas.plan import PlannedSource


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What decoding an item of a job needs to know of it."""

    sampling: SamplingSpec
    limits: LimitsSpec
    size_px: int


def source_events(source: PlannedSource, settings: DecodeSettings) -> Iterator[ItemEvent]:
    """Clips of one source and its end. Meant for a process that may be killed: the bytes are foreign."""
    expected = ObjectInfo(uri=source.uri, size_bytes=source.size_bytes, version=source.version)
    try:
        with stage(expected) as staged:
            yield from decode_item(
                staged.path,
                span_ns=source.span_ns,
                sampling=settings.sampling,
                size_px=settings.size_px,
                limits=settings.limits,
            )
    except BadItemError as error:
        yield ItemEnd(facts=MediaFacts(), reason=error.reason, detail=error.detail)
    except MemoryError:
        detail = "Reading and decoding it took more memory than the job allows."
        yield ItemEnd(facts=MediaFacts(), reason=Reason.OUT_OF_MEMORY, detail=detail)
