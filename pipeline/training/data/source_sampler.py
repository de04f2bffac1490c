"""Picks each sample's source and random numbers, skipping sources known to fail."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bitmill.pipeline.training.data.make_sample import SampleTask
from bitmill.pipeline.training.data.sample_schedule import draw
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import TooManyFailuresError
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.outcomes import Reason

MAX_ATTEMPTS = 32
"""Sources drawn for one sample before the run fails: with half of all sources bad, that is one sample in four
thousand million."""
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class SampleFailure:
    """A source that yielded no clip; another replaced it in the batch."""

    uri: str
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The source and task of a sample at one of its attempts."""

    sample_index: int
    attempt: int
    source_index: int
    task: SampleTask


class SourceSampler:
    """Picks from sources of one kind. A sample's picks depend only on the seed and the sources."""

    def __init__(self, sources: Sequence[PlannedSource], *, seed: int, num_frames: int) -> None:
        # Metadata (captions etc.) is not sent to the decoders.
        self._sources = [replace(source, metadata=None) for source in sources]
        self._seed = seed
        self.num_frames = num_frames
        self._failed: dict[int, SampleFailure] = {}
        self._latest: SampleFailure | None = None

    def pick(self, sample_index: int, attempt: int = 0, *, size_px: SizePx) -> Pick:
        """Return the first attempt from ``attempt`` on whose source is not known to fail.

        ``size_px`` is that of the sample's crop. Raises TooManyFailuresError after ``MAX_ATTEMPTS`` attempts.
        """
        for number in range(attempt, MAX_ATTEMPTS):
            drawn = draw(self._seed, sample_index, number, len(self._sources))
            if drawn.source_index not in self._failed:
                task = SampleTask(
                    source=self._sources[drawn.source_index],
                    draw=drawn,
                    num_frames=self.num_frames,
                    size_px=size_px,
                )
                return Pick(
                    sample_index=sample_index, attempt=number, source_index=drawn.source_index, task=task
                )
        raise self._exhausted()

    def note(self, pick: Pick, reason: Reason, detail: str, *, lasting: bool) -> SampleFailure:
        """Record that a pick yielded no clip; after a ``lasting`` fault its source is not picked again."""
        failure = SampleFailure(uri=pick.task.source.uri, reason=reason, detail=detail)
        if lasting:
            self._failed[pick.source_index] = failure
        self._latest = failure
        return failure

    def _exhausted(self) -> TooManyFailuresError:
        known = [*self._failed.values(), *([self._latest] if self._latest else [])]
        examples = {failure.uri: failure.detail for failure in known[:_EXAMPLES]}
        named = " ".join(f"{uri}: {detail}" for uri, detail in examples.items())
        return TooManyFailuresError(
            f"{MAX_ATTEMPTS} sources drawn in a row yielded no training clip ({len(self._failed)} of "
            f"{len(self._sources)} are known to fail). {named} Remove these sources, or add others."
        )
