"""Makes an export's files, each published atomically, in this process or in parallel processes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bitmill.pipeline.exporting.formats.base import Format
from bitmill.pipeline.exporting.formats.exported_clip import ExportedClip, read_clips
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError
from bitmill.schemas.reports.export_inventory import OutlinedFile

OnClip = Callable[[ExportedClip], None]
"""Called with each clip once it is written."""


@dataclass(frozen=True, kw_only=True)
class FileMaker:
    """Writes and publishes files of one export. Pickles small, so that it can be sent to a process."""

    clips: ClipSource
    layout: Format
    out: Folder

    def make(self, file: OutlinedFile, on_clip: OnClip) -> None:
        """Publish one file. An exception from ``on_clip`` cancels it."""
        with self.out.publishing(file.name) as staged:
            self.layout.write_clips(staged.path, self._clips(file, on_clip))

    def _clips(self, file: OutlinedFile, on_clip: OnClip) -> Iterator[ExportedClip]:
        tokens = 0
        for clip in read_clips(self.clips, file.first_clip, file.num_clips, self.layout.tokens):
            yield clip
            tokens += clip.num_tokens
            on_clip(clip)
        if tokens != file.num_tokens:
            uri = self.clips.parts[0].files.folder.uri
            raise FormatError(
                f"{uri} has changed since its export began: {file.name} would contain "
                f"{tokens} tokens, not {file.num_tokens}. Export into another folder."
            )
