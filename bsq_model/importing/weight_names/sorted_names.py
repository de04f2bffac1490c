"""The names of a file's tensors, sorted by what the tensors are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SortedNames:
    """Names in the files; one that is in neither is unknown."""

    used: dict[str, str] = field(default_factory=dict[str, str])
    """The network's name of each tensor that it needs; one that the files lack may be there."""
    unused: dict[str, str] = field(default_factory=dict[str, str])
    """What each tensor is that published files have and no codes or pixels depend on."""
    linear: frozenset[str] = frozenset()
    """Names of linear layers' weights [E, C], which the network has as 1×1 convolutions."""


def sort_names(
    names: Iterable[str], unused: Callable[[str], str | None], own: Callable[[str], str] = str
) -> SortedNames:
    """Sort names of which ``own`` gives the network's, and ``unused`` what those are that it does without."""
    kinds = {name: unused(name) for name in names}
    return SortedNames(
        used={name: own(name) for name, kind in kinds.items() if kind is None},
        unused={name: kind for name, kind in kinds.items() if kind is not None},
    )
