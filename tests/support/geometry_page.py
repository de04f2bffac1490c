"""The rules of docs/geometry.md as the page computes them, to hold the code to."""

import re
from types import SimpleNamespace
from typing import Any

from tests.support.commands import REPOSITORY


def page_block() -> str:
    """The page's program."""
    page = (REPOSITORY / "docs" / "geometry.md").read_text()
    (block,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", page, re.DOTALL)
    return block


def page_rules() -> Any:
    """Its functions, without what it does with a dataset."""
    names: dict[str, Any] = {}
    exec(compile(page_block().split("\n\n\nbuckets, patch")[0], "geometry.md", "exec"), names)
    return SimpleNamespace(**names)
