"""The tensors of VidTok's files; our network has the published names."""

from collections.abc import Collection

from bitmill.bsq_model.importing.weight_names.sorted_names import SortedNames, sort_names

_UNUSED = {"loss": "training loss", "model_ema": "weight average, which the published code leaves"}


def vidtok_names(names: Collection[str]) -> SortedNames:
    """Sort the names of a file's tensors."""
    return sort_names(names, lambda name: _UNUSED.get(name.partition(".")[0]))
