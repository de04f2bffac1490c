"""Adapts a trained tokenizer to another frame size by interpolating its spatial positions.

The transformer accepts any number of tokens; only the table of spatial positions belongs to one grid. The
result is a new tokenizer with its own config and fingerprint; its tokens differ from the original's.
"""

import torch
from torch import Tensor
from torch.nn import functional

from bitmill.bsq_model.acceleration.huge_pages import copies_on_huge_pages
from bitmill.bsq_model.tokenizer import BSQTokenizer
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.tokenizer_config import TokenizerConfig

_POSITIONS = "spatial_positions"


@torch.no_grad()
def resize_tokenizer(tokenizer: BSQTokenizer, size_px: int) -> BSQTokenizer:
    """Return a float32 copy on CPU for frames of ``size_px``²; for the same size, an exact copy.

    Raises UsageError if ``size_px`` is not a multiple of the patch size.
    """
    config = tokenizer.config
    if size_px % config.patch_size_px or size_px < config.patch_size_px:
        raise UsageError(
            f"Frames of {size_px} pixels are not divisible by the tokenizer's patch size "
            f"{config.patch_size_px}."
        )
    resized = TokenizerConfig.model_validate(config.model_dump() | {"image_size_px": size_px})
    weights = {name: tensor.cpu().float() for name, tensor in tokenizer.state_dict().items()}
    for name, tensor in weights.items():
        if name.endswith(_POSITIONS):
            weights[name] = interpolate_positions(tensor, config.grid_size, resized.grid_size)
    with torch.device("meta"):
        copy = BSQTokenizer(resized)
    copy.load_state_dict(copies_on_huge_pages(weights), assign=True)
    return copy.requires_grad_(True).eval()


def interpolate_positions(positions_ND: Tensor, grid_size: int, new_grid_size: int) -> Tensor:
    """Resample [h·w, D] of a square grid, row by row, to [h'·w', D] of another, float32.

    Bicubic between cell centres, as is usual for resizing ViTs (arXiv 2010.11929, section 3.2).
    """
    if grid_size == new_grid_size:
        return positions_ND.clone()
    grid_1Dhw = positions_ND.float().T.unflatten(1, (grid_size, grid_size))[None]
    size = (new_grid_size, new_grid_size)
    # When the grid grows, the antialiased form is Catmull-Rom, which keeps straight lines straight; torch's
    # other bicubic form does not.
    resized = functional.interpolate(grid_1Dhw, size, mode="bicubic", align_corners=False, antialias=True)
    return resized[0].flatten(1).T.contiguous()
