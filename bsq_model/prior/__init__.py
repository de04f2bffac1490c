"""The autoregressive prior over tokens: how likely each group of bits is after all before it."""

from bitmill.bsq_model.prior.model import Prior
from bitmill.bsq_model.prior.stepper import PriorStepper

__all__ = ["Prior", "PriorStepper"]
