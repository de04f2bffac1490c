"""Reads the display matrix from a decoded frame's side data, also if that contains kinds unknown to PyAV."""

from collections.abc import Callable, Iterable
from typing import cast

from av.sidedata.sidedata import SideData, SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from bitmill.pipeline.decode.pixels.orientation import UPRIGHT, Orientation, read_matrix

# ``frame.side_data`` is kept by the frame that it keeps: a cycle, whose pixels stay in memory until a garbage
# collection. PyAV's stubs name neither the constructor's argument nor that it iterates over values.
_side_data_of = cast("Callable[[VideoFrame], Iterable[SideData]]", SideDataContainer)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Returns the orientation by the display matrix in the frame's side data."""
    for side_data in _side_data_of(frame):
        if side_data.type is SideDataType.DISPLAYMATRIX:
            return read_matrix(bytes(side_data))
    return UPRIGHT


def _unlisted(kind: type[SideDataType], number: object) -> SideDataType | None:
    """Returns a member for a number unknown to PyAV, which would otherwise refuse all side data of the frame.

    FFmpeg adds kinds with each release: views of MV-HEVC are 29, EXIF of Motion JPEG is 31.
    """
    if not isinstance(number, int):
        return None
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNLISTED_{number}", number
    return member


SideDataType._missing_ = classmethod(_unlisted)  # pyright: ignore[reportAttributeAccessIssue]
