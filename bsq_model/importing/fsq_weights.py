"""Imports published weights of VidTok and Cosmos; our tensors have the published names."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bitmill.bsq_model.fsq.tokenizer import FSQTokenizer
from bitmill.bsq_model.importing.checked_weights import check_shapes, loaded, tensors_of
from bitmill.bsq_model.importing.inert_pickle import SavedTensor
from bitmill.bsq_model.importing.safetensors_files import read_safetensors
from bitmill.bsq_model.importing.torch_files import read_checkpoint
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.any_tokenizer_config import FSQConfig
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig

_LEVELS = ("quantizer._levels", "inv_quant.quantizer._levels")
_COSMOS_CONSTANTS = re.compile(
    r"(inv_quant\.)?quantizer\.(_levels|_basis|implicit_codebook)"
    r"|(encoder\.|decoder\.un)patcher(3d)?\.(wavelets|_arange|patch_size_buffer)"
)
_COSMOS_CONVOLUTION = re.compile(
    r"(encoder\.down|decoder\.up)\.(?P<level>\d+)\.(down|up)sample\.conv[123]\.conv3d\.(weight|bias)"
)


@dataclass(frozen=True, kw_only=True)
class ImportedFSQ:
    """A tokenizer, and what its files have besides: the number of tensors of each kind."""

    tokenizer: FSQTokenizer
    left_out: Mapping[str, int]


def import_fsq(paths: Sequence[Path], config: FSQConfig) -> ImportedFSQ:
    """Return the tokenizer of ``config`` with the weights of one or several files, float32.

    Raises UsageError or FormatError naming the tensor that is missing, unknown, not finite, of the wrong
    shape, or in two files.
    """
    where = " and ".join(map(str, paths))
    found = _all_weights(paths)
    with torch.device("meta"):
        tokenizer = FSQTokenizer(config)
    expected = tokenizer.network.state_dict()
    besides = {name: kind for name in found.keys() - expected.keys() if (kind := _unused(name, config))}
    check_shapes(expected, {name: saved for name, saved in found.items() if name not in besides}, where)
    for name in found.keys() & set(_LEVELS):
        _check_levels(found[name].load().flatten().tolist(), config, f"{where}: {name}")
    weights = {name: loaded(name, found[name], where) for name in expected}
    tokenizer.network.load_state_dict(weights, assign=True)
    tokenizer.network.requires_grad_(True)
    return ImportedFSQ(tokenizer=tokenizer, left_out=dict(sorted(Counter(besides.values()).items())))


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
    state = whole.get("state_dict")
    return tensors_of(state if isinstance(state, dict) else whole, path)


def _unused(name: str, config: FSQConfig) -> str | None:
    """Return what a tensor is that published files have and no codes or pixels depend on; else None."""
    if isinstance(config, VidTokConfig):
        part = name.partition(".")[0]
        return {"loss": "training loss", "model_ema": "weight average, which the published code leaves"}.get(
            part
        )
    if _COSMOS_CONSTANTS.fullmatch(name):
        return "constants"
    convolution = _COSMOS_CONVOLUTION.fullmatch(name)
    if isinstance(config, CosmosVideoConfig) and convolution:
        # The last level of the encoder and the first of the decoder change no resolution.
        last = len(config.channel_multipliers) - 1
        levels = range(last) if name.startswith("encoder") else range(1, last + 1)
        return "convolutions of levels that skip them" if int(convolution["level"]) in levels else None
    return None


def _check_levels(levels: list[int], config: FSQConfig, where: str) -> None:
    if tuple(levels) != config.levels:
        raise FormatError(f"{where} is {levels}, but the config has {list(config.levels)}.")
