"""Runs an export: outline, missing files, companion files, inventory, in this order."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from bitmill.pipeline.exporting.clip_columns import list_clips
from bitmill.pipeline.exporting.formats.base import Format
from bitmill.pipeline.exporting.formats.exported_clip import open_clips
from bitmill.pipeline.exporting.formats.registry import format_of
from bitmill.pipeline.exporting.make_files import FileMaker
from bitmill.pipeline.exporting.outline import DatasetState, find_outline, look_at, make_outline
from bitmill.pipeline.exporting.progress import ExportProgress
from bitmill.pipeline.exporting.workers import OnProgress, make_files
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.storage import Folder, list_objects
from bitmill.schemas.errors import InfrastructureError, UsageError
from bitmill.schemas.reports.export_inventory import (
    INVENTORY_FILE,
    OUTLINE_FILE,
    ExportedFile,
    ExportFormat,
    ExportInventory,
    ExportOutline,
    read_inventory,
)


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A complete export."""

    inventory: ExportInventory
    kept_files: int
    """Number of files that an earlier run had published."""

    @property
    def made_files(self) -> int:
        """Number of files made by this run."""
        return len(self.inventory.files) - self.kept_files


def export_dataset(
    dataset_uri: str,
    out_uri: str,
    *,
    export_format: ExportFormat,
    max_bytes: int,
    allow_incomplete: bool = False,
    workers: int = 1,
    on_progress: OnProgress = lambda _: None,
) -> ExportResult:
    """Export a dataset into an empty folder, or resume the same export in its folder.

    ``workers`` processes write files; ``on_progress`` receives progress, in this thread. Raises UsageError if
    dataset, folder or format do not fit, FormatError if the dataset is damaged, InfrastructureError if disk
    or store fails.
    """
    state = look_at(Folder(dataset_uri), allow_incomplete=allow_incomplete)
    out = Folder(out_uri)
    layout = format_of(export_format, state.dataset)
    outline = find_outline(out, state.dataset, export_format, max_bytes)
    inventory = None if outline is None else _find_inventory(out)
    if inventory is not None:
        return ExportResult(inventory=inventory, kept_files=len(inventory.files))
    try:
        out.sweep_staging()
        if outline is None:
            outline = make_outline(state, export_format, layout, max_bytes, on_progress)
            out.write_bytes(OUTLINE_FILE, outline.to_json())
        return _Export(state, layout, outline, out).finish(workers, on_progress)
    finally:
        out.sweep_staging()


@dataclass(frozen=True)
class _Export:
    """An export that has an outline."""

    state: DatasetState
    layout: Format
    outline: ExportOutline
    out: Folder

    def finish(self, workers: int, on_progress: OnProgress) -> ExportResult:
        """Publish what is missing."""
        kept = set(self._published())
        missing = [file for file in self.outline.files if file.name not in kept]
        if missing:
            maker = FileMaker(clips=self._clips(), layout=self.layout, out=self.out)
            make_files(maker, missing, workers=workers, on_progress=on_progress)
        for companion in self.layout.companions:
            if companion.name not in kept:
                with self.out.publishing(companion.name) as staged:
                    companion.write(staged.path, self.outline, lambda: self._rows(on_progress))
        inventory = self._inventory()
        self.out.write_bytes(INVENTORY_FILE, inventory.to_json())
        kept_files = sum(file.name in kept for file in inventory.files)
        return ExportResult(inventory=inventory, kept_files=kept_files)

    def _clips(self) -> ClipSource:
        incomplete = self.state.dataset.num_shards < self.state.dataset.planned_shards
        clips = open_clips(self.state.folder, allow_incomplete=incomplete)
        # This lists the shards again; a running job may have committed one meanwhile.
        count = clips.first_clips[-1]
        if count != self.outline.contents.clips:
            raise UsageError(
                f"{self.state.folder.uri} now has {count} clips, its export in {self.out.uri} "
                f"{self.outline.contents.clips}; let its job finish, then export into another folder."
            )
        return clips

    def _rows(self, on_progress: OnProgress) -> Iterator[pa.Table]:
        shard_ids, columns = self.state.shard_ids, self.layout.tokens.columns
        tables = list_clips(self.state.folder, shard_ids, columns, lambda rows: rows)
        for number, rows in enumerate(tables, 1):
            yield rows
            on_progress(ExportProgress(listed_shards=number, shards=len(shard_ids)))

    def _inventory(self) -> ExportInventory:
        sizes = self._published()
        places = {file.name: (file.first_clip, file.num_clips) for file in self.outline.files}
        names = [*places, *(companion.name for companion in self.layout.companions)]
        gone = [name for name in names if name not in sizes]
        if gone:
            raise InfrastructureError(
                f"{gone[0]} has disappeared from {self.out.uri}; run the same command again to recreate it."
            )
        files = [
            ExportedFile(name=name, size_bytes=sizes[name], first_clip=first, num_clips=count)
            for name in names
            for first, count in [places.get(name, (None, None))]
        ]
        return ExportInventory.model_validate(
            {
                "format_version": self.outline.format_version,
                "form": self.outline.form,
                "token_dtype": self.layout.tokens.dtype.name,
                "dataset": self.outline.dataset,
                "contents": self.outline.contents,
                "files": files,
            }
        )

    def _published(self) -> dict[str, int]:
        """Sizes of the published files, by name."""
        listed = list_objects(self.out.uri).objects
        return {info.uri.removeprefix(f"{self.out.uri}/"): info.size_bytes for info in listed}


def _find_inventory(out: Folder) -> ExportInventory | None:
    try:
        data = out.read_bytes(INVENTORY_FILE)
    except FileNotFoundError:
        return None
    return read_inventory(data, origin=f"{out.uri}/{INVENTORY_FILE}")
