"""dataset.json, the card of a dataset folder, and the paths of its files."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from bitmill.schemas.dataset.token_shard import TOKEN_SHARD_FORMAT_VERSION
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.any_tokenizer_config import AnyTokenizerConfig, any_tokenizer_config
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE, PixelRule
from bitmill.schemas.requests.job import SamplingSpec, ShardVersion
from bitmill.schemas.requests.job_fingerprint import PIXEL_RULE_FIELD, SHARD_VERSION_FIELD
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel
from bitmill.schemas.versioned import refuse_newer, stored_version

DATASET_FORMAT_VERSION = 5
"""2 added ``attempt`` of plan parts and ``appended_sources``, 3 ``geometry``, 4 a tokenizer's ``positions``
and tokenizers with FSQ, 5 the families of ``_SINCE_VERSION_5``; older ones stay readable."""

_SINCE_VERSION_5 = frozenset({"emu3", "open-magvit2", "infinity"})
"""Architectures of tokenizers that older readers do not know."""

DATASET_FILE = "dataset.json"
PLAN_FOLDER = "plan"
SHARD_FOLDER = "shards"
LEDGER_FOLDER = "ledger"
TOKENIZER_FOLDER = "tokenizer"


class Totals(StrictModel, BaseModel):
    """Sums over ledger rows: ok + partial + failed are all items; each planned source has at least one."""

    ok: int = 0
    partial: int = 0
    failed: int = 0
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    code_bytes: int = 0
    tokenized_ns: int = 0
    reasons: dict[str, int] = {}

    @property
    def items(self) -> int:
        """Number of items that have an outcome."""
        return self.ok + self.partial + self.failed

    @classmethod
    def sum(cls, parts: "Iterable[Totals]") -> "Totals":
        """Return the sum of all parts, fast for a hundred thousand; reasons in alphabetical order."""
        counts = dict.fromkeys(_COUNTS, 0)
        reasons = Counter[str]()
        for part in parts:
            for name in _COUNTS:
                counts[name] += getattr(part, name)
            reasons.update(part.reasons)
        return cls(**counts, reasons=dict(sorted(reasons.items())))

    def __add__(self, other: "Totals") -> "Totals":
        """Return the sum of both; reasons in alphabetical order."""
        return Totals.sum((self, other))


_COUNTS = tuple(name for name in Totals.model_fields if name != "reasons")


class PlanPart(StrictModel):
    """One plan file of the dataset."""

    file: str
    """Relative to the dataset's folder."""
    plan_id: str
    """Content id over its shard ids."""
    num_sources: int
    num_shards: int
    size_bytes: int
    """Over the file's rows: an object of which several spans are planned counts with each."""
    attempt: int = 1
    """1: new sources. Above: retries of failed sources of earlier parts; the newer outcome counts."""


class DatasetCard(StrictModel, BaseModel):
    """The contents of dataset.json."""

    format: Literal["bitmill-dataset"] = "bitmill-dataset"
    format_version: int = 3
    tokenizer_fingerprint: str
    tokenizer: AnyTokenizerConfig
    geometry: Geometry
    """The tokenizer's; cards before version 3 leave it to ``tokenizer``."""
    tokenizer_note: str | None = None
    """What its origin says to whoever uses the tokens; not in the file if it says nothing."""
    job_fingerprint: str
    fingerprint_fields: dict[str, Any]
    """The fields that determine the bytes, by dotted name; a resuming job must have equal ones."""
    job: dict[str, Any]
    """The job as written, without its output, for information only."""
    source_fields: dict[str, Any]
    """The requested sources; resuming with others is an error."""
    appended_sources: list[dict[str, Any]] = []
    """Sources that were appended later, in the form of ``source_fields``."""
    plan: list[PlanPart]
    ignored_files: int = 0
    """Number of files in the source folders whose names are not media; the plan excludes them."""
    totals: Totals | None = None
    """None until every planned shard is committed."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_geometry(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, dict) and "tokenizer" in data and "geometry" not in data:
            data = data | {"geometry": any_tokenizer_config.validate_python(data["tokenizer"]).geometry}
        return handler(data)

    @property
    def num_sources(self) -> int:
        """Planned sources of all parts; a retried source counts once."""
        return sum(part.num_sources for part in self.plan if part.attempt == 1)

    @property
    def num_retried(self) -> int:
        """Retried sources, each counted once per retry."""
        return sum(part.num_sources for part in self.plan if part.attempt > 1)

    def names_sources(self, source_fields: dict[str, Any]) -> bool:
        """Whether these sources were requested, originally or by an append."""
        return source_fields in (self.source_fields, *self.appended_sources)

    @property
    def num_shards(self) -> int:
        """Planned shards of all parts."""
        return sum(part.num_shards for part in self.plan)

    @property
    def sampling_rule(self) -> dict[str, Any]:
        """The part of the job's sampling that enters clip ids."""
        fields = self.fingerprint_fields
        names = ("fps", "clip_frames", "tail")
        sampling = {name: fields[f"sampling.{name}"] for name in names if f"sampling.{name}" in fields}
        return SamplingSpec.model_construct(**sampling).rule()

    @property
    def shard_version(self) -> ShardVersion:
        """The version of the token shards. Raises FormatError on one of a newer bitmill."""
        number: Any = self.fingerprint_fields.get(SHARD_VERSION_FIELD, 1)
        if number not in get_args(ShardVersion):
            raise FormatError(
                f"The dataset has token shards of format {number}; this bitmill reads up to "
                f"{TOKEN_SHARD_FORMAT_VERSION}. Upgrade bitmill."
            )
        return number

    @property
    def pixel_rule(self) -> PixelRule:
        """The arithmetic that made the pixels. Raises FormatError on one of a newer bitmill."""
        number: Any = self.fingerprint_fields.get(PIXEL_RULE_FIELD, 1)
        if number not in get_args(PixelRule):
            raise FormatError(
                f"The dataset's frames are of pixel rule {number}; this bitmill knows up to "
                f"{NEWEST_PIXEL_RULE}. Upgrade bitmill."
            )
        return number

    def to_json(self) -> bytes:
        """Return the file's bytes, in the least format version that has what the card tells.

        So an older bitmill reads all that it can; a dataset with token shards of version 1 keeps version 2.
        """
        is_older = self.shard_version == 1
        card = self.model_copy(update={"format_version": self._least_version()})
        left_out = {"geometry"} if is_older else set[str]()
        if self.tokenizer_note is None:
            left_out.add("tokenizer_note")
        return (card.model_dump_json(indent=2, exclude=left_out) + "\n").encode()

    def _least_version(self) -> int:
        tokenizer = self.tokenizer
        if tokenizer.architecture in _SINCE_VERSION_5:
            return 5
        if tokenizer.format_version > 1 or tokenizer.architecture not in ("bsq-vit", "plugin"):
            return 4
        return 2 if self.shard_version == 1 else 3


def read_card(data: bytes, *, origin: str) -> DatasetCard:
    """Parse dataset.json. Raises FormatError, naming ``origin``, on damage or a newer version."""
    with suppress(ValidationError):
        refuse_newer(stored_version(data), DATASET_FORMAT_VERSION, what=f"{origin} has dataset format")
    try:
        return DatasetCard.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(
            f"{origin} is damaged: {describe_validation(error)} Restore it from a copy; shards and ledgers "
            "next to it are not affected."
        ) from error


def shard_file(shard_id: str) -> str:
    """Return the path of a shard's token file, relative to the dataset's folder."""
    return f"{SHARD_FOLDER}/{shard_id}.parquet"


def ledger_file(shard_id: str) -> str:
    """Return the path of a shard's ledger, relative to the dataset's folder."""
    return f"{LEDGER_FOLDER}/{shard_id}.parquet"
