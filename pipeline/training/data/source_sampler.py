"""Which source and chances a sample gets, past the sources that are known to give nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bitmill.pipeline.training.data.make_sample import SampleTask
from bitmill.pipeline.training.data.sample_schedule import draw
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import TooManyFailuresError
from bitmill.schemas.outcomes import Reason

MAX_ATTEMPTS = 32
"""Sources drawn for one sample before the run is given up: with half of all sources bad, one sample in four
thousand million."""
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class SampleFailure:
    """A source that gave no clip; another took its place in the batch."""

    uri: str
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class Pick:
    """What a sample is to be made of, at one of its attempts."""

    sample_index: int
    attempt: int
    source_index: int
    task: SampleTask


class SourceSampler:
    """Sources of one kind. A sample's picks depend on nothing but the seed and what the sources are."""

    def __init__(self, sources: Sequence[PlannedSource], *, seed: int, num_frames: int) -> None:
        # Captions and the like do not travel to the decoders.
        self._sources = [replace(source, metadata=None) for source in sources]
        self._seed = seed
        self.num_frames = num_frames
        self._failed: dict[int, SampleFailure] = {}
        self._latest: SampleFailure | None = None

    def pick(self, sample_index: int, attempt: int = 0) -> Pick:
        """The first attempt from ``attempt`` on whose source is not known to fail.

        Raises TooManyFailuresError where the attempts are used up.
        """
        for number in range(attempt, MAX_ATTEMPTS):
            drawn = draw(self._seed, sample_index, number, len(self._sources))
            if drawn.source_index not in self._failed:
                task = SampleTask(
                    source=self._sources[drawn.source_index], draw=drawn, num_frames=self.num_frames
                )
                return Pick(
                    sample_index=sample_index, attempt=number, source_index=drawn.source_index, task=task
                )
        raise self._exhausted()

    def note(self, pick: Pick, reason: Reason, detail: str, *, lasting: bool) -> SampleFailure:
        """A pick gave no clip; a ``lasting`` fault keeps its source from being picked again."""
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
            f"{MAX_ATTEMPTS} sources drawn in a row gave no training clip ({len(self._failed)} of "
            f"{len(self._sources)} are known to give none). {named} Remove such sources, or give others."
        )
