"""Random initial weights from a seed, bit-identical on every machine."""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer

_ENDS_OF_BRANCHES = ("attention_out.weight", "mlp_out.weight", "conv_2.weight")
_ZEROS = ("temporal_positions", "earlier.weight")


@torch.no_grad()
def initialize_weights(tokenizer: TrainableTokenizer, seed: int) -> None:
    """Initialize all parameters in place from ``seed``.

    Linear and convolution weights are uniform with variance 1/inputs; those that end a residual branch are
    scaled by 1/√(branches). Biases, temporal positions and what adds earlier frames are zero, norms are the
    identity, and codebook entries have variance 1, that of untrained latents. An untrained tokenizer's bits
    therefore already follow the picture: a token depends mostly on its patch, not on its position.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in tokenizer.named_parameters():
        parameter.copy_(_values(name, parameter, tokenizer, generator))


def _values(
    name: str, parameter: Tensor, tokenizer: TrainableTokenizer, generator: torch.Generator
) -> Tensor:
    if name.endswith("spatial_positions"):
        return _uniform(parameter.shape, 0.1, generator)
    if name.endswith(_ZEROS) or parameter.ndim == 1:
        return torch.full(parameter.shape, 1.0 if _is_scale(name, tokenizer) else 0.0)
    if name.endswith("codebook"):
        return _uniform(parameter.shape, 1.0, generator)
    deviation = parameter[0].numel() ** -0.5
    if name.endswith(_ENDS_OF_BRANCHES):
        names = (other for other, _ in tokenizer.get_submodule(name.partition(".")[0]).named_parameters())
        deviation *= sum(other.endswith(_ENDS_OF_BRANCHES) for other in names) ** -0.5
    return _uniform(parameter.shape, deviation, generator)


def _is_scale(name: str, tokenizer: TrainableTokenizer) -> bool:
    module, _, kind = name.rpartition(".")
    return kind == "weight" and isinstance(tokenizer.get_submodule(module), nn.LayerNorm | nn.GroupNorm)


def _uniform(shape: torch.Size, deviation: float, generator: torch.Generator) -> Tensor:
    # Uniform, not normal: torch's normal draws differ in the last bit between CPUs with and without AVX2.
    return (torch.rand(shape, generator=generator) * 2 - 1) * (3**0.5 * deviation)
