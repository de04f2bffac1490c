"""A trained prior made ready to code with."""

from bitmill.bsq_model.coding.prior_numerics import numerics
from bitmill.bsq_model.coding.symbol_model import CodingModel, QuantizedLogits
from bitmill.bsq_model.token_models.prior import Prior
from bitmill.bsq_model.token_models.token_model_files import token_model_fingerprint, token_model_from_files
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.schemas.errors import UsageError
from bitmill.schemas.stream.stream_header import PriorMark


def coding_prior(prior: Prior) -> LoadedPrior:
    """The prior as a coding model, on CPU in float32, as it was loaded."""

    def start(lanes: int, height: int, width: int) -> QuantizedLogits:
        return QuantizedLogits(prior.stepper(lanes, height, width))

    return LoadedPrior(
        model=CodingModel(group_bits=prior.config.group_bits, start=start),
        mark=PriorMark(fingerprint=token_model_fingerprint(prior), numerics=numerics()),
        tokenizer_fingerprint=prior.config.tokenizer_fingerprint,
    )


def prior_from_files(config_bytes: bytes, weights_bytes: bytes, *, origin: str) -> LoadedPrior:
    """A saved prior. Raises FormatError on damage, UsageError where the files are another model's."""
    model = token_model_from_files(config_bytes, weights_bytes)
    if not isinstance(model, Prior):
        raise UsageError(f"{origin} holds a {model.config.kind}, not a prior; compress needs a prior.")
    return coding_prior(model)
