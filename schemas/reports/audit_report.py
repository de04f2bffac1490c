"""``audit.json`` of ``bitmill audit``: what a dataset holds, lacks and is worth, told by its files alone."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.reports.audit_findings import Findings
from bitmill.schemas.requests.job import describe_validation

AUDIT_FORMAT_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Counts(_Part):
    """Sums over some sources and their items; ok + partial + failed are all items with an outcome."""

    sources: int = 0
    """Planned."""
    pending: int = 0
    """Sources whose shard is not committed (or cannot be read)."""
    ok: int = 0
    partial: int = 0
    failed: int = 0
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    source_frames: int = 0
    bytes_in: int = 0
    code_bytes: int = 0
    seconds_in: float = 0.0
    """Of the items, as their containers tell it."""
    seconds_out: float = 0.0
    """That became tokens."""


class CoverageRow(_Part):
    """One value of what coverage is broken down by; null where the item does not tell it."""

    value: str | None
    counts: Counts


class CoverageTable(_Part):
    """Coverage by one property of items: ``prefix``, ``media``, …, or a metadata column."""

    by: str
    rows: list[CoverageRow]
    """Most items first."""
    others: CoverageRow | None = None
    """All values beyond those of ``rows``, where they are too many; its value counts them in words."""


class ReasonRow(_Part):
    """Items that are not ok for one reason."""

    reason: str
    meaning: str
    failed: int
    partial: int
    examples: list[str]
    """Sources (and keys), a few."""


class FailureRow(_Part):
    """One item that is not ok."""

    source: str
    key: str | None
    outcome: str
    reason: str
    detail: str | None
    size_bytes: int
    media: str | None
    codec: str | None
    clips: int


class Histogram(_Part):
    """A distribution: ``counts[i]`` lie in [edges[i], edges[i+1]); the last bin holds its end, too."""

    name: str
    unit: str
    of: Literal["items", "clips"]
    edges: list[float]
    counts: list[int]


class Coverage(_Part):
    """Planned against done."""

    total: Counts
    tables: list[CoverageTable]
    reasons: list[ReasonRow]
    failures: list[FailureRow]
    """Items that are not ok, in plan order, up to a bound; ``total`` counts them all."""
    histograms: list[Histogram]
    next_steps: list[str]
    """What running the job again, or ``--retry-failed``, would do, in sentences."""


class BitsOf(_Part):
    """How alive the bits of some tokens are."""

    value: str
    """A frame's number, a source prefix, or a stretch of the dataset."""
    tokens: int
    mean_entropy: float
    weakest_entropy: float
    weakest_bit: int


class CodeHealth(_Part):
    """The codes' statistics. A bit's entropy is 1 at best; code bit 0 comes first."""

    tokens: int
    bits_per_token: int
    ones: list[float]
    """[L]: share of tokens whose bit is 1."""
    entropies: list[float]
    """[L]."""
    correlation: list[list[float]]
    """[L, L]: Pearson's, of bits over tokens; 0 where a bit never changes."""
    stuck_bits: list[int]
    used_codes: int
    used_codes_error: float
    """Relative standard error of ``used_codes``; 0 where it is exact."""
    possible_codes: int | None
    """2^L, up to L = 53."""
    group_bits: int
    group_entropies: list[float]
    """Entropy of each group of ``group_bits`` code bits, in bits."""
    order0_bits_per_token: float
    """What an adaptive model of each group by itself would need, the sum of ``group_entropies``."""
    by_frame: list[BitsOf]
    by_source: list[BitsOf]
    along: list[BitsOf]
    """Equal stretches of the dataset in plan order."""
    pairs_of_frames: int
    """Consecutive frames of one clip."""
    repeated_frames: int
    """Of them, those whose tokens are all equal."""
    clips: int
    still_clips: int
    """Clips of several frames that are all equal."""


class ClipPlace(_Part):
    """A clip, as a trace names it."""

    dataset: str | None = None
    """Null: the one audited."""
    clip_id: str
    source: str
    key: str | None = None
    start_ns: int
    end_ns: int


class DuplicateGroup(_Part):
    """Clips that are alike: the first stays, the others are on the list of duplicates."""

    num_clips: int
    distance: float
    """Largest share of differing bits between the first and another; 0: the same codes."""
    clips: list[ClipPlace]
    """The first of them."""


class Duplicates(_Part):
    """Clips that are alike within the dataset, or with others."""

    others: list[str]
    """Datasets compared with."""
    radius: float
    """Share of bits that may differ between near duplicates."""
    method: str
    """How near ones are found, and which may be missed."""
    exact_groups: int
    exact_clips: int
    """Clips beyond the first of their groups."""
    near_groups: int
    near_clips: int
    groups: list[DuplicateGroup]
    """Largest first, up to a bound."""
    list_file: str | None
    """Ids of all clips beyond the first of each group, one a line, beside audit.json."""


class SampledClip(_Part):
    """A clip decoded and tokenized again."""

    clip: ClipPlace
    num_frames: int
    psnr_db: float | None
    ssim: float | None
    lpips: float | None
    bits_per_pixel: float
    num_bits: int
    differing_bits: int | None
    """Null where the source could not be read again."""
    differs_at: list[str]
    """The first places: "frame 3, row 0, column 5, bit 17"."""
    problem: str | None = None
    """Why it could not be compared."""
    picture: str | None = None
    """File beside audit.json: original above reconstruction, a few frames."""


class Sample(_Part):
    """A stated sample, drawn from ``seed`` over all clips; worst clips first."""

    seed: int
    num_clips: int
    compared: int
    psnr_db: float | None
    ssim: float | None
    lpips: float | None
    num_bits: int
    differing_bits: int
    clips: list[SampledClip]
    note: str | None = None
    """What was left out, and why."""


class SourceCheck(_Part):
    """The plan against what lies at the sources now."""

    checked: int
    gone: int
    changed: int
    unplanned: int
    unplanned_examples: list[str]


class AuditReport(_Part):
    """The whole report."""

    format: Literal["bitmill-audit"] = "bitmill-audit"
    format_version: int = AUDIT_FORMAT_VERSION
    bitmill_version: str
    created: str
    """UTC, ISO 8601."""
    seconds: float
    dataset: str
    verdict: Literal["sound", "incomplete", "damaged"]
    exit_code: int
    tokenizer_fingerprint: str
    tokenizer: dict[str, Any]
    job: dict[str, Any]
    shards_planned: int
    shards_committed: int
    shards_read: int
    """Committed ones that could be read whole."""
    removals: int = 0
    """Clips that were taken down on request, as the dataset's record has it."""
    coverage: Coverage
    findings: list[Findings]
    """Worst first."""
    codes: CodeHealth | None = None
    duplicates: Duplicates | None = None
    sample: Sample | None = None
    sources: SourceCheck | None = None
    left_out: list[str] = []
    """Sentences: which parts were not asked for, or could not be done, and why."""

    def to_json(self) -> bytes:
        """The file's bytes."""
        return (self.model_dump_json(indent=1) + "\n").encode()


def read_audit(data: bytes, *, origin: str) -> AuditReport:
    """Parse audit.json. Raises FormatError, naming ``origin``, on damage or another version."""
    try:
        report = AuditReport.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{origin} is no audit of this bitmill: {describe_validation(error)}") from error
    if report.format_version > AUDIT_FORMAT_VERSION:
        raise FormatError(
            f"{origin} has audit format {report.format_version}; this bitmill reads up to "
            f"{AUDIT_FORMAT_VERSION}. Upgrade bitmill."
        )
    return report
