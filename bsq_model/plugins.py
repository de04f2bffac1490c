"""Tokenizers that installed packages offer as entry points, checked against the contract at every call."""

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import torch
from torch import Tensor

from bitmill.bsq_model.contract import (
    DecodesPyramids,
    Tokenizer,
    check_codes,
    check_frames,
    check_pixels,
    decode_pixels,
    device_of,
)
from bitmill.schemas.errors import BitmillError, BrokenContractError, MissingPluginError, UsageError
from bitmill.schemas.models.geometry import Geometry, Grid
from bitmill.schemas.models.plugin_config import PLUGIN_GROUP, PluginConfig
from bitmill.schemas.models.tokenizer_origin import TokenizerOrigin
from bitmill.schemas.nearest_name import did_you_mean

_MOST_CHARACTERS = 300

_FINGERPRINT = re.compile("[0-9a-f]{32}")

T = TypeVar("T")


def installed_plugins() -> dict[str, str | None]:
    """Return the names of the plugins that are installed here, with the package and version of each."""
    return {point.name: _package(point) for point in entry_points(group=PLUGIN_GROUP)}


def load_plugin(name: str, options: Mapping[str, Any], *, package: str | None = None) -> "PluginTokenizer":
    """Make the tokenizer of an installed plugin: its entry point, called with the options.

    ``package`` names what to install if it is missing. Raises MissingPluginError, or UsageError if it does
    not load, refuses the options or breaks the contract.
    """
    found = list(entry_points(group=PLUGIN_GROUP, name=name))
    if not found:
        others = sorted(installed_plugins())
        what = f"install {package}" if package else "install the package that offers it"
        raise MissingPluginError(
            f"The tokenizer plugin {name!r} is not installed here: {what}{did_you_mean(name, others)}, on "
            f"every machine of the cluster, too. Installed plugins: {', '.join(others) or 'none'}."
        )
    if len(found) > 1:
        packages = " and ".join(str(_package(point)) for point in found)
        raise UsageError(f"The tokenizer plugin {name!r} is offered by {packages}; uninstall one of them.")
    try:
        make: Any = found[0].load()
    except Exception as error:
        raise UsageError(
            f"The tokenizer plugin {name!r} ({_package(found[0])}) does not load: {_short(error)}"
        ) from error
    made: Any = _called(f"The tokenizer plugin {name!r} cannot be made with its options", make, **options)
    return PluginTokenizer(made, name=name, options=options, package=_package(found[0]))


class PluginTokenizer:
    """A plugin's tokenizer; its faults become a sentence that names the plugin.

    Raises BrokenContractError whenever the plugin fails or returns what its geometry does not allow.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, name: str, options: Mapping[str, Any], package: str | None
    ) -> None:
        self.inner = tokenizer
        """What the plugin made."""
        self._name = f"The tokenizer plugin {name!r}"
        decodes = "decode_pyramids" if isinstance(tokenizer, DecodesPyramids) else "decode"
        members = {
            member: _called(f"{self._name} has no {member}", getattr, tokenizer, member)
            for member in ("geometry", "fingerprint", "to", "encode", decodes)
        }
        geometry, fingerprint = members["geometry"], members["fingerprint"]
        if not isinstance(geometry, Geometry):
            raise BrokenContractError(f"{self._name} has a geometry that is no bitmill Geometry.")
        if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
            raise BrokenContractError(f"{self._name} has a fingerprint that is not 32 hex digits.")
        self.geometry = geometry
        self.fingerprint = fingerprint
        self.config = PluginConfig(
            plugin=name,
            options=dict(options),
            package=package,
            geometry=geometry,
            fingerprint=fingerprint,
        )

    @property
    def origin(self) -> TokenizerOrigin | None:
        """Origin and licence of the weights, if the plugin tells them."""
        origin: Any = getattr(self.inner, "origin", None)
        return origin if isinstance(origin, TokenizerOrigin) else None

    @property
    def device(self) -> torch.device:
        """See ``contract.device_of``."""
        return device_of(self.inner)

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "PluginTokenizer":
        """See ``contract.Tokenizer``."""
        _called(
            f"{self._name} cannot compute on {device} in {dtype}", self.inner.to, device=device, dtype=dtype
        )
        return self

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        """See ``contract.Tokenizer``."""
        with torch.inference_mode():
            found: Any = _called(f"{self._name} failed to encode", self.inner.encode, clips)
        self._check_count(found, clips)
        for codes_thwD, clip_THWC in zip(found, clips, strict=True):
            self._check(check_codes, codes_thwD, self.geometry, clip_THWC.shape[:3])
        return found

    def decode(self, codes: Sequence[Tensor], /) -> list[Tensor]:
        """See ``contract.Tokenizer``."""
        with torch.inference_mode():
            found: Any = _called(f"{self._name} failed to decode", self.inner.decode, codes)
        self._check_count(found, codes)
        for frames_THWC, codes_thwD in zip(found, codes, strict=True):
            if self.geometry.layout == "grid":
                self._check(check_frames, frames_THWC, self._decoded_shape(codes_thwD.shape[:3]))
        return found

    def decode_pyramids(self, codes: Sequence[Tensor], grids: Sequence[Grid], /) -> list[Tensor]:
        """See ``contract.DecodesPyramids``; by ``decode`` if the plugin has no other and that suffices."""
        with torch.inference_mode():
            found: Any = _called(f"{self._name} failed to decode", decode_pixels, self.inner, codes, grids)
        self._check_count(found, codes)
        for pixels_THWC, grid in zip(found, grids, strict=True):
            self._check(check_pixels, pixels_THWC, self._decoded_shape(grid))
        return found

    def _decoded_shape(self, shape_thw: Sequence[int]) -> tuple[int, ...]:
        (rows, height, width), (down, across) = shape_thw, self.geometry.patch_px
        return self.geometry.frames_of_rows(rows), height * down, width * across, 3

    def _check_count(self, found: Any, given: Sequence[Tensor]) -> None:
        are_tensors = isinstance(found, list) and all(isinstance(one, Tensor) for one in found)
        if not are_tensors or len(found) != len(given):
            raise BrokenContractError(f"{self._name} did not return a list of {len(given)} tensors.")

    def _check(self, check: Callable[..., None], *args: Any) -> None:
        try:
            check(*args)
        except BrokenContractError as error:
            raise BrokenContractError(f"{self._name} breaks its contract: {error}.") from error


def _called(what: str, call: Callable[..., T], *args: Any, **options: Any) -> T:
    try:
        return call(*args, **options)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from error
    except (BitmillError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise BrokenContractError(f"{what}: {_short(error)}") from error


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_CHARACTERS]}"


def _package(point: EntryPoint) -> str | None:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else None
