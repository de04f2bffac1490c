"""Arrays out of pickles of numpy arrays, without executing them."""

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
                f"the file asks for {module}.{name}, which plain arrays do not; nothing of it was run"
            ) from None


def read_arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of nested dicts by their path, ``a/b/c``. Raises FormatError on anything but dicts of arrays."""
    try:
        nested = _ArraysOnly(io.BytesIO(data)).load()
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"the file is no pickle of arrays ({error})") from error
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
        raise FormatError(f"{path or 'the file'} is a {type(value).__name__} and no array of floats")
