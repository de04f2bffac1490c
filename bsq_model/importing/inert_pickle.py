"""An unpickler that loads only tensors and plain containers and replaces everything else by inert stubs.

The modules of TorchScript archives are containers of tensors, too; what they compute is not looked at.

A pickle is a program that may call anything it can import. Here it imports nothing: every other name becomes
``Inert``, which accepts any call, state or item and does nothing. Checkpoints contain optimizers, argparse
namespaces, numpy scalars and OmegaConf objects next to their tensors; these become stubs and are ignored.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from bitmill.schemas.errors import FormatError

_STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MEMO_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT"}
_MOST_LEVELS, _MOST_TUPLES = 10_000, 10**7
"""Of tuples within one. As a dict's key it is hashed, which visits them all, in calls within calls of C."""

_Opcodes = Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]


class Inert:
    """A stub for anything that is not admitted."""

    def __new__(cls, *_args: object, **_options: object) -> "Inert":
        """Accept any arguments and return a new stub."""
        return super().__new__(cls)

    def __call__(self, *_args: object, **_options: object) -> "Inert":
        """Return a stub."""
        return Inert()

    def __setstate__(self, state: object) -> None:
        """Forget it."""

    def __setitem__(self, key: object, value: object) -> None:
        """Forget it."""

    def append(self, value: object) -> None:
        """Forget it."""

    def extend(self, values: object) -> None:
        """Forget them."""

    def add(self, value: object) -> None:
        """Forget it."""


class ScriptModule:
    """A module of a TorchScript archive: the attributes that its state lists, without its code."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        self.attributes = dict(state) if isinstance(state, dict) else {}


class PlainDict(dict[Any, Any]):
    """An OrderedDict's items, without the attributes that torch sets on a state dict."""

    def __setstate__(self, state: object) -> None:
        """Forget it."""


@dataclass(frozen=True)
class StorageType:
    """A pickle's ``torch.FloatStorage`` etc."""

    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A flat array in the file, read on demand."""

    key: str
    dtype: torch.dtype
    numel: int
    read: Callable[[], bytes]
    """Its bytes, exactly ``numel`` elements."""


@dataclass(frozen=True, kw_only=True)
class SavedTensor:
    """A tensor in the file: its position in its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def load(self) -> Tensor:
        """Return a copy of its values. Raises FormatError if the storage's bytes are missing."""
        data = self.storage.read()
        flat = torch.frombuffer(bytearray(data), dtype=self.storage.dtype) if data else torch.empty(0)
        return flat.as_strided(self.shape, self.stride, self.offset).clone().contiguous()


class TensorUnpickler(pickle.Unpickler):
    """Loads one pickle; ``storage`` returns the Storage of (dtype, key, elements)."""

    def __init__(self, file: BinaryIO, storage: Callable[[torch.dtype, str, int], Storage]) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return the admitted object, or ``Inert`` for any other name; never imports anything."""
        if module == "torch" and name in _STORAGE_DTYPES:
            return StorageType(_STORAGE_DTYPES[name])
        if module.partition(".")[0] == "__torch__":
            return ScriptModule
        return _ADMITTED.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage of ("storage", type, key, device, elements, view); view: old files only."""
        match pid:
            case ("storage", StorageType(dtype), str(key), _, int(numel), *view) if view in ([], [None]):
                return self._storage(dtype, key, numel)
            case _:
                return Inert()


def load_pickle(file: BinaryIO, storage: Callable[[torch.dtype, str, int], Storage]) -> Any:
    """Load the pickle at the file's position and move to its end. Raises FormatError if it is damaged.

    Checks its opcodes first: a memo index far beyond the pickle's length would allocate memory for it, and
    hashing tuples deep within each other would end the process.
    """
    start = file.tell()
    try:
        _check_tuples(_checked_memo(file))
        end = file.tell()
        file.seek(start)
        whole = TensorUnpickler(io.BytesIO(file.read(end - start)), storage).load()
        file.seek(end)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"its pickle is damaged ({type(error).__name__}: {error})") from error
    return whole


def _checked_memo(file: BinaryIO) -> _Opcodes:
    for opcode, argument, place in pickletools.genops(file):
        if opcode.name in _MEMO_OPCODES and isinstance(argument, int) and argument > file.tell():
            raise FormatError("its pickle claims more objects than it has bytes")
        yield opcode, argument, place


def _check_tuples(opcodes: _Opcodes) -> None:
    """Follow the stack, where an object is its levels of tuples and their number; others have their most."""
    stack: list[tuple[int, int]] = []
    marks: list[int] = []
    memo: dict[int, tuple[int, int]] = {}
    for opcode, argument, _ in opcodes:
        name, takes = opcode.name, opcode.stack_before
        if name == "MARK":
            marks.append(len(stack))
            continue
        if name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
            continue
        is_slice = pickletools.markobject in takes
        start = marks.pop() - takes.index(pickletools.markobject) if is_slice else len(stack) - len(takes)
        taken = stack[start:]
        del stack[start:]
        levels, count = (max((one[part] for one in taken), default=0) for part in (0, 1))
        if "TUPLE" in name:
            levels, count = 1 + levels, 1 + sum(one[1] for one in taken)
        if levels > _MOST_LEVELS or count > _MOST_TUPLES:
            raise FormatError("its pickle nests more tuples in one than any checkpoint has")
        if "GET" in name:
            levels, count = memo.get(argument, (0, 0))
        elif name in _MEMO_OPCODES:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = levels, count
        stack.extend([(levels, count)] * len(opcode.stack_after))


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: Any) -> SavedTensor | Inert:
    """Replaces torch._utils._rebuild_tensor and _rebuild_tensor_v2; checks bounds before reading."""
    if not isinstance(storage, Storage):
        return Inert()
    places = (offset, *shape, *stride)
    if any(type(n) is not int or n < 0 for n in places) or len(shape) != len(stride):
        raise FormatError("a tensor's shape is not a list of sizes")
    numel = 1
    for side in shape:
        numel *= side
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if numel and (numel > storage.numel or last >= storage.numel):
        raise FormatError(f"a tensor of shape {list(shape)} reaches beyond its storage of {storage.numel}")
    return SavedTensor(storage=storage, offset=offset, shape=tuple(shape), stride=tuple(stride))


def _rebuild_parameter(data: Any, *_rest: Any) -> Any:
    return data if isinstance(data, SavedTensor) else Inert()


def _rebuild_from_type(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    """Replaces torch._tensor._rebuild_from_type_v2: tensors with attributes, which are dropped."""
    if function in (_rebuild_tensor, _rebuild_parameter):
        return function(*arguments)
    return Inert()


def _ordered_dict(*items: Any) -> PlainDict:
    return PlainDict(*items)


def _shape(sides: Any = ()) -> tuple[Any, ...]:
    return tuple(sides)


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): _shape,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
}
