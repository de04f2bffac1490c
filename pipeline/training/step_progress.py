"""The progress report of a training loop."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Progress after one step."""

    steps_done: int
    steps: int
    values: dict[str, float] | None
    """Measurements if this step was logged, else None."""
