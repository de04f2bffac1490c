"""Opens untrusted files with FFmpeg: detects formats by content, opens no other file, silences stderr."""

import errno
import re
from pathlib import Path

import av
import av.logging as av_logging
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
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
from av.stream import Disposition
from av.video.stream import VideoStream

from bitmill.pipeline.decode.video.mp4_boxes import is_encrypted
from bitmill.pipeline.decode.video.truncation import has_whole_index
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

av_logging.set_level(None)

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

_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,h264,hevc,m4v,ivf,nut,obu,rm,vc1,dv,wtv,nsv,"
    "mjpeg,yuv4mpegpipe,gxf,swf,apng,gif,webp_pipe,mp3,wav,flac,aac,aiff,amr,ac3,eac3,w64,caf,au,tta,wv,ape"
)
"""Playlists (HLS, concat, SDP …) are excluded: they make FFmpeg open other files and hosts."""

_SIGNATURES = (
    (4, (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"moof")),
    (0, (b"\x1a\x45\xdf\xa3", b"RIFF", b"FLV", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba", b"GIF8")),
)


def open_media(path: str) -> InputContainer:
    """Open a file. Raises BadItemError: NOT_MEDIA; TRUNCATED or CORRUPT if it begins as a container."""
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        return av.open(path, "r", container_options=options, metadata_errors="replace")
    except FFmpegError as error:
        raise _unopened(path, error) from error


def video_stream(container: InputContainer) -> VideoStream:
    """Returns the default video stream, else the first; ignores cover pictures and thumbnails.

    Raises BadItemError: NO_VIDEO_STREAM, ENCRYPTED, or UNSUPPORTED_CODEC if no decoder supports the stream.
    """
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & still]
    if not videos:
        kinds = sorted(
            {"a still picture" if stream.type == "video" else stream.type for stream in container.streams}
        )
        detail = f"The container ({container.format.name}) contains only: {', '.join(kinds) or 'nothing'}."
        raise BadItemError(Reason.NO_VIDEO_STREAM, detail)
    stream = next((video for video in videos if video.disposition & Disposition.default), videos[0])
    in_boxes = container.format.name.startswith("mov")
    # FFmpeg reports the key id of Matroska and WebM, but not the encryption boxes of MP4.
    if "enc_key_id" in stream.metadata or (in_boxes and is_encrypted(container.name, stream.id)):
        raise BadItemError(Reason.ENCRYPTED, "The video stream is encrypted.")
    # Typed as never None, but None for a codec that FFmpeg was built without.
    if getattr(stream, "codec_context", None) is None:
        detail = f"No installed decoder supports the video stream of this {container.format.name} file."
        raise BadItemError(Reason.UNSUPPORTED_CODEC, detail)
    return stream


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


def _unopened(path: str, error: Exception) -> BadItemError:
    fault = library_fault(error, path)
    if fault.reason in (Reason.OUT_OF_MEMORY, Reason.READ_ERROR):
        return fault
    with Path(path).open("rb") as file:
        head = file.read(16)
    known = any(head[at:].startswith(signatures) for at, signatures in _SIGNATURES)
    if not known or head[8:12] == b"WAVE":
        return BadItemError(Reason.NOT_MEDIA, "The file is not in a known video, audio or image format.")
    if head[4:8] in _SIGNATURES[0][1] and not has_whole_index(path):
        return BadItemError(Reason.TRUNCATED, "The file ends before its index (the moov box).")
    return fault
