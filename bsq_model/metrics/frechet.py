"""The Fréchet distance of two sets of features, as in FID (arXiv 1706.08500), from running sums."""

import torch
from torch import Tensor

from bitmill.schemas.errors import UsageError


class FeatureStatistics:
    """Mean and covariance of feature vectors of D values, in float64, without keeping them."""

    def __init__(self, num_features: int) -> None:
        self.count = 0
        self._mean = torch.zeros(num_features, dtype=torch.float64)
        self._scatter = torch.zeros(num_features, num_features, dtype=torch.float64)
        self._factor_DR: Tensor | None = None

    def add(self, features_MD: Tensor) -> None:
        """Count M more vectors (Chan et al.'s update: nothing is lost by a large mean)."""
        x = features_MD.detach().double().cpu()
        if not len(x):
            return
        mean = x.mean(0)
        centred = x - mean
        total = self.count + len(x)
        apart = mean - self._mean
        self._scatter += centred.T @ centred + torch.outer(apart, apart) * (self.count * len(x) / total)
        self._mean += apart * (len(x) / total)
        self.count = total
        self._factor_DR = None

    @property
    def mean(self) -> Tensor:
        """[D]."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """[D, D], divided by count − 1. Raises UsageError below two vectors."""
        if self.count < 2:
            raise UsageError("A Fréchet distance needs two pictures or clips at least.")
        return self._scatter / (self.count - 1)

    def factor(self) -> Tensor:
        """F [D, R] with F Fᵀ the covariance, of rank R; kept until more vectors come, since it takes D³."""
        factor_DR = self._factor_DR
        if factor_DR is None:
            values, vectors = torch.linalg.eigh(self.covariance)
            kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
            factor_DR = self._factor_DR = vectors[:, kept] * values[kept].sqrt()
        return factor_DR


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """``‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_a Σ_b)^½)``.

    With ``Σ_a = F Fᵀ``, the trace of the root is the sum of roots of the eigenvalues of ``Fᵀ Σ_b F``, which
    is symmetric: no complex root of a singular product, whatever the number of samples. ``a`` is the one
    that several are compared with.
    """
    factor_DR = a.factor()
    product = torch.linalg.eigvalsh(factor_DR.T @ b.covariance @ factor_DR)
    trace = a.covariance.trace() + b.covariance.trace() - 2 * product.clamp_min(0).sqrt().sum()
    return float((a.mean - b.mean).square().sum() + trace)
