"""Folders by which sources are counted: deep enough to differ, few enough to display."""

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_DEPTH = 3
_MAX_PREFIXES = 50


@dataclass(frozen=True)
class PrefixRule:
    """Number of a URI's folders, from the left, that form its prefix."""

    depth: int

    def prefix(self, uri: str) -> str:
        """The source's folder, truncated by the rule."""
        return "/".join(_folders(uri)[: self.depth])


def prefix_rule(uris: Iterable[str]) -> PrefixRule:
    """The folders that all URIs share, plus up to three more while these give at most fifty prefixes."""
    common: list[str] | None = None
    for uri in (listed := list(uris)):
        folders = _folders(uri)
        if common is None:
            common = folders
        elif folders[: len(common)] != common:
            same = (
                place for place, pair in enumerate(zip(common, folders, strict=False)) if pair[0] != pair[1]
            )
            common = common[: next(same, min(len(common), len(folders)))]
    shared = max(1, len(common or ()))
    for depth in range(shared + _MAX_DEPTH, shared, -1):
        rule = PrefixRule(depth)
        if not _more_than(_MAX_PREFIXES, map(rule.prefix, listed)):
            return rule
    return PrefixRule(shared)


def _more_than(count: int, values: Iterable[str]) -> bool:
    """True if there are more than ``count`` distinct values."""
    seen: set[str] = set()
    for value in values:
        seen.add(value)
        if len(seen) > count:
            return True
    return False


def _folders(uri: str) -> list[str]:
    """A URI's folders; the first includes a scheme and its bucket, or a leading slash."""
    scheme, colon, rest = uri.partition("://")
    root, path = (scheme + colon, rest) if colon else ("", uri)
    if path.startswith("/"):
        root, path = root + "/", path[1:]
    folders = path.split("/")[:-1] or [""]
    return [root + folders[0], *folders[1:]]
