"""Reads tokens back for training; imports neither Ray nor a decoder nor the model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitmill.pipeline.reading.batches import TokenBatches
    from bitmill.pipeline.reading.clip_lists import clip_ids_in
    from bitmill.pipeline.reading.dataset import DiskCache, TokenDataset
    from bitmill.pipeline.reading.filters import ClipFilter
    from bitmill.pipeline.reading.loader import TokenLoader
    from bitmill.pipeline.reading.prefetch import Prefetch
    from bitmill.pipeline.reading.samples.grid_buckets import GridBuckets
    from bitmill.pipeline.reading.samples.sample_shapes import Clips, FrameWindows, Packing, Padding
    from bitmill.pipeline.reading.samples.views import View

__all__ = [
    "ClipFilter",
    "Clips",
    "DiskCache",
    "FrameWindows",
    "GridBuckets",
    "Packing",
    "Padding",
    "Prefetch",
    "TokenBatches",
    "TokenDataset",
    "TokenLoader",
    "View",
    "clip_ids_in",
]

_MODULES = {
    "batches": ("TokenBatches",),
    "clip_lists": ("clip_ids_in",),
    "samples.grid_buckets": ("GridBuckets",),
    "samples.sample_shapes": ("Clips", "FrameWindows", "Packing", "Padding"),
    "dataset": ("DiskCache", "TokenDataset"),
    "filters": ("ClipFilter",),
    "loader": ("TokenLoader",),
    "prefetch": ("Prefetch",),
    "samples.views": ("View",),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that audit processes can read shards without importing torch."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
