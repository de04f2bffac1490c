"""Links from a page to files outside the docs: templates and examples are downloads, the rest plain names."""

import re
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parents[1]
_DOWNLOADS = ("deploy/", "examples/", "schemas/job.example", "schemas/train.example")
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
        if target.is_file() and str(target.relative_to(_DOCS.parent)).startswith(_DOWNLOADS):
            return f"{{download}}`{text.strip('`')} <{found['target']}>`"
        return text if "`" in text else f"{text} (`{target.relative_to(_DOCS.parent)}`)"

    source[0] = _LINK.sub(plain, source[0])


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _by_name)
    return {"parallel_read_safe": True}
