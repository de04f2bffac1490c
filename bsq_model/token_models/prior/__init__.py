"""The autoregressive prior over tokens: how likely each group of bits is after all before it."""

from bitmill.bsq_model.token_models.prior.prior_model import Prior
from bitmill.bsq_model.token_models.prior.stepper import PriorStepper

__all__ = ["Prior", "PriorStepper"]
