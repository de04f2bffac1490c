"""Keeps pyarrow from importing pandas, which takes half a second, where it is installed but not used."""

import sys
from collections.abc import Sequence
from types import ModuleType

import pyarrow as pa


def without_pandas() -> None:
    """Have pyarrow's conversions in this process not look for pandas objects; call it before the first one.

    At its first conversion of Python objects pyarrow tries to import pandas; later only to convert to pandas.
    Does nothing if pandas is imported already. For processes that are bitmill's own.
    """
    if "pandas" not in sys.modules:
        finder = _NoPandas()
        sys.meta_path.insert(0, finder)
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(finder)


class _NoPandas:
    """Tells the import system that there is no pandas."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
