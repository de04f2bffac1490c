"""The base class of token models, used by training, files and commands."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bitmill.schemas.models.token_model_config import TokenModelConfig


class TokenModel(nn.Module, ABC):
    """Computes the cost of one tokenizer's codes under the model: bits, bool [B, T, h, w, L], or digits,
    int64 [B, T, h, w, D].

    ``labels``, int64 [B], count a model's labels from 1; 0 means no label, and the argument is None if the
    model has no labels.
    """

    config: TokenModelConfig

    @abstractmethod
    def training_loss(
        self, codes_BThwD: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Return the training loss in bits per token; random draws use ``generator`` (on CPU)."""

    @abstractmethod
    def held_out_bits(
        self, codes_BThwD: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Return the clips' cost in bits per token: float32 [B], comparable between runs."""
