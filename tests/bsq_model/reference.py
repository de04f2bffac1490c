"""A textbook BSQ-ViT: nn.MultiheadAttention under a full float −inf mask, convolution and fold for patches.

Written from the paper's formulas, apart from the package: it takes only the parameters' values.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model import BSQTokenizer


def _transformer(
    x: Tensor, weights: dict[str, Tensor], prefix: str, layers: int, heads: int, mask: Tensor
) -> Tensor:
    width = x.shape[-1]

    def norm(y: Tensor, name: str) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)
        return scaled * weights[f"{prefix}{name}.weight"] + weights[f"{prefix}{name}.bias"]

    def linear(y: Tensor, name: str) -> Tensor:
        return y @ weights[f"{prefix}{name}.weight"].T + weights[f"{prefix}{name}.bias"]

    x = norm(x, "ln_pre")
    for i in range(layers):
        attention = nn.MultiheadAttention(width, heads, batch_first=True, dtype=x.dtype)
        attention.load_state_dict(
            {
                "in_proj_weight": weights[f"{prefix}blocks.{i}.qkv.weight"],
                "in_proj_bias": weights[f"{prefix}blocks.{i}.qkv.bias"],
                "out_proj.weight": weights[f"{prefix}blocks.{i}.attention_out.weight"],
                "out_proj.bias": weights[f"{prefix}blocks.{i}.attention_out.bias"],
            }
        )
        y = norm(x, f"blocks.{i}.ln_1")
        x = x + attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        y = linear(norm(x, f"blocks.{i}.ln_2"), f"blocks.{i}.mlp_in")
        gelu = y * 0.5 * (1 + torch.erf(y / 2**0.5))
        x = x + linear(gelu, f"blocks.{i}.mlp_out")
    return norm(x, "ln_post")


def _positions(weights: dict[str, Tensor], side: str, frames: int) -> Tensor:
    spatial = weights[f"{side}.spatial_positions"]
    rows = spatial.repeat(frames, 1)
    if f"{side}.temporal_positions" in weights:
        rows = rows + weights[f"{side}.temporal_positions"][:frames].repeat_interleave(len(spatial), dim=0)
    return rows


@torch.no_grad()
def reference(tokenizer: BSQTokenizer, clip_THWC: Tensor) -> tuple[Tensor, Tensor]:
    """Latents [T, h, w, L] and the unclamped reconstruction [T, H, W, 3] of a uint8 clip, in float64."""
    config = tokenizer.config
    weights = {name: tensor.double() for name, tensor in tokenizer.state_dict().items()}
    frames, side, patch = len(clip_THWC), config.image_size_px, config.patch_size_px
    per_frame = config.tokens_per_frame
    mask = torch.zeros(frames * per_frame, frames * per_frame, dtype=torch.float64)
    for t in range(frames):
        mask[t * per_frame : (t + 1) * per_frame, (t + 1) * per_frame :] = float("-inf")

    pixels = clip_THWC.permute(0, 3, 1, 2).double() / 127.5 - 1
    kernel = weights["encoder.embed.weight"].view(-1, 3, patch, patch)
    x = functional.conv2d(pixels, kernel, stride=patch).flatten(2).transpose(1, 2).reshape(1, -1, len(kernel))
    x = x + _positions(weights, "encoder", frames)
    x = _transformer(x, weights, "encoder.", config.encoder.layers, config.encoder.heads, mask)
    v = (x @ weights["encoder.head.weight"].T + weights["encoder.head.bias"])[0]

    u_hat = torch.where(v > 0, 1.0, -1.0).double() / config.bits_per_token**0.5
    x = (u_hat @ weights["decoder.embed.weight"].T + weights["decoder.embed.bias"])[None]
    x = x + _positions(weights, "decoder", frames)
    x = _transformer(x, weights, "decoder.", config.decoder.layers, config.decoder.heads, mask)
    x = torch.tanh(x @ weights["decoder.head.0.weight"].T + weights["decoder.head.0.bias"])
    x = x @ weights["decoder.head.2.weight"].T + weights["decoder.head.2.bias"]
    columns = x.view(frames, per_frame, -1).transpose(1, 2)
    decoded = functional.fold(columns, (side, side), patch, stride=patch).permute(0, 2, 3, 1)
    grid = config.grid_size
    return v.view(frames, grid, grid, -1).float(), decoded.float()
