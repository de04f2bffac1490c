"""The masked language model over tokens: predicts hidden groups, and so generates pictures."""

from bitmill.bsq_model.token_models.masked_lm.masked_model import MaskedLM
from bitmill.bsq_model.token_models.masked_lm.sampling import SamplingSpec, fill

__all__ = ["MaskedLM", "SamplingSpec", "fill"]
