"""Filling in hidden groups in a few steps, the surest first (MaskGIT, arXiv 2202.04200, section 3.2).

Axes: B clips, T frames, h and w tokens, M = T·h·w·G groups of a clip, L bits, G groups of a token, K values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bitmill.bsq_model.token_models.layers import bits_of_values, values_of_bits
from bitmill.bsq_model.token_models.masked_lm.masked_model import MaskedLM
from bitmill.bsq_model.token_models.masked_lm.schedule import hidden_after


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """How to draw."""

    steps: int = 12
    temperature: float = 1.0
    """Of the values drawn: below 1 the likelier ones are drawn more often; 0 takes the likeliest."""
    choice_temperature: float = 4.5
    """Noise on the confidence that chooses which groups are kept; falls to 0 in a straight line."""
    guidance: float = 1.0
    """w of ``logits = any + w·(labelled − any)``; 1 takes the labelled ones as they are."""


@torch.inference_mode()
def fill(
    model: MaskedLM,
    bits_BThwL: Tensor,
    hidden_BThwG: Tensor,
    spec: SamplingSpec,
    *,
    generator: torch.Generator,
    labels_B: Tensor | None = None,
) -> Tensor:
    """The clips with hidden groups filled in: bool [B, T, h, w, L]; shown groups stay in every bit.

    As many groups are hidden in each clip. Draws come from ``generator``, on CPU: equal seeds, equal samples
    on one device.
    """
    values_BM = values_of_bits(bits_BThwL, model.config.group_bits).flatten(1)
    hidden_BM = hidden_BThwG.flatten(1).clone()
    num_hidden = int(hidden_BM[0].sum())
    if not bool((hidden_BM.sum(1) == num_hidden).all()):
        raise ValueError("every clip must have as many hidden groups as the first")
    grid = hidden_BThwG.shape[1:]
    for step in range(1, spec.steps + 1):
        left = hidden_after(step, spec.steps, num_hidden)
        shown = bits_of_values(values_BM.unflatten(1, grid), model.config.group_bits)
        logits_BMK = _guided(model, shown, hidden_BM.unflatten(1, grid), spec, labels_B).flatten(1, -2)
        drawn_BM, confidence_BM = _draw(logits_BMK, spec, generator)
        noise = spec.choice_temperature * (1 - step / spec.steps)
        confidence_BM = confidence_BM + noise * _gumbel(confidence_BM, generator)
        confidence_BM = confidence_BM.masked_fill(~hidden_BM, -torch.inf)
        kept_Bm = confidence_BM.topk(int(hidden_BM[0].sum()) - left, dim=1).indices
        values_BM = values_BM.scatter(1, kept_Bm, drawn_BM.gather(1, kept_Bm))
        hidden_BM = hidden_BM.scatter(1, kept_Bm, False)
        if not left:
            break
    return bits_of_values(values_BM.unflatten(1, grid), model.config.group_bits)


def _guided(
    model: MaskedLM, bits: Tensor, hidden: Tensor, spec: SamplingSpec, labels_B: Tensor | None
) -> Tensor:
    if labels_B is None:
        return model(bits, hidden)
    labelled = model(bits, hidden, labels_B)
    if spec.guidance == 1:
        return labelled
    of_any = model(bits, hidden)
    return of_any + spec.guidance * (labelled - of_any)


def _draw(logits_BMK: Tensor, spec: SamplingSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Values drawn and the logarithms of their probabilities, each [B, M]."""
    log_BMK = logits_BMK.log_softmax(-1)
    if spec.temperature > 0:
        drawn_BM = (logits_BMK / spec.temperature + _gumbel(logits_BMK, generator)).argmax(-1)
    else:
        drawn_BM = logits_BMK.argmax(-1)
    return drawn_BM, log_BMK.gather(-1, drawn_BM[..., None])[..., 0]


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel draws: adding them to logits and taking the largest draws from their softmax."""
    even = torch.rand(like.shape, generator=generator).clamp_(1e-20, 1 - 1e-7).to(like.device)
    return -(-even.log()).log()
