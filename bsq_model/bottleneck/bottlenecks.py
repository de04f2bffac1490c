"""The quantizers between encoder and decoder: latents to bits to codes, four kinds with one interface.

``bsq`` (arXiv 2406.07548) puts latents on the unit sphere and takes signs; ``lfq`` (arXiv 2310.05737) takes
signs without the sphere; ``vq`` (arXiv 1711.00937) takes the nearest row of a learned codebook and writes its
index in bits; ``fsq`` (arXiv 2309.15505) rounds, so that its "bits" are digits. Axes: ``x`` any, L bits or
digits of a token, M tokens, K = 2^L rows of a codebook.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bitmill.bsq_model.bottleneck.bsq import bits_of_latents, codes_of_bits, normalise, quantize
from bitmill.bsq_model.bottleneck.fsq import digits_of_latents, rounded, values_of_digits
from bitmill.schemas.models.geometry import Code

_VQ_COMMITMENT = 0.25
"""β of arXiv 1711.00937, section 3.2."""

_ROWS_AT_ONCE = 1024
"""Tokens whose distances to all codebook rows are in memory at once: 256 MiB at 16 bits."""


class Quantized(NamedTuple):
    """The bottleneck's outputs in training."""

    bits_xL: Tensor
    """Bool; of FSQ digits, int64."""
    codes_xL: Tensor
    """The value of ``codes_of_bits(bits)`` in the latents' dtype, with the straight-through gradient."""
    commitment_x: Tensor
    """Squared distance of each latent to its code, differentiable; the losses take its mean."""


class Bottleneck(nn.Module, ABC):
    """Maps float32 latents ``v`` [..., L] to bool bits [..., L] (FSQ: int64 digits), and these to the
    decoder's codes."""

    def __init__(self, num_bits: int) -> None:
        super().__init__()
        self.num_bits = num_bits

    @abstractmethod
    def bits_of_latents(self, v_xL: Tensor) -> Tensor:
        """Return the bits of each token, independent of other tokens."""

    @abstractmethod
    def codes_of_bits(self, bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the decoder's input: [..., L] of ``dtype``."""

    @abstractmethod
    def forward(self, v_xL: Tensor) -> Quantized:
        """Quantize differentiably, for training."""

    @abstractmethod
    def logits_of_bits(self, v_xL: Tensor, inv_temperature: float) -> Tensor | None:
        """Return each bit's log-odds in the entropy penalty's soft assignment; None if it has no penalty."""


class SphericalBottleneck(Bottleneck):
    """BSQ: ``u = v/‖v‖``, bit k is ``v_k > 0``, codes are ``±1/√L``."""

    def bits_of_latents(self, v_xL: Tensor) -> Tensor:
        """Return signs; see ``bitmill.bsq_model.bottleneck.bsq``."""
        return bits_of_latents(v_xL)

    def codes_of_bits(self, bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
        """Return ±1/√L."""
        return codes_of_bits(bits_xL, dtype)

    def forward(self, v_xL: Tensor) -> Quantized:
        """Quantize; the commitment is ``‖u − û‖²``, where û has no gradient."""
        codes_xL = quantize(v_xL)
        commitment_x = (normalise(v_xL) - codes_xL.detach()).square().sum(-1)
        return Quantized(bits_of_latents(v_xL), codes_xL, commitment_x)

    def logits_of_bits(self, v_xL: Tensor, inv_temperature: float) -> Tensor | None:
        """Return the logits of ``q(c|u) ∝ exp(2τ·cᵀu)``: ``4τ·u_k/√L``."""
        return normalise(v_xL) * (4 * inv_temperature * self.num_bits**-0.5)


class SignBottleneck(Bottleneck):
    """LFQ: bit k is ``v_k > 0``, codes are ±1, latents are unbounded."""

    def bits_of_latents(self, v_xL: Tensor) -> Tensor:
        """Return signs; zero gives False."""
        return bits_of_latents(v_xL)

    def codes_of_bits(self, bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
        """Return +1 for True, −1 for False."""
        return bits_xL.to(dtype) * 2 - 1

    def forward(self, v_xL: Tensor) -> Quantized:
        """Quantize; the commitment is ``‖v − sign(v)‖²``."""
        bits_xL = bits_of_latents(v_xL)
        codes_xL = self.codes_of_bits(bits_xL, v_xL.dtype)
        commitment_x = (v_xL - codes_xL).square().sum(-1)
        return Quantized(bits_xL, codes_xL + (v_xL - v_xL.detach()), commitment_x)

    def logits_of_bits(self, v_xL: Tensor, inv_temperature: float) -> Tensor | None:
        """Return the logits of ``q(c|v) ∝ exp(−τ‖v − c‖²)``: ``−τ(v_k − 1)² + τ(v_k + 1)² = 4τ·v_k``."""
        return v_xL * (4 * inv_temperature)


class CodebookBottleneck(Bottleneck):
    """VQ: the row of a learned codebook [2^L, L] nearest to ``v``; the index's first bit is the highest."""

    def __init__(self, num_bits: int) -> None:
        super().__init__(num_bits)
        self.codebook = nn.Parameter(torch.zeros(2**num_bits, num_bits))

    def bits_of_latents(self, v_xL: Tensor) -> Tensor:
        """Return the bits of the nearest row's index; of equally near rows, the lowest index."""
        shifts_L = torch.arange(self.num_bits - 1, -1, -1, device=v_xL.device)
        return (self._nearest(v_xL)[..., None] >> shifts_L & 1).bool()

    def codes_of_bits(self, bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the codebook rows that the bits index."""
        return self.codebook[_index_of_bits(bits_xL)].to(dtype)

    def forward(self, v_xL: Tensor) -> Quantized:
        """Quantize; the commitment is the codebook term ``‖sg(v) − c‖²`` plus ``0.25·‖v − sg(c)‖²``."""
        bits_xL = self.bits_of_latents(v_xL)
        rows_xL = self.codes_of_bits(bits_xL, v_xL.dtype)
        codebook_x = (v_xL.detach() - rows_xL).square().sum(-1)
        commitment_x = (v_xL - rows_xL.detach()).square().sum(-1)
        codes_xL = rows_xL.detach() + (v_xL - v_xL.detach())
        return Quantized(bits_xL, codes_xL, codebook_x + _VQ_COMMITMENT * commitment_x)

    def logits_of_bits(self, v_xL: Tensor, inv_temperature: float) -> Tensor | None:
        """Return None: plain VQ has no entropy penalty."""
        del v_xL, inv_temperature

    @torch.no_grad()
    def _nearest(self, v_xL: Tensor) -> Tensor:
        """Return the index of the nearest row, int64 [...].

        Distances are sums over L of squared differences, not a matrix product, so that a token's index does
        not depend on its batch and equal rows are equally near.
        """
        rows_KL = self.codebook.float()
        pieces: list[Tensor] = []
        for piece_ML in v_xL.float().reshape(-1, self.num_bits).split(_ROWS_AT_ONCE):
            distances_MK = torch.cdist(piece_ML, rows_KL, compute_mode="donot_use_mm_for_euclid_dist")
            pieces.append(distances_MK.argmin(-1))
        return torch.cat(pieces).view(v_xL.shape[:-1])


class DigitBottleneck(Bottleneck):
    """FSQ: each latent is bounded and rounded to one of a few levels; nothing is learned or penalized."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(len(levels))
        self._levels = tuple(levels)

    def bits_of_latents(self, v_xL: Tensor) -> Tensor:
        """Return digits, int64."""
        return digits_of_latents(v_xL, self._levels)

    def codes_of_bits(self, bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the digits' values in [−1, 1]."""
        return values_of_digits(bits_xL, self._levels).to(dtype)

    def forward(self, v_xL: Tensor) -> Quantized:
        """Quantize; the commitment is zero, as bounded latents cannot drift away."""
        digits_xL = digits_of_latents(v_xL, self._levels)
        return Quantized(digits_xL, rounded(v_xL, self._levels), v_xL.new_zeros(v_xL.shape[:-1]))

    def logits_of_bits(self, v_xL: Tensor, inv_temperature: float) -> Tensor | None:
        """Return None: FSQ has no entropy penalty."""
        del v_xL, inv_temperature


def _index_of_bits(bits_xL: Tensor) -> Tensor:
    index_x = torch.zeros(bits_xL.shape[:-1], dtype=torch.int64, device=bits_xL.device)
    for bit_x in bits_xL.unbind(-1):
        index_x = index_x * 2 + bit_x
    return index_x


_KINDS: dict[str, type[Bottleneck]] = {
    "bsq": SphericalBottleneck,
    "lfq": SignBottleneck,
    "vq": CodebookBottleneck,
}


def make_bottleneck(quantizer: str, code: Code) -> Bottleneck:
    """Return the bottleneck of a ``quantizer``, for this code."""
    if quantizer == "fsq":
        return DigitBottleneck(code.bases)
    return _KINDS[quantizer](code.bits_per_token)
