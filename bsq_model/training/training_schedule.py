"""Schedules over the steps: learning rate, entropy weight, decay of the average. Pure functions."""

import math

from bitmill.schemas.requests.training import EntropySpec, OptimizerSpec


def learning_rate_share(step: int, *, steps: int, optimizer: OptimizerSpec) -> float:
    """Return the share of the peak rate at ``step`` (0 ≤ step < steps): linear warm-up, cosine decay.

    The decay ends at ``final_share``.
    """
    warmup = min(optimizer.warmup_steps, steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    final = optimizer.final_share
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def entropy_weight(step: int, entropy: EntropySpec) -> float:
    """Return the penalty's weight at ``step``, which falls linearly from ``ramp_from`` times to once."""
    if step >= entropy.ramp_steps:
        return entropy.weight
    return entropy.weight * (1 + (entropy.ramp_from - 1) * (1 - step / entropy.ramp_steps))


def average_decay(step: int, ema: float) -> float:
    """Return the moving average's decay after ``step`` steps (step ≥ 1)."""
    return min(ema, (1 + step) / (10 + step))
