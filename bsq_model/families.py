"""Loads a tokenizer of any family from its files, by the ``architecture`` of its config.json."""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.plugins import load_plugin
from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE, tokenizer_from_files
from bitmill.schemas.errors import FormatError, TokenizerMismatchError
from bitmill.schemas.models.plugin_config import AnyTokenizerConfig, PluginConfig
from bitmill.schemas.models.tokenizer_config import TOKENIZER_FORMAT_VERSION, TokenizerConfig
from bitmill.schemas.versioned import versioned_json

_CONFIGS: TypeAdapter[TokenizerConfig | PluginConfig] = TypeAdapter(AnyTokenizerConfig)


def read_config(config_bytes: bytes) -> TokenizerConfig | PluginConfig:
    """Parse config.json of any family. Raises FormatError if it is none, or of a newer version."""
    raw = versioned_json(config_bytes, name=CONFIG_FILE, newest=TOKENIZER_FORMAT_VERSION)
    try:
        return _CONFIGS.validate_python(raw)
    except ValidationError as error:
        raise FormatError(f"{CONFIG_FILE} is not a tokenizer config: {error}") from error


def load_files(files: Mapping[str, bytes]) -> Tokenizer:
    """Return the tokenizer of these files by name, in float32 on CPU, in eval mode.

    A plugin is loaded if its package is installed. Raises FormatError if the files are not exactly one valid
    tokenizer, what ``load_plugin`` raises, TokenizerMismatchError if the plugin now makes another tokenizer.
    """
    config = read_config(files[CONFIG_FILE])
    if not isinstance(config, PluginConfig):
        if WEIGHTS_FILE not in files:
            raise FormatError(f"The tokenizer's {WEIGHTS_FILE} is missing; copy it again from its source.")
        return tokenizer_from_files(files[CONFIG_FILE], files[WEIGHTS_FILE])
    tokenizer = load_plugin(config.plugin, config.options, package=config.package)
    if (tokenizer.fingerprint, tokenizer.geometry) != (config.fingerprint, config.geometry):
        raise TokenizerMismatchError(
            f"The tokenizer plugin {config.plugin!r} ({tokenizer.config.package}) makes the tokenizer "
            f"{tokenizer.fingerprint} here, not {config.fingerprint} of {config.package}; install that."
        )
    return tokenizer
