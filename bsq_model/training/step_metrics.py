"""Averages the measurements of several steps into one row, without waiting for the device at each step."""

from torch import Tensor

from bitmill.bsq_model.metrics.codes import bit_entropies, digit_entropies
from bitmill.bsq_model.training.data_parallel import mean_values
from bitmill.schemas.models.geometry import Code


class StepMetrics:
    """Sums measurements since the last row."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        """Of the steps that have each measurement."""

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's measurements."""
        for name, value in values.items():
            earlier = self.sums.get(name)
            self.sums[name] = value.clone() if earlier is None else earlier.to(value.device) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def row(self) -> dict[str, float]:
        """Return means over steps and processes, with shares of values as entropies, and reset the sums.

        All processes must call it at the same step.
        """
        means = mean_values({name: self.sums[name] / self.counts[name] for name in sorted(self.sums)})
        self.sums, self.counts = {}, {}
        ones_L, values_V = means.pop("share_of_ones", None), means.pop("share_of_values", None)
        row = {name: float(value) for name, value in means.items()}
        entropies = None
        if ones_L is not None:
            entropies = bit_entropies(ones_L)
        elif values_V is not None:
            entropies = digit_entropies(values_V, self._code)
        if entropies is not None:
            row |= {"weakest_bit": float(entropies.min()), "mean_bit": float(entropies.mean())}
        return row
