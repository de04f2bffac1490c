"""What training, files and commands need of any model over tokens."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bitmill.schemas.models.token_model_config import TokenModelConfig


class TokenModel(nn.Module, ABC):
    """Bits of clips of one tokenizer, bool [B, T, h, w, L], to what they cost under the model.

    ``labels``, int64 [B], count a model's labels from 1; 0 is none, and null where the model has no labels.
    """

    config: TokenModelConfig

    @abstractmethod
    def training_loss(
        self, bits_BThwL: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """What a step makes small, in bits a token; draws what it draws from ``generator`` (on CPU)."""

    @abstractmethod
    def held_out_bits(
        self, bits_BThwL: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """What the clips cost, in bits a token: float32 [B], comparable between runs."""
