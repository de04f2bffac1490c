"""A clip's columns as one JSON object, and an upper bound of its size computed without making it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json

_NULL_BYTES = len("null")
_FLOAT_BYTES = 25
"""The longest float that Python writes, such as -2.2250738585072014e-308."""

Sizes = npt.NDArray[np.int64]


def clip_json(columns: Mapping[str, Any]) -> bytes:
    """The columns unchanged, with metadata parsed into an object.

    Raises FormatError, naming the clip, if the metadata is not a JSON object.
    """
    text = columns["metadata"]
    try:
        if text is not None and not isinstance(json.loads(text), dict):
            raise ValueError("it is another value")
    except ValueError as error:
        raise FormatError(
            f"The metadata of clip {columns['clip_id']} of {columns['source']} is not a JSON object: {error}."
        ) from error
    others = canonical_json({name: value for name, value in columns.items() if name != "metadata"})
    return f'{others[:-1]},"metadata":{text or "null"}}}'.encode()


def most_json_bytes(rows: pa.Table) -> Sizes:
    """Upper bound of the bytes of each clip's JSON; rarely more than a few dozen too high.

    ``rows`` have the columns of the JSON. Cutting a dataset checks every clip, which must take far less time
    than writing it.
    """
    total = np.full(rows.num_rows, len("{}"), dtype=np.int64)
    for name in rows.column_names:
        total += len(f'"{name}":,') + _value_bytes(name, rows.column(name))
    return total


def _value_bytes(name: str, column: "pa.ChunkedArray[Any]") -> Sizes:
    kind = column.type
    if pa.types.is_list(kind):
        lengths = _numbers(pc.list_value_length(column))
        numbers = _digits(pc.list_flatten(column)) + 1
        ends = np.cumsum(lengths)
        sums = np.concatenate([[0], np.cumsum(numbers)])
        return sums[ends] - sums[ends - lengths] + len("[]")
    if pa.types.is_floating(kind):
        return np.full(len(column), _FLOAT_BYTES, dtype=np.int64)
    if not pa.types.is_string(kind):
        return _digits(column, null=_NULL_BYTES)
    plain = _numbers(pc.binary_length(column), null=_NULL_BYTES)
    if name == "metadata":
        return plain
    doubled = _numbers(pc.count_substring_regex(column, pattern=r'["\\]'))
    sixfold = _numbers(pc.count_substring_regex(column, pattern=r"[\x00-\x1f]"))
    return plain + len('""') + doubled + 5 * sixfold


def _digits(integers: Any, *, null: int = 0) -> Sizes:
    return _numbers(pc.binary_length(pc.cast(integers, pa.string())), null=null)


def _numbers(array: Any, *, null: int = 0) -> Sizes:
    return array.fill_null(null).to_numpy().astype(np.int64)
