"""An export's ``export-outline.json``, written first, and ``export.json``, written last."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import MAX_BITS_PER_TOKEN, Code, Geometry
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import JsonFile, StrictModel
from bitmill.schemas.versioned import refuse_newer, stored_version

EXPORT_FORMAT_VERSION = 2
"""Version of outline, inventory and file layout; a change of splitting or layout needs a new one.

2: ``geometry``, and the columns of token shards of version 2. Datasets with shards of version 1 are exported
in version 1.
"""

OUTLINE_FILE = "export-outline.json"
INVENTORY_FILE = "export.json"

Count = Annotated[int, Field(ge=0)]


class _Part(StrictModel):
    _of_one_version: ClassVar[tuple[str, ...]] = ()
    """Fields that are left out where they are None: another version has them."""

    @model_serializer(mode="wrap")
    def _own_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        return {
            name: value
            for name, value in document.items()
            if value is not None or name not in self._of_one_version
        }


class ExportFormat(StrEnum):
    """The layouts in which clips are exported; docs/export.md specifies their bytes."""

    WEBDATASET = "webdataset"
    BIN = "bin"
    HUGGINGFACE = "huggingface"


class ExportedDataset(_Part):
    """The exported dataset and its state."""

    _of_one_version: ClassVar[tuple[str, ...]] = ("patch_size_px", "geometry")

    content_id: str
    """Content id over the tokenizer's fingerprint and the exported shards' ids, in order."""
    tokenizer_fingerprint: str
    bits_per_token: Annotated[int, Field(ge=1, le=MAX_BITS_PER_TOKEN)]
    patch_size_px: Annotated[int, Field(gt=0)] | None = None
    """Of version 1, in which a token is one frame's."""
    geometry: Geometry | None = None
    """Since version 2: the tokenizer's, with the kind of its codes, patch size and frames per token."""
    num_shards: Count
    planned_shards: Count
    """Above ``num_shards`` if the dataset was incomplete."""

    @model_validator(mode="after")
    def _is_of_one_version(self) -> Self:
        if (self.patch_size_px is None) == (self.geometry is None):
            raise ValueError("a dataset has either patch_size_px or geometry")
        return self

    @property
    def format_version(self) -> int:
        """That of outline and inventory, and of the dataset's token shards."""
        return 1 if self.geometry is None else 2

    @property
    def tokens(self) -> Geometry:
        """The geometry of either version."""
        if self.geometry is not None:
            return self.geometry
        side_px = self.patch_size_px or 1
        return Geometry(patch_px=(side_px, side_px), code=Code.of_bits(self.bits_per_token))


class ExportContents(_Part):
    """Totals of the exported clips."""

    clips: Count
    frames: Count
    """Token rows: frames, if each row is one frame's."""
    tokens: Count
    shape_THW: tuple[int | None, int | None, int | None]
    """Rows, height and width of the token grid; None where clips differ."""
    fps: float | None
    """The sampled frame rate; None if clips differ or one has none."""


class OutlinedFile(_Part):
    """A planned file: the clips that it will contain, by number in the dataset's order."""

    name: str
    first_clip: Count
    num_clips: Count
    num_frames: Count
    num_tokens: Count


class ExportOutline(_Part, JsonFile):
    """The plan of an export; a resumed export writes the missing files."""

    format: Literal["bitmill-export-outline"] = "bitmill-export-outline"
    format_version: int
    form: ExportFormat
    max_bytes: Annotated[int, Field(gt=0)]
    dataset: ExportedDataset
    contents: ExportContents
    files: list[OutlinedFile]

    @model_validator(mode="after")
    def _files_tile_the_clips(self) -> Self:
        _check_version(self.format_version, self.dataset)
        _check_tiling([(file.first_clip, file.num_clips) for file in self.files], self.contents.clips)
        frames = sum(file.num_frames for file in self.files)
        tokens = sum(file.num_tokens for file in self.files)
        if (frames, tokens) != (self.contents.frames, self.contents.tokens):
            raise ValueError("the files' frames and tokens do not add up to those of the contents")
        return self


class ExportedFile(_Part):
    """A published file, relative to the export's folder; without a clip range it applies to all clips."""

    name: str
    size_bytes: Count
    first_clip: int | None = None
    num_clips: int | None = None


class ExportInventory(_Part, JsonFile):
    """The contents of export.json; its existence means that the export is complete."""

    format: Literal["bitmill-export"] = "bitmill-export"
    format_version: int
    form: ExportFormat
    token_dtype: Literal["uint8", "uint16", "uint32", "uint64"]
    """Little-endian unsigned integers; a token's index is in [0, 2^L). Tokens of more than 64 bits are the
    ⌈L/8⌉ bytes of their index, the lowest first, along a last dimension."""
    dataset: ExportedDataset
    contents: ExportContents
    files: list[ExportedFile]

    @model_validator(mode="after")
    def _files_tile_the_clips(self) -> Self:
        _check_version(self.format_version, self.dataset)
        spans = [
            (file.first_clip, file.num_clips)
            for file in self.files
            if file.first_clip is not None and file.num_clips is not None
        ]
        _check_tiling(spans, self.contents.clips)
        return self

    @property
    def size_bytes(self) -> int:
        """Bytes of all files except outline and inventory."""
        return sum(file.size_bytes for file in self.files)


def read_outline(data: bytes, *, origin: str) -> ExportOutline:
    """Parse export-outline.json. Raises FormatError naming ``origin`` if it is damaged or newer."""
    return _read(ExportOutline, data, origin)


def read_inventory(data: bytes, *, origin: str) -> ExportInventory:
    """Parse export.json. Raises FormatError naming ``origin`` if it is damaged or newer."""
    return _read(ExportInventory, data, origin)


class BinFile(_Part):
    """One token file of the format ``bin``."""

    name: str
    num_tokens: Count
    num_images: Count


class BinMetadata(_Part, JsonFile):
    """metadata.json of the format ``bin``, with the keys that loaders of flat video tokens expect."""

    _of_one_version: ClassVar[tuple[str, ...]] = ("values_per_token", "geometry")

    token_dtype: Literal["uint8", "uint16", "uint32", "uint64"]
    values_per_token: int | None = None
    """Since version 2: 1, or the bytes of a token of more than 64 bits."""
    s: int | None
    """Side of the grid; None if it is not square, or clips differ, or a clip is a pyramid of grids."""
    h: int | None
    w: int | None
    vocab_size: int | None
    """The number of codes; None if it is over 2^64."""
    hz: float | None
    num_images: Count
    """Total token rows of all files: frames, if each row is one frame's."""
    num_clips: Count
    num_tokens: Count
    bits_per_token: int
    geometry: Geometry | None = None
    """Since version 2; see ExportedDataset."""
    tokenizer_fingerprint: str
    files: list[BinFile]


_Document = TypeVar("_Document", ExportOutline, ExportInventory)


def _read(model: type[_Document], data: bytes, origin: str) -> _Document:
    try:
        refuse_newer(stored_version(data), EXPORT_FORMAT_VERSION, what=f"{origin} has export format")
        return model.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(
            f"{origin} is damaged: {describe_validation(error)} Export into another folder."
        ) from error


def _check_version(version: int, dataset: ExportedDataset) -> None:
    if version != dataset.format_version:
        raise ValueError(f"the dataset is described as in version {dataset.format_version}, not {version}")


def _check_tiling(spans: list[tuple[int, int]], num_clips: int) -> None:
    expected = 0
    for first, count in spans:
        if first != expected:
            raise ValueError(f"a file begins with clip {first}, not {expected}")
        expected += count
    if expected != num_clips:
        raise ValueError(f"the files hold {expected} clips, the contents {num_clips}")
