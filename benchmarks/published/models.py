"""The published sizes with random weights, and noise as clips and codes."""

import torch
from torch import Tensor

from benchmarks.published.peer import Peer
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.geometry import Geometry, Grid
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig

# Infinity takes images of its schedules alone: 1×2 tokens are what runs warm up with.
CONFIGS = {
    "vidtok-4x8x8": VidTokConfig(version="1.0", levels=(8,) * 6),
    "vidtok-4x8x8-v1.1": VidTokConfig(version="1.1", levels=(8,) * 5),
    "cosmos-dv4x8x8": CosmosVideoConfig(frames_per_token=4, patch_px=8),
    "cosmos-dv8x16x16": CosmosVideoConfig(frames_per_token=8, patch_px=16),
    "emu3": Emu3Config(),
    "cosmos-di8x8": CosmosImageConfig(patch_px=8),
    "open-magvit2": OpenMagvit2Config(bits_per_token=18),
    "infinity-d32": InfinityConfig(bits_per_token=32, schedules=("1x2", *published_schedules())),
}


def tokenizer_of(model: str) -> PublishedTokenizer:
    """A published size with random weights, always the same."""
    torch.manual_seed(0)
    return PublishedTokenizer(CONFIGS[model])


def clip_of(num_frames: int, height: int, width: int) -> Tensor:
    """Noise, uint8 [T, H, W, 3]."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)


def grid_of(geometry: Geometry, clip_THWC: Tensor) -> Grid:
    """The (full) grid of a clip's tokens."""
    num_frames, height, width, _ = clip_THWC.shape
    return geometry.token_rows(num_frames), *geometry.grid(height, width)


def codes_of(geometry: Geometry, grid: Grid, device: str = "cpu") -> Tensor:
    """Random codes of a clip, or of an image's whole pyramid."""
    shape = grid if geometry.layout == "grid" else (geometry.num_tokens(grid),)
    codes = torch.stack(
        [torch.randint(0, base, shape, device=device) for base in geometry.code.bases], dim=-1
    )
    return codes.bool() if geometry.code.kind == "bits" else codes


def operations(model: str, clip_THWC: Tensor, *, decodes: bool) -> int:
    """Multiplications and additions of the published network's convolutions and attention."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        tokenizer = PublishedTokenizer(CONFIGS[model])
    peer, geometry = Peer(tokenizer), CONFIGS[model].geometry
    grid = grid_of(geometry, clip_THWC)
    with FlopCounterMode(display=False) as counter:
        if decodes:
            peer.decode_pixels(codes_of(geometry, grid, "meta"), grid)
        else:
            peer.latents(clip_THWC.to("meta"))
    return counter.get_total_flops()
