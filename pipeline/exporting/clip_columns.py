"""Reads columns of a dataset, without the codes, in shard order, several shards at a time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.reading.index.footers import damage_named
from bitmill.pipeline.storage import Folder, store_errors
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.dataset.token_shard import read_shard_metadata
from bitmill.schemas.errors import FormatError

_THREADS = 8
_AHEAD = 16

T = TypeVar("T")


def list_clips(
    folder: Folder, shard_ids: Sequence[str], columns: Sequence[str], each: Callable[[pa.Table], T]
) -> Iterator[T]:
    """Yield ``each`` of every shard's rows, in order; reads a few shards ahead.

    Raises FormatError, naming the file, if a shard is missing or damaged.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future[T]] = deque()
        try:
            for shard_id in shard_ids:
                ahead.append(pool.submit(lambda wanted: each(shard_rows(folder, wanted, columns)), shard_id))
                if len(ahead) >= _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def shard_rows(folder: Folder, shard_id: str, columns: Sequence[str]) -> pa.Table:
    """These columns of one shard's rows."""
    name = shard_file(shard_id)
    uri = f"{folder.uri}/{name}"
    try:
        with store_errors(uri), damage_named(uri), folder.open(name) as handle:
            # Without the codes a row group is small; this reads its columns in one or two requests.
            file = pq.ParquetFile(handle, pre_buffer=True, page_checksum_verification=True)
            read_shard_metadata(file.schema_arrow, origin=uri)
            return file.read(columns=list(columns))
    except FileNotFoundError as error:
        raise FormatError(f"The token shard {uri} is missing.") from error
