"""The exponential moving average of a tokenizer's weights."""

import torch

from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.bsq_model.training.training_schedule import average_decay


class WeightAverage:
    """Updates ``tokenizer`` to the moving average of another of the same layout; buffers are copied."""

    def __init__(self, tokenizer: TrainableTokenizer, ema: float) -> None:
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self._ema = ema

    @torch.no_grad()
    def update(self, source: TrainableTokenizer, step: int) -> None:
        """Update the average after ``source``'s step number ``step`` (the first is 1)."""
        weight = 1 - average_decay(step, self._ema)
        for ours, theirs in zip(self.tokenizer.parameters(), source.parameters(), strict=True):
            ours.lerp_(theirs.detach(), weight)
        for buffer, other in zip(self.tokenizer.buffers(), source.buffers(), strict=True):
            buffer.copy_(other)
