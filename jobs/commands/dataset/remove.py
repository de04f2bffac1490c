"""``bitmill remove``: removes sources and clips from a dataset, records it, and bars them from later runs."""

import math
import sys
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import local_path
from bitmill.jobs.progress.units import duration_text
from bitmill.jobs.scheduling.signals import stoppable
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import InterruptedJobError, UsageError
from bitmill.schemas.text_files import lines_of

if TYPE_CHECKING:
    from bitmill.pipeline.removing.removal_records import Record
    from bitmill.pipeline.removing.run_removal import Proposal, Request
    from bitmill.pipeline.storage import Folder
    from bitmill.schemas.reports.status_file import JobStatus

_EXAMPLES = 3

KEPT = (
    "note: old versions in a versioned store, copies, exports, readers' caches and models trained on the "
    "clips are not changed."
)


def remove(
    dataset: Annotated[str, typer.Argument(help="A dataset folder.")],
    source: Annotated[list[str] | None, typer.Option("--source", help="A source's URI; repeatable.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="Only this member of one --source tar; repeatable."),
    ] = None,
    clip: Annotated[list[str] | None, typer.Option("--clip", help="A clip's id; repeatable.")] = None,
    sources_from: Annotated[
        Path | None,
        typer.Option(
            "--sources-from",
            parser=local_path,
            help="A text file of URIs, one per line; default: only those of --source.",
        ),
    ] = None,
    clips_from: Annotated[
        Path | None,
        typer.Option(
            "--clips-from",
            parser=local_path,
            help="A text file of clip ids, one per line; default: only those of --clip.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Text that the record keeps; default: none.")
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Skip entries that are not in the dataset.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish an interrupted removal and apply earlier removals again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove even while a job is running.")] = False,
) -> None:
    """Remove sources or clips from a dataset for good. Run again to resume after an interruption."""
    from bitmill.pipeline.removing.run_removal import finish_removals, propose
    from bitmill.pipeline.removing.run_removal import remove as take_down
    from bitmill.pipeline.storage import Folder

    console = Console(soft_wrap=True)
    folder = Folder(dataset)
    request = _request(source, key, clip, sources_from, clips_from, reason)
    if resume == bool(request.sources or request.clips):
        raise UsageError("Give --source, --clip, --sources-from or --clips-from; or --resume alone.")
    if resume and dry_run:
        raise UsageError("--dry-run cannot be combined with --resume; leave out one of them.")
    with stoppable(kept="rewritten shards and the record stay"), RemovalView(console) as view:
        if not dry_run:
            _refuse_beside_driver(folder, force=force)
            for record in finish_removals(folder, all_of_them=resume, on_progress=view.rewriting):
                console.print(f"finished {_told(folder, record)}")
        if resume:
            console.print(f"{folder.uri}: all removals are complete.")
            return
        proposal = propose(folder, request, on_progress=view.looking)
        if proposal.unknown and skip_unknown:
            request = request.without(proposal.unknown)
            console.print(f"skipped {counted(len(proposal.unknown), 'name')} not found in {folder.uri}")
            proposal = propose(folder, request, on_progress=view.looking)
        _refuse_unknown(folder, proposal)
        view.pause()
        if proposal.is_done or not (request.sources or request.clips):
            console.print(f"nothing to do: {folder.uri} contains none of it.")
            return
        console.print(_proposed(folder, proposal))
        if dry_run:
            return
        if not yes:
            _ask()
        record = take_down(folder, proposal, on_progress=view.rewriting)
        view.pause()
        console.print(f"removed {_told(folder, record)}")
        console.print(KEPT)
        if force:
            console.print(
                "note: once the running job has ended, run bitmill remove --resume to clean its shards too."
            )
        _tell_leftovers(folder, console)


class RemovalView(AbstractContextManager["RemovalView"]):
    """A context manager that shows progress on one live line of a terminal; shows nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Clear the line until the next progress."""
        if self._live is not None:
            self._live.stop()

    def looking(self, done: int, of: int) -> None:
        """Show how many shards have been searched."""
        self._show(f"searching: {done:,}/{of:,} shards")

    def rewriting(self, done: int, of: int) -> None:
        """Show how many shards have been rewritten."""
        self._show(f"rewriting: {done:,}/{of:,} shards")

    def _show(self, line: str) -> None:
        if self._live is not None:
            self._live.start()
            self._live.update(Text(line, no_wrap=True), refresh=True)


def _request(
    sources: list[str] | None,
    keys: list[str] | None,
    clips: list[str] | None,
    sources_from: Path | None,
    clips_from: Path | None,
    reason: str | None,
) -> "Request":
    from bitmill.pipeline.removing.run_removal import Request
    from bitmill.pipeline.storage import normalise
    from bitmill.schemas.dataset.removal import RemovedSource

    uris = [normalise(uri) for uri in [*(sources or []), *_lines(sources_from)]]
    if keys and len(uris) != 1:
        raise UsageError("--key selects members of one tar; give exactly one --source with it.")
    return Request(
        sources=tuple(RemovedSource(uri=uri, key=key) for uri in uris for key in keys or [None]),
        clips=(*(clips or []), *_lines(clips_from)),
        reason=reason,
    )


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read as text, one entry per line ({error.strerror}).") from error
    return [line for line in lines_of(data, what=str(path)) if line.strip()]


def _refuse_beside_driver(folder: "Folder", *, force: bool) -> None:
    from bitmill.pipeline.dataset.dataset_status import find_status

    status, _ = find_status(folder)
    if force or status is None or status.state.is_end:
        return
    age_s = (datetime.now(UTC) - status.updated_at).total_seconds()
    if age_s < 0.0:
        # The driver's clock is ahead of ours, so its age is unknown: wait for another write.
        age_s = 0.0 if _writes_again(folder, status) else math.inf
    if age_s <= status.silent_after_s():
        raise UsageError(
            f"A job (process {status.driver.pid} on {status.driver.host}, last update {duration_text(age_s)} "
            f"ago) is running in {folder.uri} and may commit a shard with clips to be removed. Stop it first "
            "(Ctrl-C or bitmill stop; it can resume later), or pass --force and run --resume after it ends."
        )


def _writes_again(folder: "Folder", status: "JobStatus") -> bool:
    """Returns whether the status changes within the time after which a driver counts as silent."""
    from bitmill.pipeline.dataset.dataset_status import find_status

    end = time.monotonic() + status.silent_after_s()
    while time.monotonic() < end:
        time.sleep(min(1.0, status.write_every_s))
        again, _ = find_status(folder)
        if again is not None and again.updated_at != status.updated_at:
            return not again.state.is_end
    return False


def _refuse_unknown(folder: "Folder", proposal: "Proposal") -> None:
    unknown = proposal.unknown
    if unknown:
        more = f" (and {len(unknown) - _EXAMPLES:,} more)" if len(unknown) > _EXAMPLES else ""
        names = ", ".join(unknown[:_EXAMPLES])
        raise UsageError(
            f"{folder.uri} has no {names}{more}; nothing was removed. Sources are named in full, as bitmill "
            "trace and bitmill inspect show them; --skip-unknown skips unknown entries."
        )


def _proposed(folder: "Folder", proposal: "Proposal") -> str:
    selection = proposal.selection
    text = (
        f"to be removed from {folder.uri}: {counted(selection.num_clips, 'clip')}; to be rewritten: "
        f"{counted(len(selection.touched), 'shard')}"
    )
    if selection.pending_sources:
        text += f"; not to be read: {counted(selection.pending_sources, 'source')} of pending shards"
    return text


def _told(folder: "Folder", record: "Record") -> str:
    removal = record.removal
    sources = f"{counted(len(removal.sources), 'source')}, " if removal.sources else ""
    clips, shards = counted(removal.num_clips, "clip"), counted(len(removal.shards), "shard")
    return f"{sources}{clips} of {shards}; record {folder.uri}/{record.file}"


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("No terminal to ask on; pass --yes to remove without confirmation.")
    if not typer.confirm("Remove them permanently?"):
        raise InterruptedJobError("Nothing was removed.")


def _tell_leftovers(folder: "Folder", console: Console) -> None:
    from bitmill.pipeline.storage import STAGING_FOLDER

    left = folder.list_names(STAGING_FOLDER)
    if left:
        console.print(
            f"note: {folder.uri}/{STAGING_FOLDER} contains {counted(len(left), 'temporary file')} of writers "
            "that may run on other machines; delete them if no writer is running."
        )
