"""A loaded tokenizer's files, config and fingerprint; torch is imported only to make it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitmill.bsq_model.bundled import BUNDLED, bundled_tokenizer
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import TokenizerConfigOfAnyFamily
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.models.tokenizer_origin import ORIGIN_FILE, TokenizerOrigin, read_origin
from bitmill.schemas.nearest_name import did_you_mean

if TYPE_CHECKING:
    from bitmill.bsq_model import BSQTokenizer


@dataclass(frozen=True, kw_only=True)
class LoadedTokenizer:
    """A tokenizer's files as sent to the actors, and its config, geometry and fingerprint."""

    files: Mapping[str, bytes]
    """By name; those of the dataset's folder ``tokenizer/``."""
    config: TokenizerConfigOfAnyFamily
    fingerprint: str
    is_random: bool
    """Whether its weights are random (a preset's): its tokens are good for trials only."""

    @property
    def geometry(self) -> Geometry:
        """The clips that it takes and the tokens that they become."""
        return self.config.geometry

    @property
    def origin(self) -> TokenizerOrigin | None:
        """Where its weights are from, if its folder tells."""
        data = self.files.get(ORIGIN_FILE)
        return None if data is None else read_origin(data, where=ORIGIN_FILE)

    def bsq_vit(self) -> "BSQTokenizer":
        """Return the tokenizer, in float32 on CPU. Raises UsageError if it is of another family."""
        from bitmill.bsq_model import BSQTokenizer
        from bitmill.bsq_model.families import load_files

        tokenizer = load_files(self.files)
        if not isinstance(tokenizer, BSQTokenizer):
            raise UsageError("This needs a tokenizer of bitmill's own family BSQ-ViT, not of another.")
        return tokenizer


def loaded_bundled(name: str) -> LoadedTokenizer:
    """Load a bundled tokenizer. Raises UsageError if there is none of this name."""
    try:
        bundled = bundled_tokenizer(name)
    except KeyError as error:
        near = did_you_mean(name, BUNDLED)
        raise UsageError(
            f"unknown bundled tokenizer {name!r}{near}; there are {', '.join(BUNDLED)}"
        ) from error
    origin = TokenizerOrigin(origin=f"bundled with bitmill: {name}", licence="Apache-2.0")
    return LoadedTokenizer(
        files={**bundled.files, ORIGIN_FILE: origin.to_json()},
        config=bundled.config,
        fingerprint=bundled.fingerprint,
        is_random=False,
    )
