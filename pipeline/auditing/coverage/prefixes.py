"""Folders by which sources are counted: deep enough to tell them apart, few enough to look at."""

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_DEPTH = 3
_MAX_PREFIXES = 50


@dataclass(frozen=True)
class PrefixRule:
    """How many of a URI's folders, from the left, make its prefix."""

    depth: int

    def prefix(self, uri: str) -> str:
        """The source's folder, as far as the rule goes."""
        return "/".join(_folders(uri)[: self.depth])


def prefix_rule(uris: Iterable[str]) -> PrefixRule:
    """Folders that all have in common, and up to three more while there are no more than fifty of them."""
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
    """Whether there are more than ``count`` different values."""
    seen: set[str] = set()
    for value in values:
        seen.add(value)
        if len(seen) > count:
            return True
    return False


def _folders(uri: str) -> list[str]:
    """A URI's folders; a scheme and its bucket, and a leading slash, belong to the first."""
    scheme, colon, rest = uri.partition("://")
    root, path = (scheme + colon, rest) if colon else ("", uri)
    if path.startswith("/"):
        root, path = root + "/", path[1:]
    folders = path.split("/")[:-1] or [""]
    return [root + folders[0], *folders[1:]]
