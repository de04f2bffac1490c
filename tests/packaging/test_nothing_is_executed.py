"""No module of the package runs what a weights file contains."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.test_folders import ROOMS
from tests.support.commands import REPOSITORY

EXECUTE = ("torch.jit", "torch.load", "torch.serialization", "pickle.load", "pickle.loads")
OWN_CACHE = Path("schemas/compiled_code/code_store.py")
"""Reads what it has itself written."""


def _executing(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            if isinstance(node, ast.keyword) and node.arg == "weights_only":
                yield "weights_only"
            continue
        yield from (name for name in names if f"{name}.".startswith(tuple(f"{ban}." for ban in EXECUTE)))


@pytest.mark.slow
@pytest.mark.parametrize("room", [*ROOMS, "bitmill/testing"])
def test_no_reader_of_pickles_or_torchscript_that_executes(room):
    found = {
        path: names
        for path in (REPOSITORY / room).rglob("*.py")
        if (names := sorted(set(_executing(ast.parse(path.read_text())))))
    }
    assert {path.relative_to(REPOSITORY) for path in found} <= {OWN_CACHE}, found


def test_the_check_sees_each_way_to_write_it():
    for line in (
        "torch.jit.load(path)",
        "from torch import jit",
        "from torch.jit import load",
        "import torch.jit",
        "torch.load(path, weights_only=False)",
        "load(path, weights_only=False)",
    ):
        assert list(_executing(ast.parse(line))), line
    assert not list(_executing(ast.parse("safetensors.torch.load(data)")))
