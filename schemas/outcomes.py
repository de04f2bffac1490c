"""The closed lists of outcomes and reasons in ledger rows."""

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of an item."""

    OK = "ok"
    """Every sampled frame became tokens, and nothing is missing."""
    PARTIAL = "partial"
    """Some clips became tokens; the reason says what is missing."""
    FAILED = "failed"
    """No clip became tokens; the reason says why."""


class Reason(StrEnum):
    """Why an item is not ``ok``; retries select items by reason. New reasons need a new ledger version."""

    # The object
    NOT_FOUND = "not_found"
    ACCESS_DENIED = "access_denied"
    SOURCE_CHANGED = "source_changed"
    READ_ERROR = "read_error"
    EMPTY_FILE = "empty_file"
    # Its content
    NOT_MEDIA = "not_media"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_FRAMES = "no_frames"
    UNSUPPORTED_CODEC = "unsupported_codec"
    ENCRYPTED = "encrypted"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    BAD_TIMESTAMPS = "bad_timestamps"
    EXTRA_PAGES = "extra_pages"
    # The tar that contains it
    BAD_SIDECAR = "bad_sidecar"
    DUPLICATE_KEY = "duplicate_key"
    # The job's limits
    TOO_SHORT = "too_short"
    SPAN_OUTSIDE = "span_outside"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    # Decoding
    DECODE_TIMEOUT = "decode_timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_FAILED = "decoder_failed"
    # Later decisions
    REMOVED = "removed"


REASON_TEXT: dict[Reason, str] = {
    Reason.NOT_FOUND: "the object no longer exists",
    Reason.ACCESS_DENIED: "the credentials do not permit reading the object",
    Reason.SOURCE_CHANGED: "the object has changed since planning (size or version differ)",
    Reason.READ_ERROR: "the object could not be read after retries",
    Reason.EMPTY_FILE: "the object is empty",
    Reason.NOT_MEDIA: "not a regular file, or not a known video or image format",
    Reason.NO_VIDEO_STREAM: "the container has no video stream",
    Reason.NO_FRAMES: "the video stream yields no displayable frame",
    Reason.UNSUPPORTED_CODEC: "no installed decoder supports the codec or pixel format",
    Reason.ENCRYPTED: "the media is encrypted",
    Reason.CORRUPT: "the data is damaged; intact frames were kept",
    Reason.TRUNCATED: "the file is truncated",
    Reason.BAD_TIMESTAMPS: "presentation times are missing or invalid",
    Reason.EXTRA_PAGES: "only the first image of a multi-page file was tokenized",
    Reason.BAD_SIDECAR: "a sidecar in the tar is invalid; metadata is missing, tokens are complete",
    Reason.DUPLICATE_KEY: "an earlier member of the tar has the same name; only that one was tokenized",
    Reason.TOO_SHORT: "fewer frames than the job's min_frames",
    Reason.SPAN_OUTSIDE: "the manifest's span is empty or outside the media",
    Reason.TOO_MANY_PIXELS: "a frame is larger than the job's max_pixels",
    Reason.TOO_MANY_FRAMES: "more sampled frames than the job's max_frames; the rest was skipped",
    Reason.DECODE_TIMEOUT: "the decoder made no progress within the job's item_timeout_s",
    Reason.OUT_OF_MEMORY: "the decoder exceeded the job's item_memory_bytes, or the node ran out of memory",
    Reason.DECODER_CRASHED: "the decoder process died",
    Reason.DECODER_FAILED: "bitmill or a library failed; the file may be intact, please report it",
    Reason.REMOVED: "removed by a takedown; never retried",
}
