"""Reads torch's checkpoint formats, zip (also TorchScript) and legacy, as nested containers of tensors."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch

from bitmill.bsq_model.importing.inert_pickle import SavedTensor, ScriptModule, Storage, load_pickle
from bitmill.schemas.errors import FormatError, UsageError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_COUNT_BYTES = 8
_MOST_PARTS = 100_000
"""Modules and tensors of a TorchScript archive; published ones have some hundreds."""
_LONGEST_NAME = 1000
_MOST_GROWTH = 10
"""How many times the archive's size its records may have; torch deflates none but those of TorchScript."""

_ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError),
    # Names that are no text; what is marked as patched or encrypted.
    *(ValueError, RuntimeError),
)
"""What ``zipfile`` raises for damaged archives."""


def read_checkpoint(path: Path) -> Any:
    """Read what ``torch.save`` or ``torch.jit.save`` wrote, without executing any of it.

    Returns dicts, lists, tuples, numbers and strings as they are, tensors as ``SavedTensor`` (read on
    ``load()``), a TorchScript module as the state dict that it has, everything else as ``Inert``. Raises
    UsageError if the file is missing or unreadable, FormatError if it is damaged or of another format.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            whole = _read_zip(path) if is_zip else _read_legacy(file, path)
            return _state_of(whole) if isinstance(whole, ScriptModule) else whole
    except FileNotFoundError as error:
        raise UsageError(f"The checkpoint {path} does not exist.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{path} is not a checkpoint that can be read.") from error
    except (FormatError, RecursionError) as error:
        raise FormatError(f"{path} is damaged or not a torch checkpoint: {error}.") from error


def _read_zip(path: Path) -> Any:
    try:
        # Open until the last tensor is gone: to open it for each would read its directory each time.
        archive = zipfile.ZipFile(path)
        root = _root(archive)
        if sum(info.file_size for info in archive.infolist()) > _MOST_GROWTH * path.stat().st_size:
            raise FormatError("its records are compressed far more than weights can be")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise FormatError("it was written on a big-endian machine")
        is_script = f"{root}constants.pkl" in archive.namelist()
        compressions = (zipfile.ZIP_STORED, *((zipfile.ZIP_DEFLATED,) if is_script else ()))

        def storage(dtype: torch.dtype, key: str, numel: int) -> Storage:
            record = f"{root}data/{key}"
            _check_record(archive, record, numel * dtype.itemsize, compressions)
            return Storage(
                key=key, dtype=dtype, numel=numel, read=lambda: _read_record(archive, record, path)
            )

        return load_pickle(io.BytesIO(archive.read(f"{root}data.pkl")), storage)
    except _ZIP_DAMAGE as error:
        raise FormatError(f"its zip archive is damaged ({error})") from error


def _state_of(script: ScriptModule) -> dict[str, SavedTensor]:
    """Return all tensors of a module and those in it, by their dotted names."""
    tensors: dict[str, SavedTensor] = {}
    modules = [("", script)]
    # The list grows meanwhile; a module may name itself, or the same ones again and again.
    for prefix, module in modules:
        for name, value in module.attributes.items():
            if isinstance(value, SavedTensor):
                tensors[f"{prefix}{name}"] = value
            elif isinstance(value, ScriptModule):
                modules.append((f"{prefix}{name}.", value))
        if len(modules) + len(tensors) > _MOST_PARTS or len(prefix) > _LONGEST_NAME:
            raise FormatError("its modules hold each other")
    return tensors


def _root(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(names) != 1:
        raise FormatError("its archive contains no data.pkl")
    return names[0].removesuffix("data.pkl")


def _check_record(
    archive: zipfile.ZipFile, record: str, size_bytes: int, compressions: tuple[int, ...]
) -> None:
    info = archive.getinfo(record)
    if info.compress_type not in compressions or info.file_size != size_bytes:
        raise FormatError(f"its record {record} has {info.file_size} bytes instead of {size_bytes}")


def _read_record(archive: zipfile.ZipFile, record: str, path: Path) -> bytes:
    try:
        return archive.read(record)
    except _ZIP_DAMAGE as error:
        raise FormatError(f"{path} is damaged: its record {record} cannot be read ({error}).") from error


def _read_legacy(file: BinaryIO, path: Path) -> Any:
    """Read three small pickles (magic, protocol, system), the object, the storage keys, then their bytes.

    The object precedes its storages, so it is loaded twice: first to find them, then with their offsets
    known.
    """

    def refuse(_dtype: torch.dtype, _key: str, _numel: int) -> Storage:
        raise FormatError("it contains a tensor in an unexpected place")

    if load_pickle(file, refuse) != _LEGACY_MAGIC or load_pickle(file, refuse) != _LEGACY_PROTOCOL:
        raise FormatError("it starts with the magic number of neither format")
    load_pickle(file, refuse)
    start = file.tell()
    seen: dict[str, Storage] = {}

    def note(dtype: torch.dtype, key: str, numel: int) -> Storage:
        return seen.setdefault(key, Storage(key=key, dtype=dtype, numel=numel, read=bytes))

    load_pickle(file, note)
    keys = load_pickle(file, refuse)
    if not isinstance(keys, list) or set(map(type, keys)) - {str} or sorted(keys) != sorted(seen):
        raise FormatError("its list of storages does not fit its tensors")
    places = _places(file, keys, seen)

    def found(dtype: torch.dtype, key: str, numel: int) -> Storage:
        place, size = places[key], numel * dtype.itemsize
        return Storage(key=key, dtype=dtype, numel=numel, read=lambda: _read_span(path, place, size))

    file.seek(start)
    return load_pickle(file, found)


def _places(file: BinaryIO, keys: list[Any], seen: dict[str, Storage]) -> dict[str, int]:
    """Return the offset of each storage's bytes, which follow its number of elements."""
    places: dict[str, int] = {}
    place = file.tell()
    end = file.seek(0, 2)
    for key in keys:
        file.seek(place)
        count = int.from_bytes(file.read(_COUNT_BYTES), "little")
        storage = seen[key]
        places[key] = place + _COUNT_BYTES
        place = places[key] + storage.numel * storage.dtype.itemsize
        if count != storage.numel or place > end:
            raise FormatError(f"its storage {key} is truncated")
    return places


def _read_span(path: Path, place: int, size_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        data = file.read(size_bytes)
    if len(data) != size_bytes:
        raise FormatError(f"{path} is truncated.")
    return data
