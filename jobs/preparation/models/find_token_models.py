"""Finds token models by name: a bundled prior or a folder."""

import json
from typing import TYPE_CHECKING

from bitmill.schemas.errors import TokenizerMismatchError, UsageError
from bitmill.schemas.nearest_name import did_you_mean

if TYPE_CHECKING:
    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.bsq_model.token_models.token_model import TokenModel
    from bitmill.pipeline.compressing.clip_streams import LoadedPrior

NO_PRIOR = "none"


def find_token_model(name: str) -> "TokenModel":
    """Load a bundled prior by name, or a model from a folder. Raises UsageError or FormatError."""
    from bitmill.bsq_model.token_models.token_model_files import token_model_from_files

    return token_model_from_files(*_files(name, "model"))


def bundled_tokenizer_of(name: str) -> str:
    """Returns the tokenizer of a bundled prior, which has its name; for other models the default one."""
    from bitmill.bsq_model.bundled import DEFAULT_TOKENIZER
    from bitmill.bsq_model.bundled.bundled_priors import BUNDLED_PRIORS

    return name if name in BUNDLED_PRIORS else DEFAULT_TOKENIZER


def load_with_tokenizer(name: str, tokenizer: str) -> "tuple[TokenModel, Tokenizer]":
    """Load a model and its tokenizer, by names. Raises also TokenizerMismatchError, for another one."""
    from bitmill.bsq_model.families import load_files
    from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec

    model = find_token_model(name)
    loaded = load_tokenizer_spec(tokenizer_spec(tokenizer))
    if loaded.fingerprint != model.config.tokenizer_fingerprint:
        raise TokenizerMismatchError(
            f"{name} needs tokenizer {model.config.tokenizer_fingerprint}, but {tokenizer} is "
            f"{loaded.fingerprint}; give the right one with --tokenizer."
        )
    return model, load_files(loaded.files)


def load_prior(name: str) -> "LoadedPrior":
    """Load a bundled or a folder's prior for entropy coding. Raises UsageError or FormatError."""
    from bitmill.pipeline.compressing.coding_prior import prior_from_files

    return prior_from_files(*_files(name, "prior"), origin=name)


def find_prior(tokenizer_fingerprint: str) -> "LoadedPrior | None":
    """Returns the bundled prior of a tokenizer, or None."""
    from bitmill.bsq_model.bundled.bundled_priors import BUNDLED_PRIORS, bundled_prior_files

    for name in BUNDLED_PRIORS:
        try:
            config, _ = bundled_prior_files(name)
        except FileNotFoundError:
            # A package may be built without the weights; then a prior must be named.
            continue
        if json.loads(config)["tokenizer_fingerprint"] == tokenizer_fingerprint:
            return load_prior(name)
    return None


def choose_prior(name: str | None, tokenizer_fingerprint: str) -> "LoadedPrior | None":
    """Returns the named prior, or without a name the tokenizer's bundled one; None if there is none."""
    if name == NO_PRIOR:
        return None
    return find_prior(tokenizer_fingerprint) if name is None else load_prior(name)


def _files(name: str, what: str) -> tuple[bytes, bytes]:
    """Returns the bytes of ``config.json`` and ``model.safetensors``."""
    from bitmill.bsq_model.bundled.bundled_priors import BUNDLED_PRIORS, bundled_prior_files
    from bitmill.pipeline.storage import Folder
    from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE

    if name in BUNDLED_PRIORS:
        return bundled_prior_files(name)
    folder = Folder(name)
    try:
        return folder.read_bytes(CONFIG_FILE), folder.read_bytes(WEIGHTS_FILE)
    except (FileNotFoundError, NotADirectoryError) as error:
        names = (*BUNDLED_PRIORS, *((NO_PRIOR,) if what == "prior" else ()))
        raise UsageError(
            f"There is no {what} at {folder.uri}{did_you_mean(name, names)}: name a folder with "
            f"{CONFIG_FILE} and {WEIGHTS_FILE}, as bitmill train writes them, or a bundled prior: "
            f"{', or '.join(names)}."
        ) from error
