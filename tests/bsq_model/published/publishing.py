"""The golden cases as published files: Lightning checkpoints with their YAML, TorchScript archives."""

import argparse
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig
from tests.bsq_model.published.golden import CONFIGS, published_weights

_RESOLUTION = 256
"""Of Cosmos: the levels then have 64, 32 and 16, and attention is at 32."""


def publish(name: str, folder: Path) -> list[str]:
    """Write a case's files; gives the words that name them on the command line: FILE…, --config, CONFIG."""
    folder.mkdir(exist_ok=True)
    config, weights = CONFIGS[name], published_weights(name)
    if isinstance(config, VidTokConfig):
        torch.save(lightning(weights), folder / "model.ckpt")
        return [str(folder / "model.ckpt"), *_config(folder / "config.yaml", vidtok_document(config))]
    halves = {"encoder": ("encoder.", "quant_conv."), "decoder": ("decoder.", "post_quant_conv.")}
    for half, prefixes in halves.items():
        own = {key: tensor for key, tensor in weights.items() if key.startswith(prefixes)}
        save_script(own | constants(half, config), folder / f"{half}.jit")
    files = [str(folder / f"{half}.jit") for half in halves]
    return [*files, *_config(folder / "config.json", cosmos_document(config))]


def lightning(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """A checkpoint with what training leaves in it."""
    return {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {
            **weights,
            "loss.discriminator.main.0.weight": torch.ones(2, 3),
            "loss.logvar": torch.zeros(()),
            "model_ema.decay": torch.tensor(0.999),
        },
        "loops": {"fit_loop": {"state_dict": {}}},
        "hyper_parameters": argparse.Namespace(lr=1e-5),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4)}}}],
    }


def trained(weights: Mapping[str, Tensor], form: str) -> dict[str, Tensor]:
    """The model in a checkpoint of Cosmos' training: "training", "averaged" or "compiled"."""
    network = "network._orig_mod" if form == "compiled" else "network"
    state = {f"{network}.{name}": tensor for name, tensor in weights.items()}
    if form == "averaged":
        average = {f"ema.network-{name.replace('.', '-')}": tensor for name, tensor in weights.items()}
        state = {name: tensor.bfloat16() + 1 for name, tensor in state.items()} | average
    return state | {"metric.used": torch.zeros(3)}


def constants(half: str, config: PublishedConfig) -> dict[str, Tensor]:
    """What a Cosmos archive has besides weights."""
    quantizer = "quantizer" if half == "encoder" else "inv_quant.quantizer"
    patcher = "encoder.patcher3d" if half == "encoder" else "decoder.unpatcher3d"
    return {
        f"{quantizer}._levels": torch.tensor(config.levels, dtype=torch.int32),
        f"{quantizer}._basis": torch.ones(len(config.levels), dtype=torch.int32),
        f"{quantizer}.implicit_codebook": torch.zeros(7, len(config.levels), dtype=torch.bfloat16),
        f"{patcher}.wavelets": torch.full((2,), 0.5**0.5, dtype=torch.bfloat16),
        f"{patcher}._arange": torch.arange(2),
    }


def save_script(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a TorchScript archive, with floats in bfloat16."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *parents, last = name.split(".")
        place = root
        for parent in parents:
            if parent not in place._modules:
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.register_buffer(last, tensor.bfloat16() if tensor.is_floating_point() else tensor)
    with warnings.catch_warnings():
        # Torch would have us export graphs instead; published archives are of this kind.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(root).save(str(path))


def vidtok_document(config: VidTokConfig, **changes: Any) -> dict[str, Any]:
    """The YAML of a VidTok; ``changes`` are of the network's parameters."""
    suffix = "" if config.version == "1.0" else "_v1_1"
    network = f"vidtok.modules.model_3dcausal{suffix}"
    params = {
        "double_z": False,
        "z_channels": len(config.levels),
        "in_channels": 3,
        "out_ch": 3,
        "ch": config.channels,
        "ch_mult": list(config.channel_multipliers),
        "time_downsample_factor": config.frames_per_token,
        "num_res_blocks": config.num_res_blocks,
        "dropout": 0.0,
        "use_checkpoint": False,
        "init_pad_mode": "replicate",
        "norm_type": "layernorm",
        **({} if config.version == "1.0" else {"interpolation_mode": "trilinear"}),
        "fix_encoder": False,
        "fix_decoder": False,
    }
    if config.frames_per_token == 8:
        params |= {"tempo_ds": [0, 1, 2], "tempo_us": [1, 2, 3]}
    return {
        "model": {
            "base_learning_rate": 1e-5,
            "target": f"vidtok.models.autoencoder{suffix}.AutoencodingEngine",
            "params": {
                "monitor": "val/rec_loss",
                "ignore_keys": [],
                **({"is_causal": True} if config.version == "1.0" else {"use_tiling": False}),
                "encoder_config": {
                    "target": f"{network}.EncoderCausal3DPadding",
                    "params": params | changes,
                },
                "decoder_config": {
                    "target": f"{network}.DecoderCausal3DPadding",
                    "params": "${model.params.encoder_config.params}",
                },
                "regularizer_config": {
                    "target": "vidtok.modules.regularizers.FSQRegularizer",
                    "params": {"levels": list(config.levels), "entropy_loss_weight": 0.1},
                },
                "loss_config": {"target": "vidtok.modules.losses.GeneralLPIPSWithDiscriminator"},
            },
        },
        "data": {"params": {"batch_size": 2}},
        "lightning": {"trainer": {"precision": "bf16-mixed"}},
    }


def cosmos_document(config: PublishedConfig, **changes: Any) -> dict[str, Any]:
    """The constructor's arguments of a Cosmos."""
    assert not isinstance(config, VidTokConfig)
    is_video = config.architecture == "cosmos-dv"
    has_attention = getattr(config, "attention_levels", ()) != ()
    own = (
        {
            "num_groups": 1,
            "legacy_mode": False,
            "temporal_compression": config.geometry.frames_per_token,
            "encoder": "FACTORIZED",
            "decoder": "FACTORIZED",
            "name": "DV",
        }
        if is_video
        else {"num_quantizers": 4, "encoder": "Default", "decoder": "Default", "name": "DI"}
    )
    return {
        "attn_resolutions": [32],
        "channels": config.channels,
        "channels_mult": list(config.channel_multipliers),
        "dropout": 0.0,
        "in_channels": 3,
        "num_res_blocks": config.num_res_blocks,
        "out_channels": 3,
        "resolution": _RESOLUTION if has_attention else 1024,
        "patch_size": 4,
        "patch_method": "haar",
        "z_channels": config.z_channels,
        "z_factor": 1,
        "spatial_compression": config.patch_px,
        "quantizer": "FSQ",
        "embedding_dim": len(config.levels),
        "levels": list(config.levels),
        **own,
        **changes,
    }


def _config(path: Path, document: dict[str, Any]) -> list[str]:
    path.write_text(json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document))
    return ["--config", str(path)]
