"""The report of ``bitmill plan --estimate``; ``--json`` prints it in this format."""

from typing import Literal

from bitmill.schemas.strict_model import StrictModel

ESTIMATE_FORMAT_VERSION = 1


class Quantity(StrictModel):
    """An estimate with the standard error of its sample."""

    value: float
    standard_error: float | None
    """0 if every source was sampled; None if the sample is too small."""

    def times(self, factor: float) -> "Quantity":
        """Return the quantity multiplied by ``factor``."""
        error = self.standard_error
        return Quantity(value=self.value * factor, standard_error=None if error is None else error * factor)

    def plus(self, other: "Quantity") -> "Quantity":
        """Return the sum of two quantities with fully correlated errors, as of one sample."""
        unknown = self.standard_error is None or other.standard_error is None
        error = None if unknown else (self.standard_error or 0) + (other.standard_error or 0)
        return Quantity(value=self.value + other.value, standard_error=error)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Value ± two standard errors, not below 0; None if the error is unknown."""
        if self.standard_error is None:
            return None
        return max(0.0, self.value - 2 * self.standard_error), self.value + 2 * self.standard_error


class Estimate(StrictModel):
    """The estimate of a job: what was listed, what was sampled, and the extrapolation."""

    format: Literal["bitmill-estimate"] = "bitmill-estimate"
    format_version: Literal[1] = ESTIMATE_FORMAT_VERSION
    sources: int
    size_bytes: int
    """Of the listed objects; an object of which several spans are wanted counts once."""
    ignored_files: int
    sampled: int
    """Sources in the sample."""
    unreadable: int
    """Sampled sources that could not be read; they count as yielding nothing."""
    clips: Quantity
    frames: Quantity
    tokens: Quantity
    code_bytes: Quantity
    """Packed tokens."""
    stored_bytes: Quantity
    """Packed tokens plus the other columns, ledger and plan, without metadata."""
    device: str
    """The device on which the tokenizer was timed: this machine's, whatever the job will use."""
    frames_per_s: float
    """Of one tokenizer on that device, without decoding."""
    accelerator_hours: Quantity
    """Hours of one such device."""
