"""Samples hidden groups in a few steps, most confident first (MaskGIT, arXiv 2202.04200, section 3.2).

Axes: B clips, T frames, h and w tokens, M = T·h·w·G groups of a clip, D
dimensions of a code, G groups of a token, K values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bitmill.bsq_model.token_models.masked_lm.masked_model import MaskedLM
from bitmill.bsq_model.token_models.masked_lm.schedule import hidden_after
from bitmill.bsq_model.token_models.token_layers import codes_of_values, values_of_codes


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """Sampling parameters."""

    steps: int = 12
    temperature: float = 1.0
    """Temperature of the values drawn; 0 takes the most likely value."""
    choice_temperature: float = 4.5
    """Scale of Gumbel noise on the confidence by which groups are kept; falls linearly to 0."""
    guidance: float = 1.0
    """w of ``logits = any + w·(labelled − any)``; 1 takes the labelled logits unchanged."""


@torch.inference_mode()
def fill(
    model: MaskedLM,
    codes_BThwD: Tensor,
    hidden_BThwG: Tensor,
    spec: SamplingSpec,
    *,
    generator: torch.Generator,
    labels_B: Tensor | None = None,
) -> Tensor:
    """Return the clips with hidden groups sampled: [B, T, h, w, D]; shown groups do not change.

    Every clip must have the same number of hidden groups, or ValueError is raised. Draws come from
    ``generator``, on CPU: equal seeds give equal samples on one device.
    """
    values_BM = values_of_codes(codes_BThwD, model.config).flatten(1)
    hidden_BM = hidden_BThwG.flatten(1).clone()
    num_hidden = int(hidden_BM[0].sum())
    if not bool((hidden_BM.sum(1) == num_hidden).all()):
        raise ValueError("every clip must have the same number of hidden groups")
    grid = hidden_BThwG.shape[1:]
    for step in range(1, spec.steps + 1):
        left = hidden_after(step, spec.steps, num_hidden)
        shown = codes_of_values(values_BM.unflatten(1, grid), model.config)
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
    return codes_of_values(values_BM.unflatten(1, grid), model.config)


def _guided(
    model: MaskedLM, codes: Tensor, hidden: Tensor, spec: SamplingSpec, labels_B: Tensor | None
) -> Tensor:
    if labels_B is None:
        return model(codes, hidden)
    labelled = model(codes, hidden, labels_B)
    if spec.guidance == 1:
        return labelled
    of_any = model(codes, hidden)
    return of_any + spec.guidance * (labelled - of_any)


def _draw(logits_BMK: Tensor, spec: SamplingSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw values; return them and their log-probabilities, each [B, M]."""
    log_BMK = logits_BMK.log_softmax(-1)
    if spec.temperature > 0:
        drawn_BM = (logits_BMK / spec.temperature + _gumbel(logits_BMK, generator)).argmax(-1)
    else:
        drawn_BM = logits_BMK.argmax(-1)
    return drawn_BM, log_BMK.gather(-1, drawn_BM[..., None])[..., 0]


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise: the argmax of logits plus this noise is a sample of their softmax."""
    even = torch.rand(like.shape, generator=generator).clamp_(1e-20, 1 - 1e-7).to(like.device)
    return -(-even.log()).log()
