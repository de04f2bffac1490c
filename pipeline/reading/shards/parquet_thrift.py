"""The part of Thrift's compact protocol that is needed to read Parquet page headers.

A struct is read as a dict from field number to value; unknown fields are kept, so that files of newer writers
stay readable.
"""

from typing import Any, Final

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS: Final = {_I16, _I32, _I64}


def read_struct(data: memoryview, offset: int) -> tuple[dict[int, Any], int]:
    """Parse the struct at ``offset``; returns it and the offset after it. Raises ValueError on bad bytes."""
    try:
        return _struct(data, offset)
    except (IndexError, RecursionError) as error:
        raise ValueError("not a Thrift struct") from error


def _struct(data: memoryview, offset: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[offset]
        offset += 1
        if head == 0:
            return fields, offset
        step, kind = head >> 4, head & 15
        if step:
            number += step
        else:
            number, offset = _zigzag(data, offset)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], offset = _value(data, offset, kind)


def _value(data: memoryview, offset: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _zigzag(data, offset)
    if kind in (_TRUE, _FALSE, _BYTE):
        return data[offset], offset + 1
    if kind == _DOUBLE:
        return bytes(data[offset : offset + 8]), offset + 8
    if kind == _BINARY:
        size, offset = _varint(data, offset)
        return bytes(data[offset : offset + size]), offset + size
    if kind in (_LIST, _SET):
        return _list(data, offset)
    if kind == _STRUCT:
        return _struct(data, offset)
    raise ValueError(f"not a Thrift type: {kind}")


def _list(data: memoryview, offset: int) -> tuple[list[Any], int]:
    count, kind = data[offset] >> 4, data[offset] & 15
    offset += 1
    if count == 15:
        count, offset = _varint(data, offset)
    if count > len(data):
        raise ValueError("a Thrift list longer than its bytes")
    values: list[Any] = []
    for _ in range(count):
        value, offset = _value(data, offset, kind)
        values.append(value)
    return values, offset


def _zigzag(data: memoryview, offset: int) -> tuple[int, int]:
    number, offset = _varint(data, offset)
    return (number >> 1) ^ -(number & 1), offset


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, offset
        shift += 7
        if shift > 63:
            raise ValueError("a Thrift number of more than 64 bits")
