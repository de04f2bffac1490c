"""What a training loop says after each step."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """What the loop says after a step."""

    steps_done: int
    steps: int
    values: dict[str, float] | None
    """Measurements, after steps that were logged."""
