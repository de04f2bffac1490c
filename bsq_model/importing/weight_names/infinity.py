"""The tensors of Infinity's files; published modules hold a layer each, so that its name is there twice."""

import re
from collections.abc import Collection

from bitmill.bsq_model.importing.weight_names.sorted_names import SortedNames

_CONSTANTS = re.compile(r"quantizer?\.lfq\.(mask|zero|codebook)")
"""One module by two names; it has powers of two for indices, which nothing reads."""


def infinity_names(names: Collection[str], needed: Collection[str]) -> SortedNames:
    """Sort the names of the files' tensors; ``needed`` are the network's, which are used in any case."""
    return SortedNames(
        used={_published(name): name for name in needed},
        unused={name: "constants" for name in names if _CONSTANTS.fullmatch(name)},
    )


def _published(name: str) -> str:
    """Return ``mid.block_1.norm1.norm.weight`` of ``mid.block_1.norm1.weight``; other layers are ``conv``."""
    *_, layer, kind = name.split(".")
    return f"{name.removesuffix(kind)}{'norm' if layer.startswith('norm') else 'conv'}.{kind}"
