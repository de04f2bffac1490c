"""The values of columns as samples and batches have them: numbers, tensors, Python objects."""

from math import nan
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import get_worker_info

from bitmill.pipeline.reading.samples.inline_tensor import inline
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS

_OF_SHARDS = {field.name for field in TOKEN_COLUMNS}


def plain_row(table: pa.Table, row: int) -> dict[str, Any]:
    """One clip's values: a list of numbers as a tensor, which collates; everything else as Python has it."""
    one = table.slice(row, 1)
    return {name: _values(one.column(name))[0] for name in table.column_names}


def gathered(table: pa.Table, clips: Int64s) -> dict[str, list[Any]]:
    """Column values of some clips, for a batch: joined lists of numbers as tensors."""
    some = table.take(pa.array(clips, pa.int64()))
    in_worker = get_worker_info() is not None
    found: dict[str, list[Any]] = {}
    for name in table.column_names:
        values = some.column(name).to_pylist() if name in _OF_SHARDS else _values(some.column(name))
        # Otherwise each would be a file in shared memory.
        found[name] = [inline(one) if in_worker and torch.is_tensor(one) else one for one in values]
    return found


def collated(field: "pa.Field[Any]", values: list[Any]) -> Any:
    """Numbers, and lists of one length by type, as a tensor, regardless of the values; others as a list.

    A missing number (of a lost sample, a clip that is not in the joined file, or the frame rate of an image)
    is 0, or NaN for floats.
    """
    kind = field.type
    if pa.types.is_integer(kind):
        dtype = torch.uint64 if pa.types.is_uint64(kind) else torch.int64
        return torch.tensor([0 if value is None else value for value in values], dtype=dtype)
    if pa.types.is_floating(kind):
        return torch.tensor([nan if value is None else value for value in values], dtype=torch.float64)
    if pa.types.is_fixed_size_list(kind) and _is_numbers(kind):
        gap = nan if pa.types.is_floating(kind.value_type) else 0
        lacking = torch.full((kind.list_size,), gap, dtype=_torch_dtype(kind.value_type))
        # A batch of no samples has no tensors to stack.
        found = [lacking if value is None else value for value in values]
        return torch.stack(found) if found else lacking.new_empty((0, kind.list_size))
    return values


def _is_numbers(kind: Any) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def _torch_dtype(kind: pa.DataType) -> torch.dtype:
    return torch.from_numpy(np.empty(0, kind.to_pandas_dtype())).dtype


def _values(column: Any) -> list[Any]:
    if not _is_numbers(column.type):
        return column.to_pylist()
    gap = nan if pa.types.is_floating(column.type.value_type) else 0
    lists = column.combine_chunks()
    numbers: Any = pc.fill_null(pc.list_flatten(lists), pa.scalar(gap, column.type.value_type))
    flat = numbers.to_numpy(zero_copy_only=False).copy()
    lengths: Any = pc.list_value_length(lists)
    ends = np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False))
    # ``np.split`` makes one piece of nothing.
    pieces = np.split(flat, ends[:-1]) if len(ends) else []
    present = lists.is_valid().to_pylist()
    return [torch.from_numpy(piece) if there else None for piece, there in zip(pieces, present, strict=True)]
