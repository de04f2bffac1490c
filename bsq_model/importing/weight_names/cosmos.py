"""The tensors of Cosmos' files; our networks have the published names.

In a checkpoint of its training the network is ``network`` and its average ``ema``, with dashes for dots; the
published code exports the average where there is one.
"""

import re
from collections.abc import Collection, Mapping

from bitmill.bsq_model.importing.inert_pickle import SavedTensor
from bitmill.bsq_model.importing.weight_names.sorted_names import SortedNames, sort_names
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig

_LEVELS = ("quantizer._levels", "inv_quant.quantizer._levels", "network.quantizer._levels")
_AVERAGE = "ema.network-"
_OTHER_PARTS = ("loss.", "metric.", "ema.loss-", "ema.metric-")
_CONSTANTS = re.compile(
    r"(inv_quant\.)?quantizer\.(_levels|_basis|implicit_codebook)"
    r"|(encoder\.|decoder\.un)patcher(3d)?\.(wavelets|_arange|patch_size_buffer)"
)
_CONVOLUTION = re.compile(
    r"(encoder\.down|decoder\.up)\.(?P<level>\d+)\.(down|up)sample\.conv[123]\.conv3d\.(weight|bias)"
)


def cosmos_names(
    names: Collection[str], needed: Collection[str], config: CosmosVideoConfig | CosmosImageConfig
) -> SortedNames:
    """Sort the names of the files' tensors; ``needed`` are the network's."""
    has_average = any(name.startswith(_AVERAGE) for name in names)

    def unused(name: str) -> str | None:
        if name.startswith(_OTHER_PARTS):
            return "training loss and metrics"
        if _own_name(name) not in needed:
            return _unused(_own_name(name), config)
        is_raw = has_average and not name.startswith(_AVERAGE)
        return "weights whose average is used" if is_raw else None

    def own(name: str) -> str:
        return _own_name(name) if _own_name(name) in needed else name

    return sort_names(names, unused, own)


def check_levels(
    found: Mapping[str, SavedTensor], config: CosmosVideoConfig | CosmosImageConfig, where: str
) -> None:
    """Raise FormatError if a file's quantizer has other levels than the config."""
    for name in found.keys() & set(_LEVELS):
        levels = found[name].load().flatten().tolist()
        if tuple(levels) != config.levels:
            raise FormatError(f"{where}: {name} is {levels}, but the config has {list(config.levels)}.")


def _own_name(name: str) -> str:
    if name.startswith(_AVERAGE):
        name = name.removeprefix("ema.").replace("-", ".")
    # A compiled network is within another module.
    return name.removeprefix("network.").removeprefix("_orig_mod.")


def _unused(name: str, config: CosmosVideoConfig | CosmosImageConfig) -> str | None:
    if _CONSTANTS.fullmatch(name):
        return "constants"
    convolution = _CONVOLUTION.fullmatch(name)
    if isinstance(config, CosmosVideoConfig) and convolution:
        # The last level of the encoder and the first of the decoder change no resolution.
        last = len(config.channel_multipliers) - 1
        levels = range(last) if name.startswith("encoder") else range(1, last + 1)
        return "convolutions of levels that skip them" if int(convolution["level"]) in levels else None
    return None
