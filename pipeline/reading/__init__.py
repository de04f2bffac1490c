"""Reading tokens back for training; imports neither Ray nor a decoder nor the model."""

from pipeline.reading.batches import TokenBatches
from pipeline.reading.clip_lists import clip_ids_in
from pipeline.reading.cutting import Clips, FrameWindows, Packing, Padding
from pipeline.reading.dataset import DiskCache, TokenDataset, TokenSample
from pipeline.reading.filters import ClipFilter
from pipeline.reading.loader import TokenLoader
from pipeline.reading.prefetching import Prefetch
from pipeline.reading.views import View

__all__ = [
    "ClipFilter",
    "Clips",
    "DiskCache",
    "FrameWindows",
    "Packing",
    "Padding",
    "Prefetch",
    "TokenBatches",
    "TokenDataset",
    "TokenLoader",
    "TokenSample",
    "View",
    "clip_ids_in",
]
