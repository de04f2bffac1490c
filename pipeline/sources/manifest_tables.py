"""Parses a manifest's Parquet, CSV or JSONL into rows of plain values, which ``manifest`` checks."""

import csv
import io
import json
import math
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.schemas.errors import BadJobError
from bitmill.schemas.text_files import text_of

Row = dict[str, Any]
"""Values by column: ``uri``, ``start`` and ``end`` as in the table, all others as JSON values."""

SECONDS = ("start", "end")
OWN_COLUMNS = ("uri", *SECONDS)

_BATCH_ROWS = 8192
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|nan", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NO_BLANK = re.compile(r"[^ \t\r\n]")
_LONGEST_OBJECT = 1 << 20
"""Maximum characters of a JSON object over several lines, which is parsed again with each line."""
_EDGES = re.compile(r"^\W+|\W+$")
_NO_VALUE = (pa.ArrowException, ValueError, ArithmeticError, LookupError, TypeError)
"""pyarrow's errors for values without a Python form: invalid UTF-8, year 30000, unknown time zone."""


def table_rows(uri: str, data: bytes) -> Iterator[Row]:
    """Yield the rows of a manifest's bytes; empty cells of Parquet and CSV are omitted.

    Raises BadJobError, naming the row, if they cannot be read.
    """
    suffix = uri.rsplit(".", 1)[-1].lower()
    if suffix == "parquet":
        return _parquet_rows(uri, data)
    if suffix == "csv":
        return _csv_rows(uri, data)
    if suffix in ("jsonl", "ndjson"):
        return _json_rows(uri, data)
    raise BadJobError(f"The manifest {uri} must end in .parquet, .csv or .jsonl.")


def _csv_rows(uri: str, data: bytes) -> Iterator[Row]:
    # A process-wide setting; nothing else here relies on the limit.
    csv.field_size_limit(sys.maxsize)
    number = 0
    with text_of(data, what=f"The manifest {uri}") as text:
        lines = filter(None, csv.reader(text, strict=True))
        try:
            names = next(lines, [])
            _check_header(uri, names)
            for number, cells in enumerate(lines, start=1):
                if len(cells) != len(names):
                    what = f"it has {len(cells)} cells, where the header has {len(names)}"
                    raise _unreadable(uri, number, "csv", what)
                row: Row = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
                for name in SECONDS:
                    if name in row:
                        row[name] = _number(row[name])
                yield row
        except csv.Error as error:
            raise _unreadable(uri, number + 1, "csv", str(error)) from error


def _number(text: str) -> int | float | str | None:
    """Parse a CSV's start or end; all other CSV columns stay text, such as a caption 0012 or null."""
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text or None


def _json_rows(uri: str, data: bytes) -> Iterator[Row]:
    number = 0
    known: set[str] = set(OWN_COLUMNS)
    with text_of(data, what=f"The manifest {uri}") as text:
        try:
            for number, row in enumerate(_json_objects(text), start=1):  # noqa: B007 - read where it fails
                if not known.issuperset(row):
                    _check_names(uri, row)
                    known.update(row)
                yield row
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise _unreadable(uri, number + 1, "jsonl", what) from error


def _json_objects(text: Iterable[str]) -> Iterator[Row]:
    """Yield JSON objects, one per line; also accepts one over several lines and several on one line.

    Raises ValueError, RecursionError.
    """
    # NaN is not valid JSON, though Python writes it.
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=lambda _: None)
    rest = ""
    for line in text:
        rest += line
        at = 0
        while found := _NO_BLANK.search(rest, at):
            at = found.start()
            if found[0] != "{":
                raise ValueError("it is not a JSON object")
            try:
                row, at = decoder.raw_decode(rest, at)
            except json.JSONDecodeError as error:
                if error.pos < len(rest.rstrip()) or len(rest) - at > _LONGEST_OBJECT:
                    raise
                break
            yield row
        else:
            at = len(rest)
        rest = rest[at:]
    if rest:
        raise ValueError("the file ends inside it")


def _object(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) != len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"it has {name!r} twice")
    return found


def _parquet_rows(uri: str, data: bytes) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            _check_header(uri, file.schema_arrow.names)
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in _values(uri, batch, number):
                    yield {
                        name: value if name in OWN_COLUMNS else _plain(value)
                        for name, value in row.items()
                        if value is not None
                    }
                number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        sentence = " ".join(str(error).split())
        raise BadJobError(f"The manifest {uri} cannot be read as parquet: {sentence}") from error


def _values(uri: str, batch: pa.RecordBatch, before: int) -> list[Row]:
    try:
        return batch.to_pylist()
    except _NO_VALUE:
        for place in range(batch.num_rows):
            for name in batch.schema.names:
                try:
                    batch.column(name)[place].as_py()
                except _NO_VALUE as error:
                    what = f"its {name!r} ({batch.schema.field(name).type}) has no Python form: {error}"
                    raise _unreadable(uri, before + place + 1, "parquet", what) from error
        raise


def _plain(value: Any) -> Any:
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    # Dates, decimals and bytes have no JSON type and become text. NaN is not valid JSON.
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


def _check_header(uri: str, names: Collection[str]) -> None:
    _check_names(uri, names)
    if "uri" not in names:
        raise BadJobError(f"The manifest {uri} has no column 'uri' (it has {', '.join(names) or 'none'}).")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BadJobError(f"The manifest {uri} has the column {min(repeated)!r} twice.")


def _check_names(uri: str, names: Iterable[str]) -> None:
    """Reject near-misses of our column names: as metadata they would silently select whole videos."""
    for name in names:
        meant = _EDGES.sub("", unicodedata.normalize("NFKC", name)).casefold()
        if meant in OWN_COLUMNS and name != meant:
            raise BadJobError(f"The manifest {uri} has a column {name!r}; write it {meant!r}.")


def _unreadable(uri: str, number: int, kind: str, what: str) -> BadJobError:
    sentence = " ".join(what.split()).rstrip(".")
    return BadJobError(f"The manifest {uri} cannot be read as {kind}: row {number}: {sentence}.")
