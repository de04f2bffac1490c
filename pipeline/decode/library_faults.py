"""What an error of FFmpeg, Pillow or the system says of a source: the reason that the ledger states."""

import errno
import re

from av.codec.codec import UnknownCodecError
from av.error import (
    BufferTooSmallError,
    BugError,
    DecoderNotFoundError,
    DemuxerNotFoundError,
    FFmpegError,
    OptionNotFoundError,
    PatchWelcomeError,
    PyAVCallbackError,
)

from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

_MACHINE_ERRORS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EACCES, errno.EMFILE, errno.ENFILE}
)

_UNSUPPORTED_ERRORS = frozenset({errno.ENOSYS, errno.ENOTSUP})
_UNKNOWN_KINDS = (
    DecoderNotFoundError,
    DemuxerNotFoundError,
    PatchWelcomeError,
    UnknownCodecError,
    NotImplementedError,
)
_MISUSE = (BugError, BufferTooSmallError, OptionNotFoundError, PyAVCallbackError)
"""Errors that report bugs in FFmpeg or misuse by the caller, not bad bytes."""


def library_fault(error: Exception, path: str, *, meaning: Reason | None = None) -> BadItemError:
    """Converts a library's error to a BadItemError with its class and message, without the file's path.

    ``meaning`` is the reason that the error implies for the bytes; None if only FFmpeg's errors imply one.
    Faults of the machine, its disks or a program are never reported as damaged bytes.
    """
    number = getattr(error, "errno", None)
    by_ffmpeg = isinstance(error, FFmpegError)
    reasons = (
        (isinstance(error, MemoryError), Reason.OUT_OF_MEMORY),
        (isinstance(error, FileNotFoundError), Reason.NOT_FOUND),
        (number in _MACHINE_ERRORS, Reason.READ_ERROR),
        (isinstance(error, _UNKNOWN_KINDS) or number in _UNSUPPORTED_ERRORS, Reason.UNSUPPORTED_CODEC),
        (meaning is not None, meaning),
        (by_ffmpeg and isinstance(error, EOFError), Reason.TRUNCATED),
        (by_ffmpeg and not isinstance(error, _MISUSE), Reason.CORRUPT),
        (isinstance(error, OSError) and number is not None, Reason.READ_ERROR),
    )
    reason = next((reason for applies, reason in reasons if applies), None)
    return BadItemError(reason or Reason.DECODER_FAILED, describe(error, path))


def describe(error: Exception, path: str) -> str:
    """Returns ``Class: message.`` in one line, without the path and any folder."""
    message = str(getattr(error, "strerror", None) or error).replace(path, "the file")
    message = re.sub(r"(?<!\w)/[\w./-]+/[\w.-]+", "(path)", " ".join(message.split()))[:300]
    return f"{type(error).__name__}: {message.rstrip('.')}."
