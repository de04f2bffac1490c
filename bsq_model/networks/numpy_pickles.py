"""Reads pickles of numpy arrays without executing them."""

import io
import pickle
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]

from bitmill.schemas.errors import FormatError

_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise FormatError(
                f"the file refers to {module}.{name}, which plain arrays do not need; nothing was executed"
            ) from None


def read_arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return arrays of nested dicts by path, ``a/b/c``. Raises FormatError if there is anything else."""
    try:
        nested = _ArraysOnly(io.BytesIO(data)).load()
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"the file is not a pickle of arrays ({error})") from error
    found: dict[str, np.ndarray[Any, Any]] = {}
    _collect(nested, "", found)
    return found


def _collect(value: Any, path: str, found: dict[str, np.ndarray[Any, Any]]) -> None:
    if isinstance(value, dict):
        for key, below in value.items():
            _collect(below, f"{path}/{key}" if path else str(key), found)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        found[path] = value
    else:
        raise FormatError(f"{path or 'the file'} is a {type(value).__name__}, not an array of floats")
