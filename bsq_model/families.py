"""Loads a tokenizer of any family from its files, by the ``architecture`` of its config.json."""

from collections.abc import Mapping

import torch
from pydantic import ValidationError

from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.causal_conv.files import causal_conv_from_files
from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.fingerprint import float32_weights
from bitmill.bsq_model.plugins import load_plugin
from bitmill.bsq_model.published.files import published_files, published_from_files
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.bsq_model.saving import files_of, tokenizer_files, tokenizer_from_files
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.schemas.errors import FormatError, TokenizerMismatchError
from bitmill.schemas.models.any_tokenizer_config import TokenizerConfigOfAnyFamily, any_tokenizer_config
from bitmill.schemas.models.bsq_vit_config import (
    CONFIG_FILE,
    TOKENIZER_FORMAT_VERSION,
    WEIGHTS_FILE,
    TokenizerConfig,
)
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.versioned import versioned_json

NativeTokenizer = TrainableTokenizer | PublishedTokenizer
"""A tokenizer whose files hold its weights."""


def read_config(config_bytes: bytes) -> TokenizerConfigOfAnyFamily:
    """Parse config.json of any family. Raises FormatError if it is none, or of a newer version."""
    raw = versioned_json(config_bytes, name=CONFIG_FILE, newest=TOKENIZER_FORMAT_VERSION)
    try:
        return any_tokenizer_config.validate_python(raw)
    except ValidationError as error:
        raise FormatError(f"{CONFIG_FILE} is not a tokenizer config: {describe_validation(error)}") from error


def load_files(files: Mapping[str, bytes]) -> Tokenizer:
    """Return the tokenizer of these files by name, in float32 on CPU, in eval mode.

    A plugin is loaded if its package is installed. Raises FormatError if the files are not exactly one valid
    tokenizer, what ``load_plugin`` raises, TokenizerMismatchError if the plugin now makes another tokenizer.
    """
    config = read_config(files[CONFIG_FILE])
    return _plugin(config) if isinstance(config, PluginConfig) else load_native(files)


def load_native(files: Mapping[str, bytes]) -> NativeTokenizer:
    """Like ``load_files``, of files that hold weights: of no plugin."""
    config = read_config(files[CONFIG_FILE])
    if WEIGHTS_FILE not in files or isinstance(config, PluginConfig):
        raise FormatError(f"The tokenizer's {WEIGHTS_FILE} is missing; copy it again from its source.")
    if isinstance(config, TokenizerConfig):
        return tokenizer_from_files(files[CONFIG_FILE], files[WEIGHTS_FILE])
    if isinstance(config, CausalConvConfig):
        return causal_conv_from_files(config, files[WEIGHTS_FILE])
    return published_from_files(config, files[WEIGHTS_FILE])


def native_files(tokenizer: NativeTokenizer, *, dtype: torch.dtype = torch.float32) -> dict[str, bytes]:
    """Return config and weights by name; equal tokenizers give equal bytes.

    Arguments and errors as for ``saving.tokenizer_files``.
    """
    if isinstance(tokenizer, PublishedTokenizer):
        return published_files(tokenizer, dtype=dtype)
    if isinstance(tokenizer, BSQTokenizer):
        return tokenizer_files(tokenizer, dtype=dtype)
    return files_of(tokenizer.config, float32_weights(tokenizer), dtype=dtype)


def _plugin(config: PluginConfig) -> Tokenizer:
    tokenizer = load_plugin(config.plugin, config.options, package=config.package)
    if (tokenizer.fingerprint, tokenizer.geometry) != (config.fingerprint, config.geometry):
        raise TokenizerMismatchError(
            f"The tokenizer plugin {config.plugin!r} ({tokenizer.config.package}) makes the tokenizer "
            f"{tokenizer.fingerprint} here, not {config.fingerprint} of {config.package}; install that."
        )
    return tokenizer
