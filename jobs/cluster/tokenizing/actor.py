"""The tokenizer actor, which owns one accelerator (or a share of the CPUs) and runs shards on it.

torch is imported with the tokenizer: the driver, which imports this module, does not need it, and decoders
start before it.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray

from bitmill.jobs.cluster.tokenizing.bundle_task import BundleTask
from bitmill.jobs.cluster.tokenizing.decode_tasks import SourceTask, TaskPlacement
from bitmill.jobs.cluster.tokenizing.end_with_raylet import end_with_raylet
from bitmill.jobs.collect_rarely import collect_rarely
from bitmill.jobs.scheduling.actor_events import Assignment, ProbeStarted
from bitmill.jobs.scheduling.autoscaling import DecodeWindowSize
from bitmill.jobs.scheduling.decode_pace import DecodePace
from bitmill.jobs.scheduling.decode_window import DecodingWindow, Task
from bitmill.pipeline.dataset.without_pandas import without_pandas
from bitmill.pipeline.isolation.source_bundles import Bundle
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.removing.removal_filter import NOTHING, Takedown, removed_sources, withheld
from bitmill.pipeline.removing.removal_records import KnownTakedown
from bitmill.pipeline.shard.encoder import ClipEncoder
from bitmill.pipeline.shard.events_by_source import bundles_without, events_by_source
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.pipeline.shard.progress import ShardProgress, ShardReport, fewer_reports
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import MissingPluginError, TokenizerMismatchError

_control: Any = ray.method(concurrency_group="control")
"""Short calls that are answered while a shard is running."""

ShardEvent = ProbeStarted | ShardProgress | ShardReport

_REPORT_EVERY_S = 1.0
"""The driver's time for a report does not depend on how many items it tells of; a second may end hundreds."""


@dataclass(frozen=True, kw_only=True)
class ActorSettings:
    """An actor's settings, apart from the tokenizer's files."""

    context: ShardContext
    output: str
    device: Literal["cpu", "cuda"]
    name: str
    """The run's name, used in task names."""
    takedown: Takedown = NOTHING
    """Removed sources when the run began."""


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """A saved tokenizer's files as sent to the actors."""

    files: Mapping[str, bytes]
    """By name."""


class TokenizerActor:
    """Tokenizes one shard at a time; if it dies, only the running shard's uncommitted work is lost."""

    def __init__(self, settings: ActorSettings) -> None:
        end_with_raylet()
        collect_rarely()
        without_pandas()
        self._settings = settings
        context = settings.context
        self._decode = DecodeSettings.of(
            context.job, context.sizes, pixel_rule=context.pixel_rule, geometry=context.geometry
        )
        self._placement = TaskPlacement.near_here(name=settings.name)
        self._takedown = KnownTakedown(Folder(settings.output), settings.takedown)
        self._encoder: ClipEncoder | None = None
        self._window = DecodingWindow(self._begin)
        self._size = DecodeWindowSize(items=1, most=1, room=0)
        self._pace: DecodePace | None = None
        self._lock = threading.Lock()
        self._begun = 0
        self._withdrawn: set[int] = set()
        self._beats = 0

    def ready(self) -> bool:
        """Returns True once the process has started."""
        return True

    def tokenize(
        self, assignment: Assignment, files: TokenizerFiles, window: DecodeWindowSize
    ) -> Iterator[ShardEvent]:
        """Run one shard with the given decode window; yields progress, then the report.

        Yields nothing for a withdrawn shard. ``files`` are passed with each shard, by reference, so that an
        unused actor loads nothing.
        """
        with self._lock:
            if assignment.number in self._withdrawn:
                self._withdrawn.discard(assignment.number)
                return
            self._begun = assignment.number
        self._size = window
        if self._pace is None:
            self._pace = DecodePace(window.items, window.most)
        self._pace.bound(window.most)
        if self._encoder is None:
            if assignment.isolation is None:
                # Decoders start meanwhile.
                self._window.expect(assignment.number, self._bundles(assignment), begin=window.items)
            self._encoder = self.load(files)
        events = self._beating(self._events(assignment, self._encoder, self._pace))
        yield from fewer_reports(events, _REPORT_EVERY_S)

    @_control
    def expect(self, assignment: Assignment) -> None:
        """Announce a queued shard, whose decoding may start while the previous shard finishes."""
        with self._lock:
            if assignment.number > self._begun:
                self._window.expect(assignment.number, self._bundles(assignment))

    @_control
    def withdraw(self, number: int) -> bool:
        """Withdraw a queued shard. Returns False if it has started."""
        with self._lock:
            if number <= self._begun:
                return False
            self._withdrawn.add(number)
        self._window.forget(number)
        return True

    @_control
    def heartbeat(self) -> int:
        """Returns the heartbeat count, which stops increasing if the running shard hangs."""
        return self._beats

    def _bundles(self, assignment: Assignment) -> list[Bundle]:
        """Returns what is to be decoded, as far as is known before the shard begins."""
        return bundles_without(assignment.shard.sources, _skipped(assignment, self._takedown.newest))

    def _events(self, assignment: Assignment, encoder: ClipEncoder, pace: DecodePace) -> Iterator[ShardEvent]:
        shard, context = assignment.shard, self._settings.context
        takedown = self._takedown.look()
        skipped = _skipped(assignment, takedown)
        if assignment.isolation is not None:
            yield from self._try_alone(assignment, assignment.isolation.try_from, skipped, encoder)
            pace = DecodePace(1, 1)
        bundles = bundles_without(shard.sources, skipped)
        decoded = self._window.items(assignment.number, bundles, pace)
        items = events_by_source(shard.sources, skipped, bundles, decoded)
        if takedown:
            rule = context.job.sampling.rule()
            pairs = zip(shard.sources, items, strict=True)
            items = (withheld(source, events, takedown, rule) for source, events in pairs)
        yield from tokenize_shard(shard, items, encoder, context, Folder(self._settings.output))

    def _try_alone(
        self,
        assignment: Assignment,
        try_from: int,
        skipped: Collection[int],
        encoder: ClipEncoder,
    ) -> Iterator[ProbeStarted]:
        """Decode and encode each source alone, discarding results, to find the one that kills the process."""
        sources = assignment.shard.sources
        for place in range(try_from, len(sources)):
            if place in skipped:
                continue
            yield ProbeStarted(place=place)
            for events in self._window.items(
                assignment.number, [Bundle((sources[place],))], DecodePace(1, 1)
            ):
                for event in events:
                    if isinstance(event, DecodedClip):
                        encoder.begin([padded(event.frames_THWC, self._settings.context.geometry)]).wait()
                        self._heartbeat()
        yield ProbeStarted(place=None)

    def _begin(self, bundle: Bundle) -> Task:
        num_items = self._pace.size if self._pace is not None else self._size.items
        placement = replace(self._placement, values=self._size.values(num_items))
        settings = self._decode, placement, self._heartbeat
        if len(bundle.sources) == 1:
            return SourceTask(bundle.sources[0], *settings)
        return BundleTask(bundle, *settings)

    def _beating(self, events: Iterator[ShardEvent]) -> Iterator[ShardEvent]:
        for event in events:
            self._heartbeat()
            yield event

    def _heartbeat(self) -> None:
        self._beats += 1

    def load(self, files: TokenizerFiles) -> ClipEncoder:
        """Load the tokenizer on its device; benchmarks override this with another encoder."""
        import torch

        from bitmill.bsq_model.families import load_files
        from bitmill.bsq_model.numerics import set_numerics
        from bitmill.pipeline.shard.model_encoder import ModelEncoder

        compute = self._settings.context.job.compute
        if self._settings.device == "cpu":
            torch.set_num_threads(compute.threads)
        try:
            tokenizer = load_files(files.files)
        except (MissingPluginError, TokenizerMismatchError) as error:
            raise type(error)(f"On the node {ray.util.get_node_ip_address()}: {error}") from error
        set_numerics(tokenizer, compute.dtype, self._settings.device)
        return ModelEncoder(tokenizer)


def _skipped(assignment: Assignment, takedown: Takedown) -> dict[int, ItemEnd]:
    """Returns the ends of the sources to skip, faulty or removed, by their index in the shard."""
    faulty = assignment.isolation.skipped if assignment.isolation is not None else {}
    return {**faulty, **removed_sources(assignment.shard.sources, takedown)}
