"""Compiled functions: kept on disk where that can be written, and working where it cannot."""

import pytest
from numba.core.caching import CacheImpl

from bitmill.schemas.compiling import compiled


def add(a: int, b: int) -> int:
    return a + b


def test_a_function_is_compiled_and_kept():
    function = compiled(add)
    assert function(2, 3) == 5
    assert function.stats.cache_path


def test_a_machine_without_a_folder_to_write_compiles_for_the_process(monkeypatch):
    """A container whose user has no home, and whose packages are on a read-only disk."""
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    function = compiled(add)
    assert function(2, 3) == 5
    assert function.stats.cache_path is None


def test_what_else_goes_wrong_is_told(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", property(lambda self: 1 // 0))
    with pytest.raises(ZeroDivisionError, match="modulo by zero"):
        compiled(add)
