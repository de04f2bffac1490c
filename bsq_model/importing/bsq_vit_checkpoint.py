"""Converts a published checkpoint to a tokenizer; tensor names map one to one, without leftovers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.importing.checked_weights import check_shapes, loaded, tensors_of
from bitmill.bsq_model.importing.inert_pickle import SavedTensor
from bitmill.bsq_model.importing.torch_files import read_checkpoint
from bitmill.bsq_model.training.initial_weights import with_num_frames
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig

Which = Literal["ema", "raw"]

_TEMPORAL = "temporal_positional_embedding"
_BUFFERS = {"quantize.basis", "quantize.group_basis"}
"""Powers of two, which our quantizer does not need."""

_PARTS = {
    "spatial_positions": "positional_embedding",
    "temporal_positions": _TEMPORAL,
    "embed.weight": "conv1.weight",
    "ln_1": "ln_1",
}
_BLOCK = {
    "qkv.weight": "attn.in_proj_weight",
    "qkv.bias": "attn.in_proj_bias",
    "attention_out": "attn.out_proj",
    "mlp_in": "mlp.c_fc",
    "mlp_out": "mlp.c_proj",
}


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A tokenizer from a checkpoint, and whether its weights are the averaged or the raw ones."""

    tokenizer: BSQTokenizer
    which: Which


def import_checkpoint(
    path: Path, config: TokenizerConfig, *, prefer_ema: bool = True, image_as_video: bool = False
) -> Imported:
    """Return the tokenizer of ``config`` with a checkpoint's weights, float32.

    Uses averaged weights if ``prefer_ema`` and the checkpoint has them. ``image_as_video`` accepts an image
    checkpoint for a config of several frames, with zero temporal positions. Raises UsageError or FormatError
    naming the tensor that is missing, unknown, not finite or of the wrong shape.
    """
    which, saved = _state_dict(read_checkpoint(path), path, prefer_ema)
    named = _plain_names(saved, path)
    is_image = not any(name.endswith(_TEMPORAL) for name in named)
    if is_image and config.num_frames > 1:
        if not image_as_video:
            raise UsageError(
                f"{path} is an image checkpoint, but the config asks for {config.num_frames} frames; "
                "pass --image-as-video to import it for video, with zero temporal positions."
            )
        image = _filled(config.model_copy(update={"num_frames": 1}), named, path)
        return Imported(tokenizer=with_num_frames(image, config.num_frames), which=which)
    return Imported(tokenizer=_filled(config, named, path), which=which)


def published_name(name: str) -> str:
    """Return the published name of one of our tensors, e.g. ``encoder.blocks.0.qkv.bias`` (docs/model.md)."""
    side, _, rest = name.partition(".")
    if (side, rest.partition(".")[0]) in (("encoder", "head"), ("decoder", "embed")):
        layer = "quant_embed" if side == "encoder" else "post_quant_embed"
        return f"{layer}.{rest.partition('.')[2]}"
    if rest.startswith("head."):
        _, number, kind = rest.split(".")
        return f"decoder.{'ffn.0' if number == '0' else 'conv_out'}.{kind}"
    if rest.startswith("blocks."):
        _, number, layer = rest.split(".", 2)
        return f"{side}.transformer.resblocks.{number}.{_renamed(layer, _BLOCK)}"
    return f"{side}.{_renamed(rest, _PARTS)}"


def _renamed(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    layer, _, kind = name.rpartition(".")
    return f"{names.get(layer, layer)}.{kind}" if layer else name


def _state_dict(whole: Any, path: Path, prefer_ema: bool) -> tuple[Which, dict[str, SavedTensor]]:
    if not isinstance(whole, dict):
        raise FormatError(f"{path} contains no state dict.")
    averaged, raw = whole.get("ema_state_dict"), whole.get("state_dict")
    if averaged is None and raw is None:
        return "raw", tensors_of(whole, path)
    if prefer_ema and isinstance(averaged, dict):
        return "ema", tensors_of(averaged, path)
    if not isinstance(raw, dict):
        raise FormatError(f"{path} contains no raw weights; remove --no-ema.")
    return "raw", tensors_of(raw, path)


def _plain_names(saved: Mapping[str, SavedTensor], path: Path) -> dict[str, SavedTensor]:
    """Strip the prefixes of DDP and weight averages (``module.``) and torch.compile (``_orig_mod.``)."""
    named: dict[str, SavedTensor] = {}
    for name, tensor in saved.items():
        plain = name.replace("_orig_mod.", "")
        while plain.startswith("module."):
            plain = plain.removeprefix("module.")
        if plain in named:
            raise FormatError(f"{path} contains {plain} twice.")
        named[plain] = tensor
    return named


def _filled(config: TokenizerConfig, named: Mapping[str, SavedTensor], path: Path) -> BSQTokenizer:
    with torch.device("meta"):
        tokenizer = BSQTokenizer(config)
    expected = {published_name(name): (name, tensor) for name, tensor in tokenizer.state_dict().items()}
    left = dict(named)
    for name in _BUFFERS & left.keys():
        _check_buffer(name, left.pop(name), path)
    check_shapes({name: tensor for name, (_, tensor) in expected.items()}, left, path)
    weights = {ours: loaded(name, left[name], path) for name, (ours, _) in expected.items()}
    tokenizer.load_state_dict(weights, assign=True)
    return tokenizer.requires_grad_(True).eval()


def _check_buffer(name: str, saved: SavedTensor, path: Path) -> None:
    values: list[int] = saved.load().flatten().tolist()
    if sorted(values) != [1 << bit for bit in range(len(values))]:
        raise FormatError(f"{path}: {name} is not powers of two: its codes are numbered differently.")
