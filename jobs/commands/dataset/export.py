"""``bitmill export``: writes a dataset's clips in the layout of another loader."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine, LiveView
from bitmill.jobs.progress.units import bytes_text, duration_text, rate_text
from bitmill.jobs.scheduling.signals import stoppable
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.schemas.counted import counted
from bitmill.schemas.reports.export_inventory import ExportFormat

if TYPE_CHECKING:
    from bitmill.pipeline.exporting import ExportProgress, ExportResult

DEFAULT_MAX_BYTES = 512 << 20


def export(
    dataset: Annotated[str, typer.Argument(help="A dataset folder.")],
    out: Annotated[
        str, typer.Argument(help="Output folder, local or on a store: empty, or with this export begun.")
    ],
    to: Annotated[ExportFormat, typer.Option("--to", help="Output layout.")],
    max_bytes: Annotated[
        int,
        typer.Option(
            "--max-bytes",
            min=1,
            help="Bytes per tar, .bin, or Parquet file (tokens before compression); clips are not split.",
        ),
    ] = DEFAULT_MAX_BYTES,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Export what an unfinished job has committed.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that write files; default: one per CPU.")
    ] = None,
) -> None:
    """Export a dataset for other loaders: integers in tars, flat files or Parquet. Run again to resume."""
    from bitmill.pipeline.exporting import export_dataset

    console = Console(soft_wrap=True)
    with stoppable(kept="published files stay"), ExportView(console) as view:
        result = export_dataset(
            dataset,
            out,
            export_format=to,
            max_bytes=max_bytes,
            allow_incomplete=allow_incomplete,
            workers=workers or available_cpus(),
            on_progress=view.show,
        )
    console.print(_summary(out, result))


def _summary(out: str, result: "ExportResult") -> str:
    inventory = result.inventory
    contents = inventory.contents
    row = "frame" if inventory.dataset.tokens.frames_per_token == 1 else "token row"
    text = (
        f"{out}: {counted(contents.clips, 'clip')}, {counted(contents.frames, row)}, "
        f"{counted(contents.tokens, 'token')} as "
        f"{inventory.token_dtype}, {bytes_text(inventory.size_bytes)} in "
        f"{counted(len(inventory.files), 'file')}"
    )
    if not result.made_files:
        return f"nothing to do; already exported: {text}"
    kept = f"; {result.kept_files} of them existed already" if result.kept_files else ""
    return f"wrote {text}{kept}"


class ExportView(LiveView):
    """A context manager that shows progress: live on a terminal, else a line every ten seconds."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._writing_since: float | None = None
        super().__init__(LiveLine(console, clock=clock))

    def show(self, progress: "ExportProgress") -> None:
        """Show progress, rate-limited: it is called for every clip."""
        now = self._clock()
        if progress.clips and self._writing_since is None:
            self._writing_since = now
        self._shown.show(lambda: self._line(progress, now))

    def _line(self, progress: "ExportProgress", now: float) -> str:
        if self._writing_since is None or not progress.clips:
            return f"listing clips: {progress.listed_shards}/{counted(str(progress.shards), 'shard')}"
        seconds = max(now - self._writing_since, 1e-9)
        clips_per_s = progress.done_clips / seconds
        left_s = (progress.clips - progress.done_clips) / clips_per_s if clips_per_s else None
        return (
            f"{progress.done_clips:,}/{progress.clips:,} clips · {rate_text(clips_per_s)} clips/s, "
            f"{bytes_text(round(progress.done_bytes / seconds))}/s · "
            f"{'?' if left_s is None else duration_text(left_s)} left"
        )
