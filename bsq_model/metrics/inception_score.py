"""The Inception score (Salimans et al., arXiv 1606.03498): one clear class per picture, many overall."""

import torch
from torch import Tensor


def inception_score(logits_BK: Tensor) -> float:
    """Return ``exp(mean over pictures of KL(p(y|x) ‖ p(y)))``, from 1 to K, of float [B, K] logits.

    ``p(y)`` is the mean of ``p(y|x)`` over these pictures. Published results are means over ten splits of
    50,000 pictures; this uses one split. Raises ValueError if there are no pictures.
    """
    if not len(logits_BK):
        raise ValueError("the Inception score needs at least one picture")
    log_BK = torch.log_softmax(logits_BK.double(), dim=1)
    log_mean_K = torch.logsumexp(log_BK, dim=0) - torch.tensor(len(log_BK), dtype=torch.float64).log()
    return (log_BK.exp() * (log_BK - log_mean_K)).sum(1).mean().exp().item()
