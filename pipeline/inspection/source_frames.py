"""Decodes clips of a dataset again from their sources, with the dataset's sampling rule."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from bitmill.pipeline.dataset.dataset_folder import load_plan
from bitmill.pipeline.decode.pixels.frame_sizes import stored_frame_sizes
from bitmill.pipeline.decode.sampling.timeline import Span
from bitmill.pipeline.isolation.decode_process import DecodeProcess
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemStart
from bitmill.pipeline.storage import Folder
from bitmill.schemas.arrays import Frames
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.job import JobSpec


class SourceFrames(AbstractContextManager["SourceFrames"]):
    """A context manager that returns source frames by clip.

    One child process decodes the sources, one at a time, each once if clips are requested in order.
    """

    def __init__(self, folder: Folder, card: DatasetCard) -> None:
        # Of a retried source the newest attempt counts: its clips are from that attempt.
        self._sources: dict[str, dict[Span, PlannedSource]] = {}
        for shard in load_plan(folder, card):
            for planned in shard.sources:
                self._sources.setdefault(planned.uri, {})[planned.span_ns] = planned
        job = JobSpec.model_validate({**card.job, "output": folder.uri})
        sizes = stored_frame_sizes(card)
        self._decoder = DecodeProcess(
            DecodeSettings.of(job, sizes, pixel_rule=card.pixel_rule, geometry=card.geometry)
        )
        self._open: tuple[str, Iterator[tuple[str | None, DecodedClip]]] | None = None
        self.problem: str | None = None
        """Why the last source that was read is incomplete, if it is."""

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def find(self, uri: str, key: str | None, start_ns: int, num_frames: int) -> Frames | None:
        """Returns frames uint8 [T, H, W, 3] of the clip that starts at ``start_ns``.

        Returns None if the source no longer yields it; ``problem`` may say why.
        """
        again = self._open is not None and self._open[0] == uri
        found = self._search(uri, key, start_ns, num_frames)
        # Clips of a source are in order, so a search continues where the last one ended; requesting an
        # earlier clip decodes the source again.
        return self._search(uri, key, start_ns, num_frames) if found is None and again else found

    def _search(self, uri: str, key: str | None, start_ns: int, num_frames: int) -> Frames | None:
        if self._open is None or self._open[0] != uri:
            self._open = (uri, self._clips(uri))
            self.problem = None
        for clip_key, clip in self._open[1]:
            if clip_key == key and clip.start_ns == start_ns and len(clip.frames_THWC) == num_frames:
                return clip.frames_THWC
        self._open = None
        return None

    def _clips(self, uri: str) -> Iterator[tuple[str | None, DecodedClip]]:
        """Yield clips with their item's key."""
        for planned in self._sources.get(uri, {}).values():
            key: str | None = None
            for event in self._decoder.events(planned):
                if isinstance(event, ItemStart):
                    key = event.key
                elif isinstance(event, DecodedClip):
                    yield key, event
                elif event.reason is not None:
                    self.problem = f"{event.reason}: {event.detail}"
