"""The quantizers of the published families: latents to codes, codes to the decoder's values.

Axes: t, h and w of the (full) token grid, n tokens of a pyramid, N all of them, C channels of the latents, D
dimensions of a code.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from bitmill.bsq_model.bottleneck import residual_bsq
from bitmill.bsq_model.bottleneck.bsq import bits_of_latents
from bitmill.bsq_model.bottleneck.fsq import digits_of_latents, values_of_digits
from bitmill.bsq_model.bottleneck.nearest_row import indices_of_latents
from bitmill.bsq_model.emu3.network import Emu3Network
from bitmill.bsq_model.published.networks import PublishedNetwork
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.geometry import Grid, grid_name
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config


class Quantizer(Protocol):
    """Quantizes each token of a grid by itself, in float32."""

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


class ResidualBSQ:
    """Codes are the bits of a pyramid, the decoder's values their sum; see ``bottleneck.residual_bsq``."""

    def __init__(self, schedules: Mapping[str, tuple[Grid, ...]]) -> None:
        self._schedules = schedules

    def codes_of_latents(self, latents_thwD: Tensor) -> Tensor:
        """Return bool [N, D]; the whole of the latents matters to each bit."""
        return residual_bsq.bits_of_latents(latents_thwD, self._grids(latents_thwD.shape[:3]))

    def values_of_scales(self, bits_nD: Tensor, shape_thw: Grid) -> Tensor:
        """Return the decoder's input, float32 [t, h, w, D], of all scales or of the first ones."""
        return residual_bsq.sum_of_bits(bits_nD, self._grids(shape_thw))

    def _grids(self, shape_thw: Sequence[int]) -> tuple[Grid, ...]:
        return self._schedules[grid_name(*shape_thw[1:])]


class VQ:
    """Codes are indices of a codebook's rows, and the rows their values; see ``bottleneck.nearest_row``."""

    def __init__(self, codebook: nn.Embedding) -> None:
        self._codebook = codebook

    def codes_of_latents(self, latents_thwC: Tensor) -> Tensor:
        """See Quantizer."""
        return indices_of_latents(latents_thwC, self._codebook.weight.detach())[..., None]

    def values_of_codes(self, indices_thw1: Tensor) -> Tensor:
        """See Quantizer."""
        return self._codebook.weight.detach()[indices_thw1[..., 0]].float()


class LFQ:
    """Codes are the latents' signs, and ±1 the values (arXiv 2310.05737)."""

    def codes_of_latents(self, latents_thwL: Tensor) -> Tensor:
        """See Quantizer."""
        return bits_of_latents(latents_thwL)

    def values_of_codes(self, bits_thwL: Tensor) -> Tensor:
        """See Quantizer."""
        return bits_thwL.to(torch.float32) * 2 - 1


def make_quantizer(config: PublishedConfig, network: PublishedNetwork) -> Quantizer | ResidualBSQ:
    """Return the quantizer of a family; a codebook is among the network's weights."""
    if isinstance(config, InfinityConfig):
        return ResidualBSQ(config.geometry.schedules or {})
    if isinstance(config, Emu3Config):
        assert isinstance(network, Emu3Network)
        return VQ(network.quantize.embedding)
    if isinstance(config, OpenMagvit2Config):
        return LFQ()
    return FSQ(config.levels)
