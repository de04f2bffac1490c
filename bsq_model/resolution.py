"""Adapts a trained tokenizer to other frame sizes by interpolating its spatial positions.

The transformer accepts any number of tokens; only the table of spatial positions belongs to one grid. The
results are new tokenizers with their own configs and fingerprints; at other sizes their tokens are not the
original's.
"""

import torch
from torch import Tensor

from bitmill.bsq_model.acceleration.huge_pages import copies_on_huge_pages
from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.layers.positions import interpolate_positions
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig

_POSITIONS = "spatial_positions"


def interpolating(tokenizer: BSQTokenizer) -> BSQTokenizer:
    """Return the tokenizer for frames of every multiple of its patch size, in float32 on CPU.

    Its weights are the same, shared where they are float32 on CPU; for each grid, their positions are
    interpolated. Frames of their own size get the tokenizer's tokens; of another size, those of
    ``resize_tokenizer``.
    """
    fields = tokenizer.config.model_dump(exclude={"format_version"})
    config = TokenizerConfig.model_validate(fields | {"positions": "interpolate"})
    weights = {name: tensor.cpu().float() for name, tensor in tokenizer.state_dict().items()}
    return _with_weights(config, weights)


@torch.no_grad()
def resize_tokenizer(tokenizer: BSQTokenizer, size_px: int) -> BSQTokenizer:
    """Return a float32 copy on CPU for frames of ``size_px``² alone; for the same size, an exact copy.

    Raises UsageError if ``size_px`` is not a multiple of the patch size.
    """
    config = tokenizer.config
    if size_px % config.patch_size_px or size_px < config.patch_size_px:
        raise UsageError(
            f"Frames of {size_px} pixels are not divisible by the tokenizer's patch size "
            f"{config.patch_size_px}."
        )
    fields = config.model_dump(exclude={"format_version", "positions"})
    resized = TokenizerConfig.model_validate(fields | {"image_size_px": size_px})
    grid, new_grid = ((side, side) for side in (config.grid_size, resized.grid_size))
    weights = {name: tensor.cpu().float() for name, tensor in tokenizer.state_dict().items()}
    for name, tensor in weights.items():
        if name.endswith(_POSITIONS):
            weights[name] = interpolate_positions(tensor, grid, new_grid)
    return _with_weights(resized, copies_on_huge_pages(weights))


def _with_weights(config: TokenizerConfig, weights: dict[str, Tensor]) -> BSQTokenizer:
    with torch.device("meta"):
        made = BSQTokenizer(config)
    made.load_state_dict(weights, assign=True)
    return made.requires_grad_(True).eval()
