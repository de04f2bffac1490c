"""Where each sample stands: shards in plan order, their row groups, and counts from footers alone."""

from bisect import bisect_right
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import Folder, store_errors
from schemas.dataset import shard_file
from schemas.errors import FormatError, TokenizerMismatchError
from schemas.token_shard import ShardMetadata, read_shard_metadata

_FOOTER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """One row group: the unit of reading."""

    shard_id: str
    number: int
    first_sample: int
    num_samples: int


class SampleIndex:
    """Row groups in the dataset's order, and the way from a sample's number to its place."""

    def __init__(self, row_groups: Sequence[RowGroup]) -> None:
        self.row_groups = tuple(row_groups)
        self._firsts = [group.first_sample for group in self.row_groups]
        self.num_samples = sum(group.num_samples for group in self.row_groups)

    def find(self, sample: int) -> tuple[RowGroup, int]:
        """Row group and row in it of a sample in [0, num_samples)."""
        group = self.row_groups[bisect_right(self._firsts, sample) - 1]
        return group, sample - group.first_sample


def build_index(folder: Folder, shard_ids: Sequence[str], tokenizer_fingerprint: str) -> SampleIndex:
    """Read the footers of shards, in order. Raises FormatError or TokenizerMismatchError, naming the file."""
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        footers = list(pool.map(lambda shard_id: read_footer(folder, shard_id), shard_ids))
    groups: list[RowGroup] = []
    first = 0
    for shard_id, (metadata, counts) in zip(shard_ids, footers, strict=True):
        if metadata.tokenizer_fingerprint != tokenizer_fingerprint:
            raise TokenizerMismatchError(
                f"{folder.uri}/{shard_file(shard_id)} was made by tokenizer "
                f"{metadata.tokenizer_fingerprint}, the dataset by {tokenizer_fingerprint}; the folder "
                "mixes two datasets."
            )
        for number, count in enumerate(counts):
            groups.append(RowGroup(shard_id=shard_id, number=number, first_sample=first, num_samples=count))
            first += count
    return SampleIndex(groups)


def read_footer(folder: Folder, shard_id: str) -> tuple[ShardMetadata, list[int]]:
    """A shard's own metadata and the rows of each of its row groups."""
    with open_shard(folder, shard_id) as file:
        metadata = read_shard_metadata(file.schema_arrow, origin=f"{folder.uri}/{shard_file(shard_id)}")
        counts = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    return metadata, counts


@contextmanager
def open_shard(folder: Folder, shard_id: str) -> Generator[pq.ParquetFile]:
    """An open shard for the length of the block, checksums verified on reading.

    Raises FormatError, naming the file, where it is missing or its bytes are damaged, in the block too.
    """
    name = shard_file(shard_id)
    uri = f"{folder.uri}/{name}"
    try:
        with store_errors(uri), damage_named(uri), folder.open(name) as handle:
            yield pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise FormatError(f"The token shard {uri} is missing.") from error


@contextmanager
def damage_named(uri: str) -> Generator[None]:
    """Turn what Parquet says of damaged bytes into a FormatError that names the file.

    pyarrow raises a bare OSError for damage; one with an error number is the disk's or the network's.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FormatError(f"The token shard {uri} is damaged: {' '.join(str(error).split())}") from error
