"""Inception score (Salimans et al., arXiv 1606.03498): are pictures each of a clear class, and of many?"""

import torch
from torch import Tensor


def inception_score(logits_BK: Tensor) -> float:
    """``exp(mean over pictures of KL(p(y|x) ‖ p(y)))``, from 1 to K, of float [B, K] logits.

    ``p(y)`` is the mean of ``p(y|x)`` over these pictures. Published figures are means over ten parts of
    50,000 pictures; this is one part of all. Raises ValueError where there is no picture.
    """
    if not len(logits_BK):
        raise ValueError("the Inception score of no picture")
    log_BK = torch.log_softmax(logits_BK.double(), dim=1)
    log_mean_K = torch.logsumexp(log_BK, dim=0) - torch.tensor(len(log_BK), dtype=torch.float64).log()
    return (log_BK.exp() * (log_BK - log_mean_K)).sum(1).mean().exp().item()
