"""Converts a trained prior to a coding model."""

from bitmill.bsq_model.coding.prior_numerics import numerics
from bitmill.bsq_model.coding.symbol_model import CodingModel, QuantizedLogits
from bitmill.bsq_model.token_models.prior import Prior
from bitmill.bsq_model.token_models.token_model_files import token_model_fingerprint, token_model_from_files
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.schemas.errors import UsageError
from bitmill.schemas.stream.stream_header import PriorMark


def coding_prior(prior: Prior) -> LoadedPrior:
    """Return the prior as a coding model; it runs on CPU in float32, as loaded."""

    def start(lanes: int, height: int, width: int) -> QuantizedLogits:
        return QuantizedLogits(prior.stepper(lanes, height, width))

    return LoadedPrior(
        model=CodingModel(group_bits=prior.config.group_bits, start=start),
        mark=PriorMark(fingerprint=token_model_fingerprint(prior), numerics=numerics()),
        tokenizer_fingerprint=prior.config.tokenizer_fingerprint,
        levels=prior.config.levels,
    )


def prior_from_files(config_bytes: bytes, weights_bytes: bytes, *, origin: str) -> LoadedPrior:
    """Load a saved prior. Raises FormatError if it is damaged, UsageError if it is another kind of model."""
    model = token_model_from_files(config_bytes, weights_bytes)
    if not isinstance(model, Prior):
        raise UsageError(f"{origin} contains a {model.config.kind} model; pass a prior.")
    return coding_prior(model)
