"""Reading tokens back for training; imports neither Ray nor a decoder nor the model."""

from pipeline.reading.dataset import TokenDataset, TokenSample
from pipeline.reading.views import View

__all__ = ["TokenDataset", "TokenSample", "View"]
