"""Reads token shard footers into index rows, and opens shards with pyarrow for their other columns."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.storage import Folder, is_local, store_errors
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.dataset.token_shard import read_shard_metadata
from bitmill.schemas.errors import FormatError, TokenizerMismatchError

_SHAPE = ("num_frames", "height", "width")

_STORE_THREADS = 16
_LOCAL_THREADS = 2


def num_threads(folder: Folder) -> int:
    """Number of threads for reading footers or small columns of many shards.

    On a local disk this is Python work, where more threads only contend for the GIL.
    """
    return _LOCAL_THREADS if is_local(folder.uri) else _STORE_THREADS


def index_rows(folder: Folder, shard_id: str, tokenizer_fingerprint: str) -> list[dict[str, Any]]:
    """A shard's rows of the index. Raises FormatError or TokenizerMismatchError, naming the file."""
    with _opened(folder, shard_id) as (file, size):
        uri = f"{folder.uri}/{shard_file(shard_id)}"
        metadata = read_shard_metadata(file.schema_arrow, origin=uri)
        if metadata.tokenizer_fingerprint != tokenizer_fingerprint:
            raise TokenizerMismatchError(
                f"{uri} was made by tokenizer {metadata.tokenizer_fingerprint}, the dataset by "
                f"{tokenizer_fingerprint}; the folder mixes two datasets."
            )
        return [
            {"shard_id": shard_id, "shard_bytes": size, "row_group": number} | _row(file, number)
            for number in range(file.metadata.num_row_groups)
        ]


def _row(file: pq.ParquetFile, number: int) -> dict[str, Any]:
    group = file.metadata.row_group(number)
    leaves = leaves_of(group)
    codes = group.column(leaves["codes"])
    runs = _uniform(group, leaves)
    if runs is None:
        table = file.read_row_group(number, columns=list(_SHAPE))
        runs = _runs(np.stack([table.column(name).to_numpy() for name in _SHAPE], axis=1))
    rows, frames, height, width = (column.tolist() for column in runs.T)
    return {
        "num_rows": group.num_rows,
        "codes_offset": codes.data_page_offset,
        "codes_bytes": codes.total_compressed_size,
        "compressed": codes.compression != "UNCOMPRESSED",
        "run_rows": rows,
        "run_frames": frames,
        "run_height": height,
        "run_width": width,
    }


def leaves_of(group: Any) -> dict[str, int]:
    """Map the paths of a row group's column chunks to their numbers.

    Does not use the file's schema: read from a thread, pyarrow 26 leaks 30 KB per file for it.
    """
    return {group.column(leaf).path_in_schema: leaf for leaf in range(group.num_columns)}


def _uniform(group: Any, leaves: dict[str, int]) -> Any:
    """One run for a row group whose statistics show a single clip shape, else None."""
    shape: list[int] = []
    for name in _SHAPE:
        found = group.column(leaves[name]).statistics
        if found is None or not found.has_min_max or found.min != found.max:
            return None
        shape.append(found.min)
    return np.array([[group.num_rows, *shape]])


def _runs(shapes: Any) -> Any:
    """Run-length encode the rows of int [n, 3]; returns int [R, 4] of run lengths and shapes."""
    changes = np.flatnonzero(np.any(shapes[1:] != shapes[:-1], axis=1)) + 1
    starts = np.concatenate(([0], changes)) if len(shapes) else changes
    lengths = np.diff(np.append(starts, len(shapes)))
    return np.concatenate((lengths[:, None], shapes[starts]), axis=1)


@contextmanager
def open_shard(folder: Folder, shard_id: str) -> Generator[pq.ParquetFile]:
    """Open a shard for the duration of the block; reads verify checksums.

    Raises FormatError, naming the file, if it is missing or damaged, also for reads within the block.
    """
    with _opened(folder, shard_id) as (file, _):
        yield file


def changed_shards(folder: Folder) -> FormatError:
    """Returns the error about shards that are not those of the index in memory."""
    return FormatError(f"The shards of {folder.uri} have changed since it was opened.")


@contextmanager
def _opened(folder: Folder, shard_id: str) -> Generator[tuple[pq.ParquetFile, int]]:
    """Open a shard; yields it and its size in bytes."""
    name = shard_file(shard_id)
    uri = f"{folder.uri}/{name}"
    try:
        with store_errors(uri), damage_named(uri), folder.open(name) as handle:
            size = handle.seek(0, 2)
            handle.seek(0)
            yield pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True), size
    except FileNotFoundError as error:
        raise FormatError(f"The token shard {uri} is missing.") from error


@contextmanager
def damage_named(uri: str) -> Generator[None]:
    """Turn pyarrow's errors about damaged bytes into a FormatError that names the file.

    pyarrow raises a bare OSError for damage; an OSError with an errno comes from the disk or network. A
    damaged footer may also lack an expected column or contain a name that is not valid UTF-8.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FormatError(f"The token shard {uri} is damaged: {' '.join(str(error).split())}") from error
