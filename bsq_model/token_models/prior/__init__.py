"""The autoregressive prior over tokens: the probability of each group of bits given all earlier ones."""

from bitmill.bsq_model.token_models.prior.prior_model import Prior
from bitmill.bsq_model.token_models.prior.stepper import PriorStepper

__all__ = ["Prior", "PriorStepper"]
