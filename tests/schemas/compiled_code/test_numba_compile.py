"""Every compiled function: kept under names that no two processes can cross, whatever they save and when."""

import ast
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import pytest
from numba import types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher

import bitmill
from bitmill.pipeline.reading.kernels import unpack

ROOT = Path(bitmill.__file__).parent
ROOMS = ("schemas", "bsq_model", "pipeline", "jobs")
ONE, OTHER = (types.int64, types.int64), (types.float64, types.int64)
"""Two signatures: any, since nothing is compiled here."""

FORMS = [
    ("i", 18, 2, None, "most"),
    ("i", 18, 1, None, "most"),
    ("i", 36, 4, None, "most"),
    ("b", 18, 18, None, "most"),
    ("b", 18, 18, None, "least"),
    ("f", 18, 18, None, "most"),
    ("b", 100, 100, None, "most"),
    ("i", 11, 4, (8, 8, 5, 5), "least"),
    ("f", 11, 4, (8, 8, 5, 5), "least"),
]
"""Of the unpacking kernels, which are closures."""

Place = tuple[str, int]
"""A function by its file and line."""


def decorated() -> dict[Place, str]:
    """Functions that stand under one of the decorators in any room's source."""
    places: dict[Place, str] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text()
            if "bitmill.schemas.compiled_code.numba_compile" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                    if isinstance(decorator, ast.Name) and decorator.id.startswith("compiled"):
                        places[str(path), decorator.lineno] = node.name
    return places


def dispatchers() -> Iterator[Any]:
    """What numba made of them: those of modules, and those of every form of the kernels."""
    for path in sorted({path for path, _ in decorated()}):
        name = Path(path).relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", ".")
        values = vars(importlib.import_module(name)).values()
        yield from (value for value in values if isinstance(value, Dispatcher))
    for form in FORMS:
        for kernel in unpack._kernels(*form):
            yield from with_closure(kernel)


def with_closure(dispatcher: Any) -> Iterator[Any]:
    """A function, and those that it and they hold."""
    yield dispatcher
    for cell in dispatcher.py_func.__closure__ or ():
        if isinstance(cell.cell_contents, Dispatcher):
            yield from with_closure(cell.cell_contents)


def place_of(dispatcher: Any) -> Place:
    code = dispatcher.py_func.__code__
    return code.co_filename, code.co_firstlineno


def forms() -> dict[Place, list[Any]]:
    """Functions that are kept on disk, each with all its forms."""
    found: dict[Place, dict[int, Any]] = {}
    for one in dispatchers():
        if not isinstance(one._cache, NullCache):
            found.setdefault(place_of(one), {})[id(one)] = one
    return {place: list(ones.values()) for place, ones in found.items()}


def save(label: str, dispatcher: Any, signature: Any, has_addresses: bool = False) -> None:
    """Hand to the cache what a compiler would, with a label for its code."""
    made = SimpleNamespace(
        library=SimpleNamespace(has_dynamic_globals=has_addresses),
        lifted=(),
        codegen=dispatcher.targetctx.codegen(),
        _reduce=lambda: (label,),
    )
    dispatcher._cache.save_overload(signature, made)


def save_crosswise(monkeypatch: pytest.MonkeyPatch, first: Callable[[], None], second: Callable[[], None]):
    """Two savers of whom both look before either writes; the first one's last file comes after the second's.

    Each of their steps ends in a rename, where one waits for the other.
    """
    replace, patience = os.replace, 30
    second_looked, first_wrote, second_done = (threading.Event() for _ in range(3))
    renames = {"first": 0, "second": 0}

    def in_order(source: str, target: str) -> None:
        saver = threading.current_thread().name
        renames[saver] += 1
        if renames[saver] > 1:
            assert saver == "second" or second_done.wait(patience)
        elif saver == "first":
            assert second_looked.wait(patience)
        else:
            second_looked.set()
            assert first_wrote.wait(patience)
        replace(source, target)
        if saver == "first":
            first_wrote.set()

    def run_second() -> None:
        second()
        second_done.set()

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", in_order)
        threads = [
            threading.Thread(target=first, name="first"),
            threading.Thread(target=run_second, name="second"),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert second_done.is_set()


def test_every_compiled_function_is_looked_at_here():
    """A new closure is not found by itself: its forms are to be named here."""
    assert {place_of(one) for one in dispatchers()} == set(decorated())


def test_two_that_save_at_the_same_time_leave_each_its_own_code(monkeypatch, tmp_path):
    monkeypatch.setattr(CompileResult, "_rebuild", lambda context, *parts: parts)
    for place, ones in forms().items():
        pairs = [((ones[0], ONE), (ones[0], OTHER)), *(((ones[0], ONE), (one, ONE)) for one in ones[1:])]
        for number, pair in enumerate(pairs):
            folder = tmp_path / f"{Path(place[0]).stem}-{place[1]}-{number}"
            monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
            savers = [partial(save, label, *one) for label, one in zip("ab", pair, strict=True)]
            save_crosswise(monkeypatch, *savers)
            found = [one._cache.load_overload(signature, one.targetctx) for one, signature in pair]
            assert found == [("a",), ("b",)], place


def test_code_that_holds_addresses_of_its_process_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    save("a", next(dispatchers()), ONE, has_addresses=True)
    assert not list(tmp_path.iterdir())
