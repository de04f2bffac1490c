"""The quantizers of the published families: latents to codes, codes to the decoder's values.

Axes: t, h and w of the token grid, C channels of the latents, D dimensions of a code.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from bitmill.bsq_model.bottleneck.fsq import digits_of_latents, values_of_digits
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig


class Quantizer(Protocol):
    """Quantizes each token by itself, in float32."""

    def codes_of_latents(self, latents_thwC: Tensor, /) -> Tensor:
        """Return codes as ``contract.Tokenizer.encode`` does, of finite float32 latents."""
        ...

    def values_of_codes(self, codes_thwD: Tensor, /) -> Tensor:
        """Return the decoder's input, float32 [t, h, w, C]."""
        ...


class FSQ:
    """Codes are digits, and a value for each; see ``bottleneck.fsq``."""

    def __init__(self, levels: Sequence[int]) -> None:
        self._levels = levels

    def codes_of_latents(self, latents_thwD: Tensor) -> Tensor:
        """See Quantizer."""
        return digits_of_latents(latents_thwD, self._levels)

    def values_of_codes(self, digits_thwD: Tensor) -> Tensor:
        """See Quantizer."""
        return values_of_digits(digits_thwD, self._levels)


def make_quantizer(config: PublishedConfig) -> Quantizer:
    """Return the quantizer of a family."""
    return FSQ(config.levels)
