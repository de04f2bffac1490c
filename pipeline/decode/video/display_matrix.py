"""The display matrix that lies beside a decoded frame, whatever else lies there."""

from collections.abc import Iterable
from typing import cast

from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from bitmill.pipeline.decode.pixels.orientation import UPRIGHT, Orientation, read_matrix


def orientation_of(frame: VideoFrame) -> Orientation:
    """As the display matrix beside the frame says."""
    # PyAV's stubs call the container a mapping of strings; it iterates over its values.
    for side_data in cast("Iterable[SideData]", frame.side_data):
        if side_data.type is SideDataType.DISPLAYMATRIX:
            return read_matrix(bytes(side_data))
    return UPRIGHT


def _unlisted(kind: type[SideDataType], number: object) -> SideDataType | None:
    """A member for a number that PyAV does not know: for want of one it refuses all that a frame carries.

    FFmpeg numbers more kinds with each release: views of MV-HEVC are 29, EXIF of Motion JPEG is 31.
    """
    if not isinstance(number, int):
        return None
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNLISTED_{number}", number
    return member


SideDataType._missing_ = classmethod(_unlisted)  # pyright: ignore[reportAttributeAccessIssue]
