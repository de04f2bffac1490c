"""``audit.json`` of ``bitmill audit``: a dataset's contents, gaps and quality, from its files alone."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, SerializerFunctionWrapHandler, ValidationError, model_serializer

from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.audit_findings import Findings
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import JsonFile, StrictModel
from bitmill.schemas.versioned import refuse_newer

AUDIT_FORMAT_VERSION = 4
"""2: codes that are digits or an index (``CodeHealth.kind``), ``geometry``. 3: frame sizes, what was cropped
and what is padding. 4: ``CodeHealth.by_scale``. Older reports stay readable, and reports without ``by_scale``
are of version 3."""

DIMENSION = {"bits": "bit", "digits": "digit", "index": "index"}
"""What a dimension of a kind of code is called in reports."""
UNITS = {"bits": "bits", "digits": "digits", "index": "indices"}
"""What ``SampledClip.num_bits`` counts, by kind of code."""


class Counts(StrictModel):
    """Sums over a set of sources and their items; ok + partial + failed are all items with an outcome."""

    sources: int = 0
    """Planned sources."""
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
    """Duration of the items, as in their containers."""
    seconds_out: float = 0.0
    """Duration that became tokens."""


class CoverageRow(StrictModel):
    """Counts for one value of a property; None if the item does not have it."""

    value: str | None
    counts: Counts


class CoverageTable(StrictModel):
    """Coverage by one property of items: ``prefix``, ``media``, …, or a metadata column."""

    by: str
    rows: list[CoverageRow]
    """Most items first."""
    others: CoverageRow | None = None
    """All other values, if there are too many for ``rows``; its ``value`` states their number."""


class ReasonRow(StrictModel):
    """Items that are not ok for a reason."""

    reason: str
    meaning: str
    failed: int
    partial: int
    examples: list[str]
    """A few sources (and keys)."""


class FailureRow(StrictModel):
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


class Histogram(StrictModel):
    """A histogram: ``counts[i]`` values are in [edges[i], edges[i+1]); the last bin includes its end."""

    name: str
    unit: str
    of: Literal["items", "clips"]
    edges: list[float]
    counts: list[int]


class FrameSize(StrictModel):
    """Clips whose frames have one size."""

    height_px: int
    width_px: int
    clips: int
    frames: int
    padded_frames: int
    """Frames that repeat a clip's last one, to a legal length; not among ``frames``."""
    tokens: int
    code_bytes: int
    cropped: float | None
    """Share of the pixels of the scaled frames that were cropped away; None in shards of version 1, which do
    not tell."""


class Coverage(StrictModel, BaseModel):
    """Coverage: planned versus done."""

    total: Counts
    tables: list[CoverageTable]
    reasons: list[ReasonRow]
    failures: list[FailureRow]
    """Items that are not ok, in plan order, up to a bound; ``total`` counts them all."""
    histograms: list[Histogram]
    sizes: list[FrameSize] = []
    """Of clips that could be read; most clips first, up to a bound."""
    num_sizes: int = 0
    padded_frames: int = 0
    cropped: float | None = None
    """As in ``sizes``, of all clips."""
    next_steps: list[str]
    """Sentences: what running the job again, or with ``--retry-failed``, would do."""


class BitsOf(StrictModel):
    """Entropies of the bits (or digits) of a set of tokens, each at most 1."""

    value: str
    """The number of a token row in its clip or of a scale, a source prefix, or a section of the dataset."""
    tokens: int
    mean_entropy: float
    weakest_entropy: float
    weakest_bit: int


class CodeHealth(StrictModel, BaseModel):
    """Statistics of the codes. Dimensions are bits, digits, or an index's only one; dimension 0 is first."""

    kind: Literal["bits", "digits", "index"] = "bits"
    tokens: int
    bits_per_token: int
    ones: list[float] = []
    """Of bits [L]: share of tokens whose bit is 1."""
    entropies: list[float] = []
    """[D]: as a share of the most that the dimension can have, of bits in bits. Empty if a code has too many
    values to be counted."""
    correlation: list[list[float]] = []
    """Of bits [L, L]: Pearson correlation over tokens; 0 if a bit is constant."""
    stuck_bits: list[int] = []
    """Dimensions that have one value in nearly all tokens."""
    values: list[list[int]] = []
    """Of digits and an index: for each dimension, the tokens with each value. Empty if these are too many."""
    used_codes: int
    used_codes_error: float
    """Relative standard error of ``used_codes``; 0 if exact."""
    possible_codes: int | None
    """Number of codes; None above 2^53."""
    group_bits: int = 0
    """0 unless the code is bits."""
    group_entropies: list[float] = []
    """Of bits: entropy of each group of ``group_bits`` of them, in bits."""
    order0_bits_per_token: float | None = None
    """Cost under an order-0 model of each group, digit or index: the sum of their entropies in bits."""
    by_frame: list[BitsOf]
    """By token row of a clip. This, ``by_source`` and ``along`` are empty for an index, and for digits of too
    many values."""
    by_source: list[BitsOf]
    by_scale: list[BitsOf] | None = None
    """Of pyramids, unless ``by_frame`` is empty: by scale, from 1."""
    along: list[BitsOf]
    """Equal sections of the dataset in plan order."""
    pairs_of_frames: int
    """Pairs of consecutive token rows of a clip."""
    repeated_frames: int
    """Pairs whose tokens are all equal."""
    clips: int
    still_clips: int
    """Clips of several, all equal token rows."""

    @model_serializer(mode="wrap")
    def _without_no_scales(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what reports of version 3 do not have."""
        document: dict[str, Any] = handler(self)
        if self.by_scale is None:
            del document["by_scale"]
        return document


class ClipPlace(StrictModel):
    """A clip's identity, as in ``bitmill trace``."""

    dataset: str | None = None
    """None: the audited dataset."""
    clip_id: str
    source: str
    key: str | None = None
    start_ns: int
    end_ns: int


class DuplicateGroup(StrictModel):
    """Similar clips: the first is kept, the others are in the list of duplicates."""

    num_clips: int
    distance: float
    """Largest share of differing bits of the stored codes of the first and another clip; 0: equal codes."""
    clips: list[ClipPlace]
    """The first clips of the group."""


class Duplicates(StrictModel):
    """Similar clips within the dataset, or shared with other datasets."""

    others: list[str]
    """The other datasets."""
    radius: float
    """Largest share of differing bits of near duplicates."""
    method: str
    """How near duplicates are found, and which may be missed."""
    exact_groups: int
    exact_clips: int
    """Clips beyond the first of their groups."""
    near_groups: int
    near_clips: int
    groups: list[DuplicateGroup]
    """Largest first, up to a bound."""
    list_file: str | None
    """Text file next to audit.json: ids of all clips beyond the first of each group, one per line."""


class SampledClip(StrictModel):
    """A clip that was decoded and tokenized again."""

    clip: ClipPlace
    num_frames: int
    psnr_db: float | None
    ssim: float | None
    lpips: float | None
    bits_per_pixel: float
    num_bits: int
    """Bits, or digits or indices: the dimensions of all tokens."""
    differing_bits: int | None
    """How many of them differ; None if the source could not be read again."""
    differs_at: list[str]
    """The first positions: "frame 3, row 0, column 5, bit 17"."""
    problem: str | None = None
    """Why it could not be compared."""
    picture: str | None = None
    """Picture file next to audit.json: a few frames, originals above reconstructions."""


class Sample(StrictModel):
    """A random sample of all clips, drawn from ``seed``; worst clips first."""

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
    """What was skipped, and why."""


class SourceCheck(StrictModel):
    """The plan compared with the current sources."""

    checked: int
    gone: int
    changed: int
    unplanned: int
    unplanned_examples: list[str]


class AuditReport(StrictModel, JsonFile, BaseModel):
    """The whole report."""

    json_indent: ClassVar[int] = 1

    format: Literal["bitmill-audit"] = "bitmill-audit"
    format_version: int = 3
    bitmill_version: str
    created: str
    """UTC, ISO 8601."""
    seconds: float
    dataset: str
    verdict: Literal["sound", "incomplete", "damaged"]
    exit_code: int
    tokenizer_fingerprint: str
    tokenizer: dict[str, Any]
    geometry: Geometry | None = None
    """None in reports of version 1."""
    job: dict[str, Any]
    shards_planned: int
    shards_committed: int
    shards_read: int
    """Committed shards that could be read completely."""
    removals: int = 0
    """Number of removed clips according to the dataset's removal records."""
    coverage: Coverage
    findings: list[Findings]
    """Worst first."""
    codes: CodeHealth | None = None
    duplicates: Duplicates | None = None
    sample: Sample | None = None
    sources: SourceCheck | None = None
    left_out: list[str] = []
    """Sentences: which parts were not requested or not possible, and why."""


def audit_version(codes: CodeHealth | None) -> int:
    """Return the oldest version of a report with these statistics."""
    return 3 if codes is None or codes.by_scale is None else 4


def read_audit(data: bytes, *, origin: str) -> AuditReport:
    """Parse audit.json. Raises FormatError naming ``origin`` if it is damaged or newer."""
    try:
        report = AuditReport.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{origin} is not a valid audit.json: {describe_validation(error)}") from error
    refuse_newer(report.format_version, AUDIT_FORMAT_VERSION, what=f"{origin} has audit format")
    return report
