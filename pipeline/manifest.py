"""Manifests: Parquet, CSV or JSONL tables that name sources, their spans and what travels along."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from bitmill.pipeline.storage import Folder, is_local, normalise
from bitmill.schemas.errors import BadJobError, InfrastructureError, TransientError
from bitmill.schemas.ids import canonical_json

_MAX_SECONDS = 2**63 // 10**9
_OWN_COLUMNS = ("uri", "start", "end")


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One checked row: a source, its wanted span in nanoseconds, and its other columns as JSON."""

    uri: str
    start_ns: int | None
    end_ns: int | None
    metadata: str | None


def read_manifest(uri: str) -> list[ManifestRow]:
    """Read and check a manifest at a normalised URI; rows keep their order.

    A relative ``uri`` is meant from the manifest's folder. Raises BadJobError, naming column and row, where
    the table cannot be read, ``uri`` is missing or empty, a span is no span, or a row repeats another.
    """
    table = _parse(uri, _read(uri))
    _check_types(table, uri)
    base = uri.rsplit("/", 1)[0]
    rows: list[ManifestRow] = []
    seen: dict[tuple[str, int | None, int | None], int] = {}
    for number, values in enumerate(table.to_pylist(), start=1):
        row = _row(values, base, where=f"Manifest {uri}, row {number}")
        first = seen.setdefault((row.uri, row.start_ns, row.end_ns), number)
        if first != number:
            raise BadJobError(
                f"Manifest {uri}, row {number} repeats row {first} (same uri, start and end); "
                "its clips would be doubled, so remove one of them."
            )
        rows.append(row)
    return rows


def _read(uri: str) -> bytes:
    base, name = uri.rsplit("/", 1)
    try:
        return Folder(base or "/").read_bytes(name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadJobError(f"The manifest {uri} does not exist or is no file.") from error
    except PermissionError as error:
        raise BadJobError(f"The manifest {uri} may not be read; check your rights or credentials.") from error
    except TransientError as error:
        raise InfrastructureError(str(error)) from error


def _parse(uri: str, data: bytes) -> pa.Table:
    suffix = uri.rsplit(".", 1)[-1].lower()
    try:
        if suffix == "parquet":
            return pq.read_table(io.BytesIO(data))
        if suffix == "csv":
            return pacsv.read_csv(io.BytesIO(data), convert_options=_csv_types(data))
        if suffix in ("jsonl", "ndjson"):
            return pajson.read_json(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        sentence = " ".join(str(error).split())
        raise BadJobError(f"The manifest {uri} cannot be read as {suffix}: {sentence}") from error
    raise BadJobError(f"The manifest {uri} must end in .parquet, .csv or .jsonl.")


def _csv_types(data: bytes) -> pacsv.ConvertOptions:
    """Of a CSV only start and end are numbers; a caption 0012 or null is text, and stays as written."""
    names = next(csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"))), [])
    texts = {name: pa.string() for name in names if name not in ("start", "end")}
    return pacsv.ConvertOptions(column_types=texts, strings_can_be_null=True, null_values=[""])


def _check_types(table: pa.Table, uri: str) -> None:
    if "uri" not in table.column_names:
        raise BadJobError(f"The manifest {uri} has no column 'uri' (it has {', '.join(table.column_names)}).")
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise BadJobError(f"The manifest {uri} has the column {min(repeated)!r} twice.")
    for field in table.schema:
        kind = field.type
        if field.name == "uri" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise BadJobError(f"The manifest {uri}: column 'uri' has type {kind}; it must be text.")
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
        if field.name in ("start", "end") and not numeric:
            raise BadJobError(
                f"The manifest {uri}: column {field.name!r} has type {kind}; it must be seconds, as a number."
            )


def _row(values: Mapping[str, Any], base: str, *, where: str) -> ManifestRow:
    uri = values["uri"]
    if not uri:
        raise BadJobError(f"{where} has no uri.")
    start_ns, end_ns = (_nanoseconds(values.get(name), f"{where}: {name}") for name in ("start", "end"))
    if end_ns is not None and end_ns <= (start_ns or 0):
        raise BadJobError(f"{where}: end {values['end']} is not after start {values.get('start') or 0}.")
    relative = is_local(uri) and not uri.startswith(("/", "~", "file://"))
    others = {name: value for name, value in values.items() if name not in _OWN_COLUMNS and value is not None}
    return ManifestRow(
        uri=normalise(f"{base}/{uri}" if relative else uri),
        start_ns=start_ns,
        end_ns=end_ns,
        metadata=_metadata_json(others),
    )


def _nanoseconds(seconds: float | None, what: str) -> int | None:
    if seconds is None:
        return None
    if not math.isfinite(seconds) or seconds < 0:
        raise BadJobError(f"{what} is {seconds}; it must be seconds from 0 up, or empty.")
    if seconds >= _MAX_SECONDS:
        raise BadJobError(f"{what} is {seconds}; that is no time in seconds.")
    return round(seconds * 1_000_000_000)


def _metadata_json(values: Mapping[str, Any]) -> str | None:
    if not values:
        return None
    # Dates, decimals and bytes have no JSON form of their own; they travel as text. NaN is no JSON.
    plain = json.loads(json.dumps(values, default=str), parse_constant=lambda _: None)
    return canonical_json(plain)
