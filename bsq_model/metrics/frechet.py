"""The Fréchet distance between two sets of features, as in FID (arXiv 1706.08500), from running sums."""

import torch
from torch import Tensor

from bitmill.schemas.errors import UsageError


class FeatureStatistics:
    """Accumulates mean and covariance of feature vectors of D values in float64, without storing them."""

    def __init__(self, num_features: int) -> None:
        self.count = 0
        self._mean = torch.zeros(num_features, dtype=torch.float64)
        self._scatter = torch.zeros(num_features, num_features, dtype=torch.float64)
        self._factor_DR: Tensor | None = None

    def add(self, features_MD: Tensor) -> None:
        """Add M vectors with Chan et al.'s update, which is accurate even if the mean is large."""
        x = features_MD.detach().double().cpu()
        if not len(x):
            return
        mean = x.mean(0)
        centred = x - mean
        self._join(len(x), mean, centred.T @ centred)

    def join(self, other: "FeatureStatistics") -> None:
        """Add all vectors of another set."""
        if other.count:
            self._join(other.count, other._mean, other._scatter)

    def _join(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        apart = mean - self._mean
        self._scatter += scatter + torch.outer(apart, apart) * (self.count * count / total)
        self._mean += apart * (count / total)
        self.count = total
        self._factor_DR = None

    @property
    def mean(self) -> Tensor:
        """Mean [D]."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """Covariance [D, D], divided by count − 1. Raises UsageError if there are fewer than two vectors."""
        if self.count < 2:
            raise UsageError("A Fréchet distance needs at least two pictures or clips.")
        return self._scatter / (self.count - 1)

    def factor(self) -> Tensor:
        """Return F [D, R] with F Fᵀ the covariance, of rank R; cached, because it takes O(D³)."""
        factor_DR = self._factor_DR
        if factor_DR is None:
            values, vectors = torch.linalg.eigh(self.covariance)
            kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
            factor_DR = self._factor_DR = vectors[:, kept] * values[kept].sqrt()
        return factor_DR


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Return ``‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_a Σ_b)^½)``.

    With ``Σ_a = F Fᵀ``, the trace of the root is the sum of roots of the eigenvalues of ``Fᵀ Σ_b F``, which
    is symmetric: there is no complex root of a singular product, whatever the number of samples. To compare
    several sets with one, pass that one as ``a``, whose factor is cached.
    """
    factor_DR = a.factor()
    product = torch.linalg.eigvalsh(factor_DR.T @ b.covariance @ factor_DR)
    trace = a.covariance.trace() + b.covariance.trace() - 2 * product.clamp_min(0).sqrt().sum()
    return float((a.mean - b.mean).square().sum() + trace)
