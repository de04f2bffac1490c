"""What a frame's pixels should be, in float64, the plain and slow way, with nothing of bitmill's own code.

Chroma is brought to native size by Lanczos at its siting, the matrix is applied there, each colour is resized
by Lanczos, and values are clipped once, at the end.
Axes: H, W of a plane, C = 3 colours, P planes of one size; lower case, of the result.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

Plane = npt.NDArray[np.float64]

LUMA_SHARES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Kr and Kb of the recommendations."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What the samples of a frame stand for."""

    matrix: str = "bt601"
    """A key of LUMA_SHARES, or "rgb" for planes of red, green and blue."""
    bits: int = 8
    is_full: bool = False
    subsampling: tuple[int, int] = (1, 1)
    """Luma samples a chroma sample, across and down."""
    is_centred: bool = False
    """Whether chroma lies in the middle of its luma samples across, not on the first of them."""


def lanczos_weights(centres: npt.NDArray[np.float64], scale: float, length: int) -> npt.NDArray[np.float64]:
    """[centres, length]: Lanczos of three lobes, widened where it shrinks, cut off at the edges.

    Sample i of the source lies at i + 0.5, as ``centres`` count.
    """
    widening = max(scale, 1.0)
    distance = (np.arange(length) + 0.5 - centres[:, None]) / widening
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def resized(planes_PHW: Plane, scaled: tuple[int, int], window: tuple[int, int, int, int]) -> Plane:
    """The window (left, top, width, height) of each plane once it measures ``scaled`` (width, height)."""
    height, width = planes_PHW.shape[-2:]
    left, top, out_width, out_height = window
    across, down = width / scaled[0], height / scaled[1]
    x = (left + np.arange(out_width) + 0.5) * across
    y = (top + np.arange(out_height) + 0.5) * down
    return lanczos_weights(y, down, height) @ planes_PHW @ lanczos_weights(x, across, width).T


def chroma_at_native_size(planes_PHW: Plane, size: tuple[int, int], signal: Signal) -> Plane:
    """[P, H, W] of ``size`` (width, height) luma samples."""
    across, down = signal.subsampling
    x = (np.arange(size[0]) + 0.5) / across
    y = (np.arange(size[1]) + 0.5) / down
    if not signal.is_centred:
        # The first luma sample lies half a luma sample from the edge; so does its chroma sample, of its own.
        x += 0.5 - 0.5 / across
    weights = [lanczos_weights(at, 1 / step, length) for at, step, length in
               zip((y, x), (down, across), planes_PHW.shape[-2:], strict=True)]  # fmt: skip
    return weights[0] @ planes_PHW @ weights[1].T


def native_rgb(planes: list[Plane], signal: Signal) -> npt.NDArray[np.float64]:
    """[H, W, 3] of 0 to 255, not clipped, from one plane (grey) or three."""
    peak, unit = 2.0**signal.bits - 1, 2.0 ** (signal.bits - 8)
    if signal.matrix == "rgb":
        return np.stack(planes, axis=-1) * (255 / peak)
    luma = planes[0] / peak if signal.is_full else (planes[0] - 16 * unit) / (219 * unit)
    if len(planes) == 1:
        return np.stack([luma] * 3, axis=-1) * 255
    size = planes[0].shape[::-1]
    chroma_PHW = chroma_at_native_size(np.stack(planes[1:]), size, signal)
    blue, red = (chroma_PHW - 128 * unit) / (peak if signal.is_full else 224 * unit)
    share_r, share_b = LUMA_SHARES[signal.matrix]
    r = luma + 2 * (1 - share_r) * red
    b = luma + 2 * (1 - share_b) * blue
    g = (luma - share_r * r - share_b * b) / (1 - share_r - share_b)
    return np.stack([r, g, b], axis=-1) * 255


def reference(
    planes: list[Plane], signal: Signal, scaled: tuple[int, int], window: tuple[int, int, int, int]
) -> npt.NDArray[np.float64]:
    """[h, w, 3] of 0 to 255: the window (left, top, width, height) of the frame at size ``scaled``."""
    rgb_CHW = np.moveaxis(native_rgb(planes, signal), -1, 0)
    return np.clip(np.moveaxis(resized(rgb_CHW, scaled, window), 0, -1), 0, 255)


def samples(frame: VideoFrame) -> list[Plane]:
    """The planes of a planar frame, or of one with chroma in pairs, in the order of its components."""
    found: list[Plane] = []
    components = frame.format.components
    for index, component in enumerate(components):
        plane = frame.planes[component.plane]
        width_bytes = 2 if component.bits > 8 else 1
        rows = np.frombuffer(plane, np.uint16 if width_bytes == 2 else np.uint8)
        rows = rows.reshape(plane.height, plane.line_size // width_bytes)
        shared = [at for at, other in enumerate(components) if other.plane == component.plane]
        step, at = len(shared), shared.index(index)
        values = rows[:, at : component.width * step : step].astype(np.float64)
        # These keep more than 8 bits in the highest ones of their words.
        is_high = frame.format.name in ("p010le", "p012le")
        found.append(values / 2 ** (16 - component.bits) if is_high else values)
    return found
