"""The tokenizers that ``bitmill train`` trains: what they have in common.

Axes: B clips, T frames, t rows of tokens, H and W pixels, C = 3 colours, h and w tokens, L bits or digits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from bitmill.bsq_model.bottleneck.bottlenecks import Bottleneck
from bitmill.bsq_model.bottleneck.entropy import entropy_terms_of_logits
from bitmill.bsq_model.fingerprint import float32_weights, weights_fingerprint
from bitmill.bsq_model.layers.backbone import Network
from bitmill.bsq_model.layers.logit_laplace import LogitLaplace
from bitmill.schemas.models.geometry import Geometry


class TrainingOutput(NamedTuple):
    """The outputs of one forward pass that the losses use."""

    reconstruction_BTHWC: Tensor
    """Pixels, not clamped; [−1, 1] is the range of the originals."""
    v_BThwL: Tensor
    """Latents before normalisation and sign, float32."""
    codes_BThwL: Tensor
    """Quantised latents (±1/√L with BSQ), with the straight-through gradient."""
    bits_BThwL: Tensor
    """Bool; of FSQ digits, int64."""
    commitment_BThw: Tensor
    """Squared distance of each token's latent to its code, as defined by the quantizer."""
    logit_laplace_BTHWC: LogitLaplace | None
    """Parameters of each value if ``output`` is logit-laplace, else None; the reconstruction is the mean."""


class BottleneckLosses(NamedTuple):
    """The losses on latents: scalars, float32, differentiable, unweighted."""

    per_token_entropy: Tensor
    """In nats per token, minimized; zero if the quantizer has no entropy penalty (VQ, FSQ)."""
    entropy_of_mean: Tensor
    """In nats per token, maximized; zero if the quantizer has no entropy penalty (VQ, FSQ)."""
    commitment: Tensor
    """Mean over tokens of the squared distance of latents to codes."""


class TrainableTokenizer(nn.Module, ABC):
    """A tokenizer that is one module; it keeps the fingerprint of its float32 weights when it is cast."""

    config: Any
    """Of its family, pydantic."""
    bottleneck: Bottleneck

    def __init__(self) -> None:
        super().__init__()
        self.cast_from_fingerprint: str | None = None
        """Fingerprint of the float32 weights that these lower-precision weights were cast from."""
        self.register_load_state_dict_post_hook(_forget_fingerprint)

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """See ``contract.Tokenizer``."""

    @property
    @abstractmethod
    def networks(self) -> tuple[Network, Network]:
        """Encoder and decoder."""

    @abstractmethod
    def forward(self, pixels_BTHWC: Tensor) -> TrainingOutput:
        """Run the differentiable form, for training: float pixels in [−1, 1], clips of one length."""

    @abstractmethod
    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        """See ``contract.Tokenizer``."""

    @abstractmethod
    def decode(self, bits: Sequence[Tensor], /) -> list[Tensor]:
        """See ``contract.Tokenizer``."""

    @abstractmethod
    def decode_pixels(self, bits: Sequence[Tensor], /) -> list[Tensor]:
        """See ``contract.DecodesPixels``."""

    @property
    def fingerprint(self) -> str:
        """32 hex digits that identify config and float32 weights, on any device and in any dtype."""
        if self.cast_from_fingerprint is not None:
            return self.cast_from_fingerprint
        return weights_fingerprint(self.config, float32_weights(self))

    def bottleneck_losses(
        self,
        output: TrainingOutput,
        *,
        inv_temperature: float = 1.0,
        group_bits: int = 1,
        mean_across: Callable[[Tensor], Tensor] = lambda mean: mean,
    ) -> BottleneckLosses:
        """Return the losses on latents of one ``forward``; the options are those of ``entropy_terms``."""
        commitment = output.commitment_BThw.float().mean()
        logits_BThwL = self.bottleneck.logits_of_bits(output.v_BThwL, inv_temperature)
        if logits_BThwL is None:
            return BottleneckLosses(torch.zeros_like(commitment), torch.zeros_like(commitment), commitment)
        entropies = entropy_terms_of_logits(logits_BThwL, group_bits=group_bits, mean_across=mean_across)
        return BottleneckLosses(entropies.per_token, entropies.of_mean, commitment)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Hook behind every ``.to``: a cast from float32 remembers the fingerprint of the float32 weights."""
        weight = next(self.parameters()).detach()
        was, becomes = weight.dtype, fn(weight[:1]).dtype
        if becomes == torch.float32:
            self.cast_from_fingerprint = None
        elif was == torch.float32:
            self.cast_from_fingerprint = weights_fingerprint(self.config, self.state_dict())
        return super()._apply(fn, recurse)


def _forget_fingerprint(module: nn.Module, incompatible_keys: object) -> None:
    """Clear the remembered fingerprint: newly loaded weights are not those that were cast."""
    del incompatible_keys
    if isinstance(module, TrainableTokenizer):
        module.cast_from_fingerprint = None
