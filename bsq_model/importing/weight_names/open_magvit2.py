"""The tensors of Open-MAGVIT2's files; our network has the published names."""

from collections.abc import Collection

from bitmill.bsq_model.importing.weight_names.sorted_names import SortedNames, sort_names
from bitmill.schemas.errors import FormatError

_AVERAGE = "model_ema."
"""Before the averages' names, which are the weights' names without their dots."""


def open_magvit2_names(
    names: Collection[str], needed: Collection[str], where: str, *, averaged: bool
) -> SortedNames:
    """Sort the names of a file's tensors; ``needed`` are the network's, which may be of its averaged weights.

    Raises FormatError if an average is missing, or two weights' names are the same without dots.
    """
    if not averaged:
        return sort_names(names, lambda name: _unused(name) or _of_average(name))
    used: dict[str, str] = {}
    for name in sorted(needed):
        average = _AVERAGE + name.replace(".", "")
        if average in used:
            raise FormatError(f"{where}: {average} may be the average of {used[average]} or of {name}.")
        used[average] = name
    missing = sorted(used.keys() - set(names))
    if missing:
        more = f", and {len(missing) - 1} more," if len(missing) > 1 else ""
        raise FormatError(
            f"{where}: {missing[0]}{more} is missing: the config uses averaged weights; pass a checkpoint "
            "that has them, or use the raw ones by --no-ema."
        )
    others = sort_names(
        set(names) - used.keys(),
        lambda name: "raw weights, of which the averages are used" if name in needed else _unused(name),
    )
    return SortedNames(used=used | others.used, unused=others.unused)


def _unused(name: str) -> str | None:
    if name.startswith(("loss.", f"{_AVERAGE}loss")):
        return "training loss"
    return (
        "counters of the weight average" if name in {f"{_AVERAGE}decay", f"{_AVERAGE}num_updates"} else None
    )


def _of_average(name: str) -> str | None:
    return "weight average" if name.startswith(_AVERAGE) else None
