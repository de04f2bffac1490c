"""Checkpoints as the authors' training script saves them, from random weights, and the model they describe.

Both are written from the published layout and the paper's formulas, apart from the package.
"""

import argparse
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional


def vit(
    width: int, layers: int, heads: int, *, frames: int, size: int = 16, ratio: float = 4.0
) -> dict[str, Any]:
    """A ``vitconfig``."""
    return {
        "image_size": size,
        "patch_size": 8,
        "width": width,
        "layers": layers,
        "heads": heads,
        "mlp_ratio": ratio,
        "drop_rate": 0.0,
        "num_frames": frames,
        "cross_frames": frames > 1,
        "ln_pre": True,
        "ln_post": True,
        "use_ffn_output": True,
        "dim_ffn_output": 24,
        "mask_type": "block-causal" if frames > 1 else "none",
        "mask_block_size": (size // 8) ** 2 if frames > 1 else -1,
    }


def document(
    bits: int, encoder: dict[str, Any], decoder: dict[str, Any] | None = None, **params: Any
) -> dict[str, Any]:
    """The YAML beside a checkpoint, with what steers training, too."""
    inner = {
        "embed_dim": bits,
        "embed_group_size": 9,
        "l2_norm": True,
        "post_q_l2_norm": True,
        "persample_entropy_compute": "analytical",
        "logit_laplace": False,
        "beta": 0.0,
        "gamma0": 1.0,
        "gamma": 1.0,
        "zeta": 1.0,
        "inv_temperature": 1.0,
        "vitconfig": encoder,
        **({"dvitconfig": decoder} if decoder else {}),
        **params,
    }
    return {
        "model": {"target": "transcoder.models.bsqvit.VITBSQModel", "params": inner},
        "data": {"image_size": encoder["image_size"], "zero_mean": True},
        "optimizer": {"base_lr": 4e-7},
    }


def yaml_text(published: dict[str, Any]) -> str:
    """The document as text."""
    return yaml.safe_dump(published)


def state_dict(published: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the published names, every one away from its usual start."""
    generator = torch.Generator().manual_seed(seed)
    params = published["model"]["params"]
    encoder, bits = params["vitconfig"], params["embed_dim"]
    decoder = params.get("dvitconfig", encoder)
    weights: dict[str, Tensor] = {}

    def draw(name: str, *shape: int) -> None:
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.3
        weights[name] = torch.randn(*shape, generator=generator) * scale + (
            1.0 if name.endswith("ln.weight") else 0
        )

    for side, sizes in (("encoder", encoder), ("decoder", decoder)):
        d, tokens = sizes["width"], (sizes["image_size"] // sizes["patch_size"]) ** 2
        draw(f"{side}.positional_embedding", tokens, d)
        if sizes["num_frames"] > 1:
            draw(f"{side}.temporal_positional_embedding", sizes["num_frames"], d)
        for norm in ("ln_pre", "ln_post"):
            draw(f"{side}.{norm}.weight", d)
            draw(f"{side}.{norm}.bias", d)
        hidden = int(d * sizes["mlp_ratio"])
        for i in range(sizes["layers"]):
            block = f"{side}.transformer.resblocks.{i}."
            for name, shape in {
                "ln_1.weight": (d,),
                "ln_1.bias": (d,),
                "ln_2.weight": (d,),
                "ln_2.bias": (d,),
                "attn.in_proj_weight": (3 * d, d),
                "attn.in_proj_bias": (3 * d,),
                "attn.out_proj.weight": (d, d),
                "attn.out_proj.bias": (d,),
                "mlp.c_fc.weight": (hidden, d),
                "mlp.c_fc.bias": (hidden,),
                "mlp.c_proj.weight": (d, hidden),
                "mlp.c_proj.bias": (d,),
            }.items():
                draw(block + name, *shape)
    pixels = 3 * encoder["patch_size"] ** 2
    values = pixels * (2 if params["logit_laplace"] else 1)
    draw("encoder.conv1.weight", encoder["width"], pixels)
    draw("quant_embed.weight", bits, encoder["width"])
    draw("quant_embed.bias", bits)
    draw("post_quant_embed.weight", decoder["width"], bits)
    draw("post_quant_embed.bias", decoder["width"])
    draw("decoder.ffn.0.weight", decoder["dim_ffn_output"], decoder["width"])
    draw("decoder.ffn.0.bias", decoder["dim_ffn_output"])
    draw("decoder.conv_out.weight", values, decoder["dim_ffn_output"])
    draw("decoder.conv_out.bias", values)
    weights["quantize.basis"] = 2 ** torch.arange(bits - 1, -1, -1)
    weights["quantize.group_basis"] = 2 ** torch.arange(8, -1, -1)
    return weights


class OmegaConfLike:
    """Pickled by its name, as an OmegaConf object is; nobody may need to import it."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.__dict__["_content"] = content


def checkpoint(
    raw: dict[str, Tensor],
    averaged: dict[str, Tensor] | None,
    published: dict[str, Any],
    before: str = "module.",
) -> dict[str, Any]:
    """What torch.save is given: both sets of weights and everything that stands beside them."""
    layer = nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    return {
        "iter": 1000,
        "state_dict": {before + name: value for name, value in raw.items()},
        "ema_state_dict": averaged and {f"module.{before}{name}": value for name, value in averaged.items()},
        "optimizer_generator": optimizer.state_dict(),
        "optimizer_discriminator": optimizer.state_dict(),
        "state_dict_discriminator": layer.state_dict(),
        "scaler": {"scale": 65536.0, "_growth_tracker": 3},
        "config": OmegaConfLike(published),
        "args": argparse.Namespace(resume=None, lr=4e-7),
        "best_fid": np.float64(1.5),
    }


@torch.no_grad()
def trace(weights: dict[str, Tensor], published: dict[str, Any], clip_THWC: Tensor) -> dict[str, Tensor]:
    """Every intermediate of the published model, float64; ``encoder.0`` is the first block's output.

    Causality is exact here, where the published code's mask leaks.
    """
    params = published["model"]["params"]
    w = {name: value.double() for name, value in weights.items()}
    found: dict[str, Tensor] = {}

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def transformer(x: Tensor, side: str, sizes: dict[str, Any]) -> Tensor:
        frames, tokens, d = len(clip_THWC), x.shape[0] // len(clip_THWC), sizes["width"]
        x = x + w[f"{side}.positional_embedding"].repeat(frames, 1)
        if sizes["num_frames"] > 1:
            x = x + w[f"{side}.temporal_positional_embedding"][:frames].repeat_interleave(tokens, 0)
        x = norm(x, f"{side}.ln_pre")
        frame = torch.arange(frames).repeat_interleave(tokens)
        hidden = (frame[None] > frame[:, None]) & (sizes["mask_type"] == "block-causal")
        for i in range(sizes["layers"]):
            block = f"{side}.transformer.resblocks.{i}"
            y = norm(x, f"{block}.ln_1")
            qkv = y @ w[f"{block}.attn.in_proj_weight"].T + w[f"{block}.attn.in_proj_bias"]
            q, k, v = (z.unflatten(-1, (sizes["heads"], -1)).transpose(0, 1) for z in qkv.split(d, dim=-1))
            scores = q @ k.transpose(1, 2) / (d // sizes["heads"]) ** 0.5
            mixed = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
            y = mixed.transpose(0, 1).flatten(1)
            x = x + y @ w[f"{block}.attn.out_proj.weight"].T + w[f"{block}.attn.out_proj.bias"]
            y = norm(x, f"{block}.ln_2") @ w[f"{block}.mlp.c_fc.weight"].T + w[f"{block}.mlp.c_fc.bias"]
            y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
            x = x + y @ w[f"{block}.mlp.c_proj.weight"].T + w[f"{block}.mlp.c_proj.bias"]
            found[f"{side}.{i}"] = x
        return norm(x, f"{side}.ln_post")

    patches = functional.unfold(clip_THWC.permute(0, 3, 1, 2).double() / 127.5 - 1, 8, stride=8)
    x = patches.transpose(1, 2).flatten(0, 1) @ w["encoder.conv1.weight"].T
    found["embedding"] = x
    x = transformer(x, "encoder", params["vitconfig"])
    v = x @ w["quant_embed.weight"].T + w["quant_embed.bias"]
    found["v"], found["bits"] = v, v > 0
    codes = torch.where(v > 0, 1.0, -1.0).double() / params["embed_dim"] ** 0.5
    x = codes @ w["post_quant_embed.weight"].T + w["post_quant_embed.bias"]
    x = transformer(x, "decoder", params.get("dvitconfig", params["vitconfig"]))
    x = torch.tanh(x @ w["decoder.ffn.0.weight"].T + w["decoder.ffn.0.bias"])
    found["values"] = x @ w["decoder.conv_out.weight"].T + w["decoder.conv_out.bias"]
    return found
