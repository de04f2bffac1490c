"""One Parquet file of columns that belong to clips: its footer, its clip ids, its row groups."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.reading.joining.clip_ids import ClipIds, joined, parse_ids
from bitmill.pipeline.reading.shards.ranged_file import RangedFile
from bitmill.pipeline.storage import Folder, normalise, stat
from bitmill.schemas.arrays import Codes
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.errors import FormatError, WrongArgumentError

_ID = "clip_id"
_BATCH_KEYS = (
    "tokens",
    "valid",
    "mask",
    "grid",
    "global_samples",
    "document_ids",
    "positions",
    "times_ns",
    "cu_seqlens",
    "max_seqlen",
    "scales",
    "scale_grids",
)
_TAKEN = {field.name for field in TOKEN_COLUMNS} - {_ID} | set(_BATCH_KEYS)


class JoinedFile:
    """A file on any store, opened by its footer alone; pickles without open files.

    Raises WrongArgumentError if there is no such file, or it does not have the columns of one that can be
    joined, and FormatError if it is no Parquet file, is damaged, or changes later; each names the file.
    """

    def __init__(self, path: str | Path) -> None:
        folder, _, self._name = normalise(str(path)).rpartition("/")
        self._folder = Folder(folder or "/")
        self.uri = f"{folder}/{self._name}"
        try:
            self._info = stat(self.uri)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise WrongArgumentError(f"There is no file {self.uri} to join.") from error
        except PermissionError as error:
            raise WrongArgumentError(f"No permission to read {self.uri}, which is to be joined.") from error
        self._metadata: pq.FileMetaData | None = None
        with self._opened() as file:
            self._metadata = file.metadata
            stored = file.schema_arrow
        self._check_names(stored)
        self.schema = pa.schema([(field.name, field.type) for field in stored if field.name != _ID])
        """The columns without the clip ids."""
        kinds = [self._metadata.row_group(number).num_rows for number in range(self._metadata.num_row_groups)]
        self.group_rows = np.array(kinds, np.int64)
        """Rows of each row group."""

    def clip_ids(self) -> ClipIds:
        """The clip ids of all rows. Raises WrongArgumentError, naming the file, for one that is none."""
        with self._opened() as file:
            return joined([self._ids_in(file, number) for number in range(len(self.group_rows))])

    def read_group(self, number: int, columns: Sequence[str]) -> pa.Table:
        """These columns of a row group."""
        with self._opened() as file:
            return file.read_row_group(number, columns=list(columns)).select(list(columns))

    def read_into(self, buffer: Codes, name: str, size: int, offset: int) -> None:
        """Fill the buffer from a byte of the file on; what ``RangedFile`` asks for."""
        data = self._folder.read_range(name, offset, min(offset + len(buffer), size))
        if len(data) != len(buffer):
            raise FormatError(_changed(self.uri))
        buffer[:] = np.frombuffer(data, np.uint8)

    def _ids_in(self, file: pq.ParquetFile, group: int) -> ClipIds:
        texts = file.read_row_group(group, columns=[_ID]).column(_ID)
        try:
            return parse_ids(texts)
        except ValueError as error:
            raise WrongArgumentError(
                f"{self.uri} cannot be joined: its clip_id {error} is no clip id (32 hex digits)."
            ) from error

    @contextmanager
    def _opened(self) -> Generator[pq.ParquetFile]:
        try:
            if stat(self.uri) != self._info:
                raise FormatError(_changed(self.uri))
            with RangedFile(self, self._name, self._info.size_bytes) as handle:
                yield pq.ParquetFile(
                    pa.PythonFile(handle, mode="r"),
                    metadata=self._metadata,
                    pre_buffer=False,
                    page_checksum_verification=True,
                )
        except FileNotFoundError as error:
            raise FormatError(_changed(self.uri)) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            what = "no Parquet file" if self._metadata is None else "damaged"
            raise FormatError(
                f"{self.uri}, which is to be joined, is {what}: {' '.join(str(error).split())}"
            ) from error

    def _check_names(self, stored: pa.Schema) -> None:
        names = stored.names
        if _ID not in names:
            raise WrongArgumentError(
                f"{self.uri} cannot be joined: it has no column clip_id, only {', '.join(names) or 'none'}."
            )
        kind = stored.field(_ID).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if kind not in (pa.string(), pa.large_string(), pa.string_view()):
            raise WrongArgumentError(f"{self.uri} cannot be joined: its clip_id is {kind}, not a string.")
        if len(names) == 1:
            raise WrongArgumentError(f"{self.uri} cannot be joined: it has no column but clip_id.")
        for name in names:
            if name in _TAKEN:
                raise WrongArgumentError(
                    f"{self.uri} cannot be joined: its column {name!r} has the name of a column of token "
                    "shards or of a key of batches; rename it."
                )
            if names.count(name) > 1:
                raise WrongArgumentError(f"{self.uri} cannot be joined: it has two columns {name!r}.")


def _changed(uri: str) -> str:
    return f"{uri} has changed since it was joined; open the dataset again."
