"""Findings of an audit: their kinds, severities and locations."""

from enum import StrEnum

from bitmill.schemas.strict_model import StrictModel


class Severity(StrEnum):
    """The severity of a finding; the worst one is the verdict."""

    DAMAGED = "damaged"
    """Files contradict each other, themselves or the format; exit code 4."""
    INCOMPLETE = "incomplete"
    """Planned work is missing, or can be repeated; exit code 3."""
    NOTE = "note"
    """For information; nothing is wrong."""


class Kind(StrEnum):
    """The closed list of kinds of findings; ``KIND_TEXT`` and ``KIND_SEVERITY`` define each."""

    # Missing files
    PENDING_SHARD = "pending_shard"
    MISSING_SHARD = "missing_shard"
    MISSING_LEDGER = "missing_ledger"
    MISSING_PLAN = "missing_plan"
    MISSING_TOKENIZER = "missing_tokenizer"
    FAILED_ITEMS = "failed_items"
    FOREIGN_FILE = "foreign_file"
    # Within one file
    UNREADABLE = "unreadable"
    BAD_CHECKSUM = "bad_checksum"
    WRONG_SCHEMA = "wrong_schema"
    WRONG_SHARD = "wrong_shard"
    WRONG_TOKENIZER = "wrong_tokenizer"
    WRONG_JOB = "wrong_job"
    # Between rows
    WRONG_CODES_LENGTH = "wrong_codes_length"
    CODE_OUT_OF_RANGE = "code_out_of_range"
    WRONG_SHAPE = "wrong_shape"
    WRONG_CLIP_ID = "wrong_clip_id"
    DUPLICATE_CLIP = "duplicate_clip"
    OUT_OF_ORDER = "out_of_order"
    OVERLAPPING_SPANS = "overlapping_spans"
    SPAN_OUTSIDE_SOURCE = "span_outside_source"
    UNPLANNED_SOURCE = "unplanned_source"
    # Between ledger, shard, plan and card
    ACCOUNTS = "accounts"
    COUNTS_DIFFER = "counts_differ"
    TOTALS_DIFFER = "totals_differ"
    REMOVED_STILL_THERE = "removed_still_there"
    # Against the sources, and the tokenizer
    SOURCE_GONE = "source_gone"
    SOURCE_CHANGED = "source_changed"
    SOURCE_NOT_PLANNED = "source_not_planned"
    BITS_DIFFER = "bits_differ"
    # The code
    STUCK_BIT = "stuck_bit"


KIND_TEXT: dict[Kind, str] = {
    Kind.PENDING_SHARD: "a planned shard is not committed yet; run the job again",
    Kind.MISSING_SHARD: "a ledger without its token shard; run the job again",
    Kind.MISSING_LEDGER: "a token shard without its ledger; delete the shard and run the job again",
    Kind.MISSING_PLAN: "a plan file named in dataset.json is missing or altered; restore it from a backup",
    Kind.MISSING_TOKENIZER: "the stored tokenizer is missing or is not the one that encoded the tokens",
    Kind.FAILED_ITEMS: "items failed or are partial; --retry-failed retries the failed ones",
    Kind.FOREIGN_FILE: "a file in the dataset's folders that is not in the plan",
    Kind.UNREADABLE: "a file cannot be read or parsed",
    Kind.BAD_CHECKSUM: "a page does not match its checksum",
    Kind.WRONG_SCHEMA: "columns, types or values violate the format",
    Kind.WRONG_SHARD: "a file's name and its content belong to different shards",
    Kind.WRONG_TOKENIZER: "a shard was encoded by a tokenizer other than the one in dataset.json",
    Kind.WRONG_JOB: "a shard was written by a job other than the one in dataset.json",
    Kind.WRONG_CODES_LENGTH: "the codes do not have the length of the clip's shape, or are padded with ones",
    Kind.CODE_OUT_OF_RANGE: "a token's index is not below the number of codes",
    Kind.WRONG_SHAPE: "a clip's token grid, frames or crop contradict each other or the tokenizer",
    Kind.WRONG_CLIP_ID: "a clip's id does not match its source, start and sampling rule",
    Kind.DUPLICATE_CLIP: "a clip occurs more than once",
    Kind.OUT_OF_ORDER: "rows are not sorted by plan order, then by time",
    Kind.OVERLAPPING_SPANS: "two clips of one item cover the same time",
    Kind.SPAN_OUTSIDE_SOURCE: "a clip exceeds its source's duration or its planned span",
    Kind.UNPLANNED_SOURCE: "a clip's source is not in its shard's plan",
    Kind.ACCOUNTS: "a planned source has no ledger row, or a row has no planned source",
    Kind.COUNTS_DIFFER: "clips, frames, tokens, bytes or time in the ledger and the shard differ",
    Kind.TOTALS_DIFFER: "the totals in dataset.json are not the sums of the ledgers",
    Kind.REMOVED_STILL_THERE: "a removed clip still exists; run bitmill remove again",
    Kind.SOURCE_GONE: "a planned source no longer exists or is not accessible",
    Kind.SOURCE_CHANGED: "a planned source has changed since planning",
    Kind.SOURCE_NOT_PLANNED: "a source is not in the plan; --append adds it",
    Kind.BITS_DIFFER: "tokenizing a clip again gives different codes",
    Kind.STUCK_BIT: "a bit or digit has the same value in nearly every token",
}

KIND_SEVERITY: dict[Kind, Severity] = dict.fromkeys(Kind, Severity.DAMAGED) | {
    Kind.PENDING_SHARD: Severity.INCOMPLETE,
    Kind.MISSING_SHARD: Severity.INCOMPLETE,
    Kind.FAILED_ITEMS: Severity.INCOMPLETE,
    Kind.SOURCE_NOT_PLANNED: Severity.INCOMPLETE,
    Kind.FOREIGN_FILE: Severity.NOTE,
    Kind.SOURCE_GONE: Severity.NOTE,
    Kind.SOURCE_CHANGED: Severity.NOTE,
    Kind.BITS_DIFFER: Severity.NOTE,
    Kind.STUCK_BIT: Severity.NOTE,
}
"""Bits may differ on another processor, and sources may be deleted once tokenized; neither is damage."""


class Finding(StrictModel):
    """One occurrence of a finding."""

    file: str | None = None
    """Relative to the dataset's folder."""
    where: str | None = None
    """A row, clip id or source."""
    detail: str
    """What is wrong, in a sentence."""


class Findings(StrictModel):
    """All findings of a kind: their number, and the first ones."""

    kind: Kind
    severity: Severity
    count: int
    examples: list[Finding]
