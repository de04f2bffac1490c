"""The report of ``bitmill plan --estimate``; ``--json`` prints it in this format."""

from typing import Literal

from bitmill.schemas.strict_model import StrictModel

ESTIMATE_FORMAT_VERSION = 3
"""2 added ``sizes`` and ``batch``; times and tokens count each size by its pixels. 3 added ``cropped``."""


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


class SizeEstimate(StrictModel):
    """What the job makes of frames of one size."""

    height_px: int
    width_px: int
    items: Quantity
    clips: Quantity
    frames: Quantity
    tokens: Quantity
    stored_bytes: Quantity
    """Packed tokens plus the other columns and the ledger, without metadata."""
    cropped: float | None
    """Share of the pixels of the scaled frames that is cropped away; None without frames."""


class BatchMemory(StrictModel):
    """The memory of a batch of the largest frames, as the timing pass measured it."""

    height_px: int
    width_px: int
    frames: int
    """In the measured batch: those of the job's batches, or of one clip where a batch takes too long."""
    memory_bytes: int | None
    """On CUDA the most that was allocated, weights included; on a CPU what the process grew by. None where
    the system does not tell."""


class Estimate(StrictModel):
    """The estimate of a job: what was listed, what was sampled, and the extrapolation."""

    format: Literal["bitmill-estimate"] = "bitmill-estimate"
    format_version: Literal[3] = ESTIMATE_FORMAT_VERSION
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
    sizes: tuple[SizeEstimate, ...]
    """A job's buckets in their order, with zeros for those that no sampled item gets; else the sizes of the
    sampled items, most frames first."""
    cropped: float | None
    """As ``SizeEstimate.cropped``, of all frames."""
    code_bytes: Quantity
    """Packed tokens."""
    stored_bytes: Quantity
    """Packed tokens plus the other columns, ledger and plan, without metadata."""
    device: str
    """The device on which the tokenizer was timed: this machine's, whatever the job will use."""
    frames_per_s: float
    """Of one tokenizer on that device, of the size of ``batch``, without decoding."""
    batch: BatchMemory
    accelerator_hours: Quantity
    """Hours of one such device; smaller frames count by their pixels."""
