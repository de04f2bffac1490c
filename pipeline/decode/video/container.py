"""Opens untrusted files with FFmpeg: detects formats by content, opens no other file, silences stderr."""

from pathlib import Path

import av
import av.logging as av_logging
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.video.mp4_boxes import is_encrypted
from bitmill.pipeline.decode.video.truncation import has_whole_index
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

av_logging.set_level(None)

_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,h264,hevc,m4v,ivf,nut,obu,rm,vc1,dv,wtv,nsv,"
    "mjpeg,yuv4mpegpipe,gxf,swf,apng,gif,webp_pipe,mp3,wav,flac,aac,aiff,amr,ac3,eac3,w64,caf,au,tta,wv,ape"
)
"""Playlists (HLS, concat, SDP …) are excluded: they make FFmpeg open other files and hosts."""

_SIGNATURES = (
    (4, (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"moof")),
    (0, (b"\x1a\x45\xdf\xa3", b"RIFF", b"FLV", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba", b"GIF8")),
)


def open_media(path: str, **options: str) -> InputContainer:
    """Open a file with FFmpeg's ``options`` for its format.

    Raises BadItemError: NOT_MEDIA; TRUNCATED or CORRUPT if it begins as a container.
    """
    options |= {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    with Path(path).open("rb") as file:
        # FFmpeg would recognise a stream of JPEGs only by its name.
        format_name = "mjpeg" if file.read(3) == b"\xff\xd8\xff" else None
    try:
        return av.open(path, "r", format=format_name, container_options=options, metadata_errors="replace")
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
