"""What ``bitmill plan --estimate`` tells before a run; ``--json`` prints it as it stands here."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

ESTIMATE_FORMAT_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantity(_Part):
    """An estimate with the standard error of its sample."""

    value: float
    standard_error: float | None
    """0 where every source was looked at; null where the sample is too small to tell."""

    def times(self, factor: float) -> "Quantity":
        """The quantity in other units."""
        error = self.standard_error
        return Quantity(value=self.value * factor, standard_error=None if error is None else error * factor)

    def plus(self, other: "Quantity") -> "Quantity":
        """The sum of two that err alike, as those of one sample do."""
        unknown = self.standard_error is None or other.standard_error is None
        error = None if unknown else (self.standard_error or 0) + (other.standard_error or 0)
        return Quantity(value=self.value + other.value, standard_error=error)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Two standard errors below and above; null where the error is."""
        if self.standard_error is None:
            return None
        return max(0.0, self.value - 2 * self.standard_error), self.value + 2 * self.standard_error


class Estimate(_Part):
    """A job before it runs: what was listed, what was looked at, and what that comes to."""

    format: Literal["bitmill-estimate"] = "bitmill-estimate"
    format_version: Literal[1] = ESTIMATE_FORMAT_VERSION
    sources: int
    size_bytes: int
    """Of the listed objects; an object of which several spans are wanted counts once."""
    ignored_files: int
    sampled: int
    """Sources that were looked at."""
    unreadable: int
    """Of these, such that could not be read; they count as giving nothing."""
    clips: Quantity
    frames: Quantity
    tokens: Quantity
    code_bytes: Quantity
    """Packed tokens."""
    stored_bytes: Quantity
    """The same with what stands beside them: the other columns, ledger and plan; metadata left out."""
    device: str
    """Where the tokenizer was timed: this machine's, whatever the job will run on."""
    frames_per_s: float
    """Of one tokenizer there, decoding left out."""
    accelerator_hours: Quantity
    """Of one such device."""
