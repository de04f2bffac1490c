"""Reads one token shard completely: footer, every page's checksum, codes against shapes."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.auditing.shard.token_words import token_words
from bitmill.pipeline.dataset.token_counts import token_counts
from bitmill.pipeline.reading.index.footers import damage_named, leaves_of
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.pipeline.reading.shards.parquet_pages import (
    WrongChecksumError,
    WrongLengthsError,
    check_pages,
    find_clips,
)
from bitmill.pipeline.storage import Folder, is_local, join, store_errors
from bitmill.schemas.arrays import Bools, Codes, Int64s
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.token_shard import ShardMetadata, read_shard_metadata, token_columns
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Code
from bitmill.schemas.reports.audit_findings import Kind

_CODES = "codes"
_SHAPE = ("num_frames", "height", "width")
_MAX_SIDE = 1 << 20
"""No clip has this many frames, rows or columns of tokens."""


@dataclass(frozen=True, kw_only=True)
class ReadGroup:
    """The readable parts of a row group."""

    num_rows: int
    table: pa.Table | None
    """All columns but the codes; None if one of them is damaged."""
    num_tokens: Int64s
    """int64 [n]; 0 where a row's shape has none, or is unknown."""
    codes_fit: Bools
    """bool [n]: false where the length of a row's codes does not match its shape."""
    data: RowGroupData | None
    """Set if all of it is valid."""


@contextmanager
def open_whole(folder: Folder, shard: PlannedShard, found: FindingTally) -> Generator["OpenShard"]:
    """Open a shard for the duration of the block; adds findings to ``found``.

    Raises FormatError if it is not a Parquet file or its footer is damaged; passes on the block's errors.
    """
    name = shard_file(shard.shard_id)
    uri = join(folder.uri, name)
    with ExitStack() as stack:
        with store_errors(uri), damage_named(uri):
            handle = stack.enter_context(folder.open(name))
            # For remote files, fetch a row group's columns in one request; for local ones that only costs
            # memory.
            file = pq.ParquetFile(handle, pre_buffer=not is_local(uri), page_checksum_verification=True)
            opened = OpenShard(handle, file, shard, uri, found)
        yield opened


class OpenShard:
    """An open shard."""

    def __init__(
        self, handle: BinaryIO, file: pq.ParquetFile, shard: PlannedShard, uri: str, found: FindingTally
    ) -> None:
        self._handle = handle
        self._file = file
        self._shard = shard
        self._uri = uri
        self._found = found
        self._name = shard_file(shard.shard_id)
        self._size = handle.seek(0, 2)
        self._schema = file.schema_arrow
        self._others = [name for name in self._schema.names if name != _CODES]
        footer = file.metadata
        self._groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        self._codes_leaf = leaves_of(self._groups[0]).get(_CODES, 0) if self._groups else 0
        self._buffer = np.zeros(0, np.uint8)

    def metadata(self) -> ShardMetadata | None:
        """The shard's metadata; None, with a finding, if its schema is not that of a shard."""
        try:
            metadata = read_shard_metadata(self._schema, origin="the file")
        except FormatError as error:
            self._found.note(Kind.WRONG_SCHEMA, str(error), file=self._name)
            return None
        if not self._schema.remove_metadata().equals(pa.schema(token_columns(metadata.format_version))):
            detail = "its columns are different, in another order, or nullable"
            self._found.note(Kind.WRONG_SCHEMA, detail, file=self._name)
            return None
        return metadata

    def groups(self, metadata: ShardMetadata) -> Iterator[ReadGroup]:
        """Yield row groups in order, each read once; notes and skips damage."""
        for number in range(len(self._groups)):
            yield self._group(number, metadata)

    def _group(self, number: int, metadata: ShardMetadata) -> ReadGroup:
        num_rows: int = self._groups[number].num_rows
        chunk = self._chunk(number)
        table = self._columns(number)
        if table is None:
            self._tried(number, lambda: check_pages(chunk.data))
            none = np.zeros(num_rows, np.int64)
            return ReadGroup(
                num_rows=num_rows, table=None, num_tokens=none, codes_fit=none.astype(bool), data=None
            )
        shapes_n3 = np.stack([table.column(name).to_numpy() for name in _SHAPE], axis=1).astype(np.int64)
        codes_fit: Bools = np.all((shapes_n3 > 0) & (shapes_n3 < _MAX_SIDE), axis=1)
        num_tokens = token_counts(shapes_n3 * codes_fit[:, None], metadata.schedules)
        codes_fit &= num_tokens > 0
        clips = self._clips(number, chunk, num_tokens, metadata) if codes_fit.all() else "lengths"
        if clips == "lengths":
            codes_fit &= self._fitting(number, shapes_n3, num_tokens, metadata)
        data = None
        if isinstance(clips, tuple):
            codes, starts = clips
            data = RowGroupData(
                shard=self._shard.shard_index,
                number=number,
                codes=codes,
                starts=starts,
                shapes_n3=shapes_n3,
                num_tokens=num_tokens,
                table=table,
            )
        is_usable = data is not None and self._are_codes(data, metadata.code)
        return ReadGroup(
            num_rows=num_rows,
            table=table,
            num_tokens=num_tokens,
            codes_fit=codes_fit,
            data=data if is_usable else None,
        )

    def _are_codes(self, data: RowGroupData, code: Code) -> bool:
        """Note clips with a token that is not below the number of codes; true if there are none."""
        if code.num_codes == 1 << code.bits_per_token:
            return True
        found = False
        for clips, words_WN in token_words(data.codes, data.starts, data.num_tokens, code.bits_per_token):
            wrong = words_WN[0] >= np.uint64(code.num_codes)
            if wrong.any():
                rows = np.repeat(np.arange(clips.start, clips.stop), data.num_tokens[clips])[wrong]
                for row, count in zip(*np.unique(rows, return_counts=True), strict=True):
                    detail = f"{count} of {data.num_tokens[row]} tokens are not below {code.num_codes}"
                    self._note(Kind.CODE_OUT_OF_RANGE, detail, data.number, int(row))
                found = True
        return not found

    def _columns(self, number: int) -> pa.Table | None:
        """All columns but the codes. If one is damaged, reads each separately, to find out which."""
        try:
            return self._read(number, self._others)
        except FormatError as error:
            whole = error
        found_before = sum(self._found.counts.values())
        for name in self._others:
            try:
                self._read(number, [name])
            except FormatError as error:
                self._note(damage_kind(error), f"column {name!r}: {damage_cause(error)}", number)
        if sum(self._found.counts.values()) == found_before:
            self._note(damage_kind(whole), damage_cause(whole), number)
        return None

    def _read(self, number: int, names: list[str]) -> pa.Table:
        with store_errors(self._uri), damage_named(self._uri):
            return self._file.read_row_group(number, columns=names)

    def _chunk(self, number: int) -> Codes:
        """The bytes of the codes' column chunk, followed by ``SPARE_BYTES``; valid until the next call.

        Raises FormatError if the location in the footer is outside the file.
        """
        column = self._groups[number].column(self._codes_leaf)
        start, size = column.data_page_offset, column.total_compressed_size
        if start < 0 or size < 0 or start + size > self._size:
            raise FormatError(f"The codes of row group {number} lie outside the file.")
        if len(self._buffer) < size + SPARE_BYTES:
            self._buffer = np.zeros(size + SPARE_BYTES, np.uint8)
        with store_errors(self._uri), damage_named(self._uri):
            self._handle.seek(start)
            data = self._handle.read(size)
        if len(data) != size:
            raise FormatError(f"The file ends within the codes of row group {number}.")
        self._buffer[:size] = np.frombuffer(data, np.uint8)
        return self._buffer[:size]

    def _clips(
        self, number: int, chunk: Codes, num_tokens: Int64s, metadata: ShardMetadata
    ) -> tuple[Codes, Int64s] | Literal["lengths"] | None:
        """Codes with spare bytes, and where clips begin; "lengths" if lengths are wrong; None if damaged."""
        compressed = self._groups[number].column(self._codes_leaf).compression != "UNCOMPRESSED"
        found: list[tuple[Codes, Int64s]] = []

        def find() -> None:
            bits = metadata.bits_per_token
            found.append(find_clips(chunk, num_tokens, bits, compressed=compressed, verify=True))

        try:
            self._tried(number, find)
        except WrongLengthsError:
            return "lengths"
        if not found:
            return None
        codes, starts = found[0]
        if compressed:
            return np.concatenate([codes, np.zeros(SPARE_BYTES, np.uint8)]), starts
        return self._buffer[: len(codes) + SPARE_BYTES], starts

    def _tried(self, number: int, read_codes: Callable[[], None]) -> None:
        """Run ``read_codes`` and note damaged pages. Raises WrongLengthsError on wrong lengths."""
        try:
            read_codes()
        except WrongLengthsError:
            raise
        except WrongChecksumError as error:
            self._note(Kind.BAD_CHECKSUM, f"column {_CODES!r}: {error}", number)
        except ValueError as error:
            self._note(Kind.UNREADABLE, f"column {_CODES!r}: {error}", number)

    def _fitting(self, number: int, shapes_n3: Int64s, num_tokens: Int64s, metadata: ShardMetadata) -> Bools:
        """bool [n]: which rows' codes match their shape, checked one by one; notes the others."""
        fits = np.zeros(len(shapes_n3), bool)
        bits = metadata.bits_per_token
        try:
            codes: list[Any] = self._read(number, [_CODES]).column(_CODES).to_pylist()
        except FormatError as error:
            self._note(damage_kind(error), f"column {_CODES!r}: {damage_cause(error)}", number)
            return fits
        for row, (data, count) in enumerate(zip(codes, num_tokens.tolist(), strict=True)):
            used = count * bits % 8
            fits[row] = (
                count > 0 and len(data) == packed_size(count, bits) and not (used and data[-1] >> used)
            )
            if not count:
                grid = "×".join(map(str, shapes_n3[row].tolist()))
                detail = f"the shard's tokens have no grid of {grid}"
                self._note(Kind.WRONG_SHAPE, detail, number, row)
            elif not fits[row]:
                detail = f"{len(data)} bytes are not {count} tokens of {bits} bits, zero-padded"
                self._note(Kind.WRONG_CODES_LENGTH, detail, number, row)
        if fits.all():
            self._note(Kind.WRONG_CODES_LENGTH, "a page contains bytes of no clip", number)
        return fits

    def _note(self, kind: Kind, detail: str, group: int, row: int | None = None) -> None:
        where = f"row group {group}" if row is None else f"row group {group}, row {row} of it"
        self._found.note(kind, detail, file=self._name, where=where)


def damage_kind(error: FormatError) -> Literal[Kind.BAD_CHECKSUM, Kind.UNREADABLE]:
    """Which damage a FormatError reports; pyarrow identifies a wrong checksum only in its message."""
    return Kind.BAD_CHECKSUM if "CRC" in str(error) else Kind.UNREADABLE


def damage_cause(error: FormatError) -> str:
    """pyarrow's message without the file name, which is reported separately."""
    return str(error).split(" is damaged: ", 1)[-1]
