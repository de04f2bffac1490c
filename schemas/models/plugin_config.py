"""The config.json of a dataset whose tokenizer is a plugin: its name and geometry, without its weights."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.strict_model import StrictModel

PLUGIN_GROUP = "bitmill.tokenizers"
"""The entry point group in which installed packages offer tokenizers."""


class PluginConfig(StrictModel, BaseModel):
    """Which plugin made the tokens, and what reading them needs without it.

    ``plugin`` is the name of an entry point of an installed package, never of code to import.
    """

    format_version: Literal[1] = 1
    architecture: Literal["plugin"] = "plugin"
    plugin: str
    options: dict[str, Any] = {}
    """As the job gives them."""
    package: str | None = None
    """Name and version of the package that offered the plugin, to install where it is missing."""
    geometry: Geometry
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
