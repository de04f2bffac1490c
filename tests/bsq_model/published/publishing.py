"""The golden cases as published files: checkpoints with YAML or JSON, TorchScript archives, safetensors."""

import argparse
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig
from tests.bsq_model.published.golden import config_of, names_and_shapes, published_weights

_RESOLUTION = 256
"""Of Cosmos: the levels then have 64, 32 and 16, and attention is at 32."""


def publish(name: str, folder: Path) -> list[str]:
    """Write a case's files; gives the words that name them on the command line: FILE…, --config, CONFIG."""
    folder.mkdir(exist_ok=True)
    config, weights = config_of(name), published_weights(name)
    if isinstance(config, InfinityConfig):
        torch.save(infinity_checkpoint(weights), folder / "infinity_vae.pth")
        return [str(folder / "infinity_vae.pth"), *_config(folder / "config.json", infinity_document(config))]
    if isinstance(config, VidTokConfig):
        torch.save(lightning(weights), folder / "model.ckpt")
        return [str(folder / "model.ckpt"), *_config(folder / "config.yaml", vidtok_document(config))]
    if isinstance(config, Emu3Config):
        safetensors.torch.save_file(with_counters(weights), folder / "model.safetensors")
        return [str(folder / "model.safetensors"), *_config(folder / "config.json", emu3_document(config))]
    if isinstance(config, OpenMagvit2Config):
        torch.save(averaged(weights), folder / "model.ckpt")
        return [str(folder / "model.ckpt"), *_config(folder / "config.yaml", open_magvit2_document(config))]
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


def with_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An Emu3's weights, and what batch normalisation has counted in training."""
    norms = [name.removesuffix("running_mean") for name in weights if name.endswith("running_mean")]
    return {**weights, **{f"{norm}num_batches_tracked": torch.tensor(1000) for norm in norms}}


def in_transformers(name: str, prefix: str = "") -> dict[str, Tensor]:
    """An Emu3 in the layout of transformers, by the names that its files have there."""
    names = names_and_shapes(name, "transformers")
    weights = published_weights(name).values()
    named = {
        prefix + other: weight.view(shape) for (other, shape), weight in zip(names, weights, strict=True)
    }
    return with_counters(named)


def emu3_document(config: Emu3Config, **changes: Any) -> dict[str, Any]:
    """The config.json of an Emu3 tokenizer that is published by itself."""
    return {
        "architectures": ["Emu3VisionVQModel"],
        "auto_map": {"AutoModel": "modeling_emu3visionvq.Emu3VisionVQModel"},
        "model_type": "Emu3VisionVQ",
        "torch_dtype": "float32",
        "codebook_size": config.codebook_size,
        "embed_dim": config.latent_channels,
        "z_channels": config.latent_channels,
        "double_z": False,
        "in_channels": 3,
        "out_channels": 3,
        "temporal_downsample_factor": config.frames_per_token,
        "ch": config.channels,
        "ch_mult": list(config.channel_multipliers),
        "num_res_blocks": config.num_res_blocks,
        "attn_resolutions": list(config.attention_levels),
        "dropout": 0.0,
        **changes,
    }


def emu3_document_in_transformers(config: Emu3Config, **changes: Any) -> dict[str, Any]:
    """The config.json of an Emu3 tokenizer in transformers."""
    return {
        "architectures": ["Emu3VQVAE"],
        "attention_dropout": 0.0,
        "attn_resolutions": list(config.attention_levels),
        "base_channels": config.channels,
        "channel_multiplier": list(config.channel_multipliers),
        "codebook_size": config.codebook_size,
        "double_latent": False,
        "embed_dim": config.latent_channels,
        "hidden_size": config.level_channels[-1],
        "latent_channels": config.latent_channels,
        "model_type": "emu3_vqgan",
        "num_attention_heads": 1,
        "num_res_blocks": config.num_res_blocks,
        "transformers_version": "5.24.0",
        **changes,
    }


def trained(weights: Mapping[str, Tensor], form: str) -> dict[str, Tensor]:
    """The model in a checkpoint of Cosmos' training: "training", "averaged" or "compiled"."""
    network = "network._orig_mod" if form == "compiled" else "network"
    state = {f"{network}.{name}": tensor for name, tensor in weights.items()}
    if form == "averaged":
        average = {f"ema.network-{name.replace('.', '-')}": tensor for name, tensor in weights.items()}
        state = {name: tensor.bfloat16() + 1 for name, tensor in state.items()} | average
    return state | {"metric.used": torch.zeros(3)}


def averaged(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """A checkpoint whose averages are these weights; its raw weights are others."""
    averages = {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in weights.items()}
    return lightning(
        {
            **{name: -tensor for name, tensor in weights.items()},
            **averages,
            "model_ema.num_updates": torch.tensor(1000, dtype=torch.int32),
            "model_ema.lossdiscriminatormain0weight": torch.ones(2, 3),
        }
    )


def constants(half: str, config: CosmosVideoConfig | CosmosImageConfig) -> dict[str, Tensor]:
    """What a Cosmos archive has besides weights."""
    quantizer = "quantizer" if half == "encoder" else "inv_quant.quantizer"
    patcher = "encoder.patcher3d" if half == "encoder" else "decoder.unpatcher3d"
    code = config.geometry.code
    return {
        f"{quantizer}._levels": torch.tensor(code.bases, dtype=torch.int32),
        f"{quantizer}._basis": torch.ones(code.dimensions, dtype=torch.int32),
        f"{quantizer}.implicit_codebook": torch.zeros(7, code.dimensions, dtype=torch.bfloat16),
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


def open_magvit2_document(config: OpenMagvit2Config, **changes: Any) -> dict[str, Any]:
    """The YAML of an Open-MAGVIT2; ``changes`` are of the model's arguments."""
    num_bits = config.bits_per_token
    return {
        "seed_everything": True,
        "trainer": {"precision": "16-mixed"},
        "model": {
            "class_path": "src.Open_MAGVIT2.models.lfqgan.VQModel",
            "init_args": {
                "ddconfig": {
                    "double_z": False,
                    "z_channels": num_bits,
                    "resolution": 128,
                    "in_channels": 3,
                    "out_ch": 3,
                    "ch": config.channels,
                    "ch_mult": list(config.channel_multipliers),
                    "num_res_blocks": config.num_res_blocks,
                },
                "lossconfig": {"params": {"disc_weight": 0.8}},
                "n_embed": 2**num_bits,
                "embed_dim": num_bits,
                "learning_rate": 1e-4,
                "sample_minimization_weight": 1.0,
                "batch_maximization_weight": 1.0,
                "scheduler_type": "None",
                "use_ema": True,
                "resume_lr": None,
                "lr_drop_epoch": [200, 250],
                **changes,
            },
        },
        "ckpt_path": None,
    }


def cosmos_document(config: PublishedConfig, **changes: Any) -> dict[str, Any]:
    """The constructor's arguments of a Cosmos."""
    assert isinstance(config, CosmosVideoConfig | CosmosImageConfig)
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


def infinity_checkpoint(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """A checkpoint with what training leaves in it."""
    mask = 2 ** torch.arange(16).flip(0)
    return {
        "vae": {**weights, "quantizer.lfq.mask": mask, "quantize.lfq.mask": mask},
        "image_disc": {"main.0.weight": torch.ones(2, 3)},
        "ema": {name: torch.zeros_like(tensor) for name, tensor in weights.items()},
        "steps": 1000,
    }


def infinity_document(config: InfinityConfig, **changes: Any) -> dict[str, Any]:
    """The arguments of Infinity's loader, and the schedules of a config that are not published ones."""
    patch_px = config.geometry.patch_px[0]
    published = InfinityConfig(
        bits_per_token=1, schedules=published_schedules(doubled=patch_px == 8)
    ).geometry.schedules
    schedules = (config.geometry.schedules or {}).items()
    return {
        "vae_type": config.bits_per_token,
        "apply_spatial_patchify": int(patch_px == 8),
        "patch_size": patch_px,
        "encoder_ch_mult": list(config.channel_multipliers),
        "decoder_ch_mult": list(config.channel_multipliers),
        "codebook_dim": config.bits_per_token,
        "codebook_size": 2**config.bits_per_token,
        "schedule_mode": "dynamic",
        "base_ch": config.channels,
        "num_res_blocks": config.num_res_blocks,
        "scale_schedules": {name: grids for name, grids in schedules if name not in (published or {})},
        **changes,
    }


def _config(path: Path, document: dict[str, Any]) -> list[str]:
    path.write_text(json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document))
    return ["--config", str(path)]
