"""Links from a page to files outside the docs become plain names: the site has no such files."""

import re
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parents[1]
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)#]*)(?:#[^)]*)?\)", re.DOTALL)


def _by_name(app: Any, page: str, source: list[str]) -> None:
    del app
    folder = (_DOCS / page).parent

    def plain(found: re.Match[str]) -> str:
        target = (folder / found["target"]).resolve()
        if target.is_relative_to(_DOCS) and target.exists():
            return found[0]
        text = found["text"]
        if not target.exists():
            raise FileNotFoundError(f"{page} links to {found['target']}, which does not exist")
        return text if "`" in text else f"{text} (`{target.relative_to(_DOCS.parent)}`)"

    source[0] = _LINK.sub(plain, source[0])


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _by_name)
    return {"parallel_read_safe": True}
