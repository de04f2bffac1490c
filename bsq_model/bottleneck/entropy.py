"""The entropy penalty: confident bits per token, uniform use of all codes; for training only.

arXiv 2406.07548, section 3: ``E_u[H(q(·|u))] − γ·H(E_u[q(·|u)])`` with the soft assignment
``q(c|u) ∝ exp(2τ·cᵀu)`` over the 2^L corners c. Axes: M tokens, L bits of a token, G groups of g bits,
V = 2^g codes of a group.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_MOST_GROUP_BITS = 12
"""Each group takes a table of M × 2^g probabilities in memory."""


def _as_it_is(mean: Tensor) -> Tensor:
    return mean


class EntropyTerms(NamedTuple):
    """Both terms of the penalty, in nats per token; scalars, differentiable."""

    per_token: Tensor
    """``E_u[H(q(·|u))]``, 0 to L·ln 2: low if each token's bits are confident. Exact."""
    of_mean: Tensor
    """``H(E_u[q(·|u)])``, 0 to L·ln 2: high if the tokens together use all codes.

    Approximated, from above, by the sum over groups of the entropy of the group's mean distribution.
    """

    def penalty(self, *, gamma: float = 1.0) -> Tensor:
        """Return ``per_token − γ·of_mean``, to be minimized."""
        return self.per_token - gamma * self.of_mean


def entropy_terms(
    u_xL: Tensor,
    *,
    inv_temperature: float = 1.0,
    group_bits: int = 1,
    mean_across: Callable[[Tensor], Tensor] = _as_it_is,
) -> EntropyTerms:
    """Return the terms over all tokens of ``u``, float [..., L] on the unit sphere, computed in float32.

    The assignment factorises over bits: bit k is 1 with probability σ(4τ·u_k/√L). ``mean_across`` averages a
    tensor over the processes that share a batch, so that ``of_mean`` covers the whole batch. Raises
    ValueError unless ``group_bits`` (g) divides L and is at most 12.
    """
    with torch.autocast(u_xL.device.type, enabled=False):
        logits_xL = u_xL.float() * (4 * inv_temperature * u_xL.shape[-1] ** -0.5)
    return entropy_terms_of_logits(logits_xL, group_bits=group_bits, mean_across=mean_across)


def entropy_terms_of_logits(
    logits_xL: Tensor, *, group_bits: int = 1, mean_across: Callable[[Tensor], Tensor] = _as_it_is
) -> EntropyTerms:
    """Like ``entropy_terms``, where bit k is 1 with probability ``σ(logits_k)``, float [..., L]."""
    num_bits = logits_xL.shape[-1]
    if not 1 <= group_bits <= _MOST_GROUP_BITS or num_bits % group_bits:
        raise ValueError(
            f"group_bits must divide {num_bits} and be 1 to {_MOST_GROUP_BITS}, not {group_bits}"
        )
    with torch.autocast(logits_xL.device.type, enabled=False):
        logits_ML = logits_xL.float().reshape(-1, num_bits)
        per_token = _bernoulli_entropy(logits_ML).sum(-1).mean()
        mean_GV = mean_across(_group_probabilities(logits_ML, group_bits).mean(0))
        return EntropyTerms(per_token, torch.special.entr(mean_GV).sum())


def _bernoulli_entropy(logits: Tensor) -> Tensor:
    # softplus(x) − x·σ(x) is the binary entropy of σ(x) without log(0) at certain bits.
    return functional.softplus(logits) - logits * logits.sigmoid()


def _group_probabilities(logits_ML: Tensor, group_bits: int) -> Tensor:
    """Return products over each group's bits, [M, G, V]; the first bit is the index's most significant."""
    ones_MGg = logits_ML.sigmoid().unflatten(-1, (-1, group_bits))
    p_MGV = torch.ones_like(ones_MGg[..., :1])
    for bit in range(group_bits):
        p = ones_MGg[..., bit, None]
        p_MGV = torch.stack((p_MGV * (1 - p), p_MGV * p), dim=-1).flatten(-2)
    return p_MGV
