"""The Fréchet distance of two sets of features, as in FID (arXiv 1706.08500), from running sums."""

import torch
from torch import Tensor

from bitmill.schemas.errors import BadJobError


class FeatureStatistics:
    """Mean and covariance of feature vectors of D values, in float64, without keeping them."""

    def __init__(self, num_features: int) -> None:
        self.count = 0
        self._mean = torch.zeros(num_features, dtype=torch.float64)
        self._scatter = torch.zeros(num_features, num_features, dtype=torch.float64)

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

    @property
    def mean(self) -> Tensor:
        """[D]."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """[D, D], divided by count − 1. Raises BadJobError below two vectors."""
        if self.count < 2:
            raise BadJobError("A Fréchet distance needs two pictures or clips at least.")
        return self._scatter / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """``‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_a Σ_b)^½)``.

    The trace of the root is the sum of roots of the eigenvalues of ``Σ_a^½ Σ_b Σ_a^½``, which is symmetric:
    no complex root of a singular product, whatever the number of samples.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root_a = vectors * values.clamp_min(0).sqrt() @ vectors.T
    product = torch.linalg.eigvalsh(root_a @ b.covariance @ root_a)
    trace = a.covariance.trace() + b.covariance.trace() - 2 * product.clamp_min(0).sqrt().sum()
    return float((a.mean - b.mean).square().sum() + trace)
