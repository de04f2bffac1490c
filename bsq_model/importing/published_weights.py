"""Imports published weights of the families whose networks are in ``published``."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bitmill.bsq_model.importing.checked_weights import check_shapes, loaded, tensors_of
from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.bsq_model.importing.inert_pickle import SavedTensor
from bitmill.bsq_model.importing.safetensors_files import read_safetensors
from bitmill.bsq_model.importing.torch_files import read_checkpoint
from bitmill.bsq_model.importing.weight_names.cosmos import check_levels, cosmos_names
from bitmill.bsq_model.importing.weight_names.emu3 import emu3_names
from bitmill.bsq_model.importing.weight_names.infinity import infinity_names
from bitmill.bsq_model.importing.weight_names.open_magvit2 import open_magvit2_names
from bitmill.bsq_model.importing.weight_names.sorted_names import SortedNames
from bitmill.bsq_model.importing.weight_names.vidtok import vidtok_names
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig

_STATE_KEYS = ("state_dict", "model", "vae")
"""Entries of a checkpoint that are the state dict; else the whole file is one."""


@dataclass(frozen=True, kw_only=True)
class ImportedTokenizer:
    """A tokenizer, and what its files have besides: the number of tensors of each kind."""

    tokenizer: PublishedTokenizer
    left_out: Mapping[str, int]


def import_published(paths: Sequence[Path], model: DescribedModel) -> ImportedTokenizer:
    """Return the tokenizer of a model with the weights of one or several files, float32.

    Raises UsageError or FormatError naming the tensor that is missing, unknown, not finite, of the wrong
    shape, or in two files.
    """
    where, config = " and ".join(map(str, paths)), model.config
    found = _all_weights(paths)
    with torch.device("meta"):
        tokenizer = PublishedTokenizer(config)
    expected = tokenizer.network.state_dict()
    names = _sort_names(found.keys(), expected.keys(), model, where)
    own_names = Counter(own for name, own in names.used.items() if name in found)
    twice = [own for own, count in own_names.items() if count > 1]
    if twice:
        raise FormatError(f"{where}: {twice[0]} is there twice, by different names; leave one of both out.")
    in_files = {own: name for name, own in names.used.items()}
    needed = {in_files.get(own, own): tensor for own, tensor in expected.items()}
    needed |= {name: needed[name][:, :, 0, 0] for name in names.linear}
    kept = {name: saved for name, saved in found.items() if name not in names.unused}
    check_shapes(needed, kept, where)
    if isinstance(config, CosmosVideoConfig | CosmosImageConfig):
        check_levels(found, config, where)
    weights = {
        own: loaded(name, kept[name], where).view(tensor.shape)
        for (own, tensor), name in zip(expected.items(), needed, strict=True)
    }
    tokenizer.network.load_state_dict(weights, assign=True)
    tokenizer.network.requires_grad_(True)
    return ImportedTokenizer(
        tokenizer=tokenizer, left_out=dict(sorted(Counter(names.unused.values()).items()))
    )


def _sort_names(
    names: Collection[str], needed: Collection[str], model: DescribedModel, where: str
) -> SortedNames:
    match model.config:
        case VidTokConfig():
            return vidtok_names(names)
        case CosmosVideoConfig() | CosmosImageConfig():
            return cosmos_names(names, needed, model.config)
        case InfinityConfig():
            return infinity_names(names, needed)
        case Emu3Config():
            return emu3_names(names, needed)
        case OpenMagvit2Config():
            return open_magvit2_names(names, needed, where, averaged=model.averaged)


def _all_weights(paths: Sequence[Path]) -> dict[str, SavedTensor]:
    found: dict[str, SavedTensor] = {}
    for path in paths:
        weights = _weights(path)
        twice = sorted(weights.keys() & found.keys())
        if twice:
            raise FormatError(f"{path} has {twice[0]}, which a file before it has, too; name each file once.")
        found |= weights
    return found


def _weights(path: Path) -> dict[str, SavedTensor]:
    """Return the tensors of a safetensors file, a TorchScript archive, a checkpoint or a state dict."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    whole = read_checkpoint(path)
    if not isinstance(whole, dict):
        raise FormatError(f"{path} contains no state dict.")
    states = [whole[key] for key in _STATE_KEYS if isinstance(whole.get(key), dict)]
    return tensors_of(states[0] if states else whole, path)
