"""Reads and checks manifests: Parquet, CSV or JSONL tables of sources, their spans and metadata."""

import math
import os
import posixpath
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from bitmill.pipeline.sources.manifest_tables import OWN_COLUMNS, SECONDS, Row, table_rows
from bitmill.pipeline.storage import Folder, is_local, normalise
from bitmill.schemas.errors import BadJobError, InfrastructureError, TransientError, UsageError
from bitmill.schemas.ids import canonical_json

_MAX_SECONDS = 2**63 // 10**9
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One checked row: a source, its span in nanoseconds, and its other columns as JSON."""

    uri: str
    start_ns: int | None
    end_ns: int | None
    metadata: str | None


def read_manifest(uri: str) -> list[ManifestRow]:
    """Read and check a manifest at a normalised URI; rows keep their order.

    A relative ``uri`` is resolved against the manifest's folder. Raises BadJobError, naming column and row,
    if the table cannot be read, ``uri`` is missing or empty, a span is invalid, or a row repeats another.
    """
    base = uri.rsplit("/", 1)[0]
    rows: list[ManifestRow] = []
    seen: dict[tuple[str, int | None, int | None], int] = {}
    for number, values in enumerate(table_rows(uri, _read(uri)), start=1):
        row = _row(values, base, where=f"Manifest {uri}, row {number}")
        first = seen.setdefault((row.uri, row.start_ns, row.end_ns), number)
        if first != number:
            raise BadJobError(
                f"Manifest {uri}, row {number} repeats row {first} (same uri, start and end); "
                "its clips would be duplicated, so remove one of them."
            )
        rows.append(row)
    return rows


def _read(uri: str) -> bytes:
    base, name = uri.rsplit("/", 1)
    try:
        return Folder(base or "/").read_bytes(name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadJobError(f"The manifest {uri} does not exist or is not a file.") from error
    except PermissionError as error:
        raise BadJobError(
            f"No permission to read the manifest {uri}; check your access rights or credentials."
        ) from error
    except TransientError as error:
        raise InfrastructureError(str(error)) from error


def _row(values: Row, base: str, *, where: str) -> ManifestRow:
    start_ns, end_ns = (_nanoseconds(values.get(name), f"{where}: {name}") for name in SECONDS)
    if end_ns is not None and end_ns <= (start_ns or 0):
        raise BadJobError(f"{where}: end {values['end']} is not after start {values.get('start') or 0}.")
    return ManifestRow(
        uri=_uri(values.get("uri"), base, where),
        start_ns=start_ns,
        end_ns=end_ns,
        metadata=_metadata(values, where),
    )


def _uri(uri: object, base: str, where: str) -> str:
    if uri is None or (isinstance(uri, str) and not uri.strip()):
        raise BadJobError(f"{where} has no uri.")
    if not isinstance(uri, str):
        raise BadJobError(f"{where}: uri is {_shown(uri)}; it must be text.")
    # As in a shell, ~name is a plain relative name if no such user exists.
    is_relative = is_local(uri) and not os.path.isabs(os.path.expanduser(uri))  # noqa: PTH111, PTH117
    try:
        return normalise(_below(base, uri, where) if is_relative else uri)
    except UsageError as error:
        raise BadJobError(f"{where}: {error}") from error


def _below(base: str, uri: str, where: str) -> str:
    """Resolve a relative URI against the manifest's folder; stores do not know ``.`` and ``..``."""
    scheme, mark, folder = base.partition("://")
    if is_local(base) or scheme == "file" or not {".", ".."} & set(uri.split("/")):
        return f"{base}/{uri}"
    bucket, _, inner = folder.partition("/")
    path = posixpath.normpath(f"{inner}/{uri}".lstrip("/"))
    if path.split("/", 1)[0] in (".", ".."):
        raise BadJobError(
            f"{where}: uri {_shown(uri)} leads to or above {scheme}://{bucket}; write a path in it."
        )
    return f"{scheme}{mark}{bucket}/{path}"


def _nanoseconds(seconds: object, what: str) -> int | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | Decimal):
        raise BadJobError(f"{what} is {_shown(seconds)}; it must be seconds, as a number.")
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise BadJobError(f"{what} is {seconds}; it must be seconds from 0 up, or empty.")
    if seconds < 0:
        raise BadJobError(f"{what} is {_shown(seconds)}; it must be seconds from 0 up, or empty.")
    if seconds >= _MAX_SECONDS:
        raise BadJobError(f"{what} is {_shown(seconds)}; it must be a time in seconds.")
    exact = Fraction(seconds) if isinstance(seconds, Decimal) else seconds
    return round(exact * 1_000_000_000)


def _metadata(values: Row, where: str) -> str | None:
    others = {name: value for name, value in values.items() if name not in OWN_COLUMNS}
    if not others:
        return None
    try:
        text = canonical_json(others)
        text.encode()
    except UnicodeEncodeError as error:
        raise BadJobError(
            f"{where} contains a lone surrogate (half a character), which is not valid text."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadJobError(
            f"{where} contains a number too large for a float, or is nested too deeply."
        ) from error
    return text


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, int | float | Decimal) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
