"""Reading tokens back for training; imports neither Ray nor a decoder nor the model."""

from bitmill.pipeline.reading.batches import TokenBatches
from bitmill.pipeline.reading.clip_lists import clip_ids_in
from bitmill.pipeline.reading.cutting import Clips, FrameWindows, Packing, Padding
from bitmill.pipeline.reading.dataset import DiskCache, TokenDataset, TokenSample
from bitmill.pipeline.reading.filters import ClipFilter
from bitmill.pipeline.reading.loader import TokenLoader
from bitmill.pipeline.reading.prefetching import Prefetch
from bitmill.pipeline.reading.views import View

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
