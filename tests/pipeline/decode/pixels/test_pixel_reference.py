"""The reference for pixels is itself held to values that are known without it."""

import numpy as np
import pytest

from tests.support.pixel_reference import (
    Signal,
    chroma_at_native_size,
    lanczos_weights,
    native_rgb,
    reference,
)

# 75% colour bars of BT.601 in 8 bits, limited range, as SMPTE EG 1 lists them.
BARS_601 = {
    (191, 191, 191): (180, 128, 128),
    (191, 191, 0): (162, 44, 142),
    (0, 191, 191): (131, 156, 44),
    (0, 191, 0): (112, 72, 58),
    (191, 0, 191): (84, 184, 198),
    (191, 0, 0): (65, 100, 212),
    (0, 0, 191): (35, 212, 114),
}
# 100% bars of BT.709 and BT.2020, limited range, as the recommendations' equations round.
BARS_709 = {(255, 0, 0): (63, 102, 240), (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118)}
BARS_2020 = {(255, 0, 0): (74, 97, 240), (0, 255, 0): (164, 47, 25), (0, 0, 255): (29, 240, 119)}


def constant(values, subsampling=(1, 1), size=(12, 8)):
    sizes = [size] + [tuple(-(-side // step) for side, step in zip(size, subsampling, strict=True))] * 2
    return [
        np.full((height, width), float(value)) for value, (width, height) in zip(values, sizes, strict=False)
    ]


@pytest.mark.parametrize(
    ("matrix", "bars"), [("bt601", BARS_601), ("bt709", BARS_709), ("bt2020", BARS_2020)]
)
def test_colour_bars(matrix, bars) -> None:
    for colour, samples in bars.items():
        rgb = native_rgb(constant(samples), Signal(matrix=matrix))[0, 0]
        assert np.abs(rgb - colour).max() < 1.6, (colour, rgb)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_black_white_and_what_lies_beyond(subsampling, bits) -> None:
    unit = 2 ** (bits - 8)
    limited = Signal(bits=bits, subsampling=subsampling)
    for luma, expected in [(16, 0), (235, 255), (125.5, 127.5), (0, -16 * 255 / 219), (255, 239 * 255 / 219)]:
        planes = constant((luma * unit, 128 * unit, 128 * unit), subsampling)
        assert np.allclose(native_rgb(planes, limited), expected)
    full = Signal(bits=bits, subsampling=subsampling, is_full=True)
    assert np.allclose(native_rgb(constant((2**bits - 1, 128 * unit, 128 * unit), subsampling), full), 255)
    assert np.allclose(native_rgb(constant((0,)), full), 0)


@pytest.mark.parametrize("window", [(0, 0, 5, 5), (2, 0, 3, 5), (0, 0, 40, 30)])
def test_constants_stay_and_are_clipped(window) -> None:
    planes = constant((235, 128, 240), (2, 2))
    scaled = (40, 30) if window[2] == 40 else (8, 5)
    found = reference(planes, Signal(subsampling=(2, 2)), scaled, window)
    assert found.shape == (window[3], window[2], 3)
    assert np.allclose(found[..., 0], 255)
    assert np.ptp(found.reshape(-1, 3), axis=0).max() < 1e-9


def test_lanczos_at_its_own_samples_is_the_identity_and_its_values_are_known() -> None:
    assert np.allclose(lanczos_weights(np.arange(7) + 0.5, 1.0, 7), np.eye(7))
    half = lanczos_weights(np.array([10.0]), 1.0, 20)[0, 7:13]
    # sinc(x) sinc(x/3) at 2.5, 1.5 and 0.5.
    side = np.array([0.0243171, -0.1350949, 0.6079271])
    assert np.allclose(half, np.concatenate([side, side[::-1]]) / (2 * side.sum()), atol=1e-6)


def test_a_ramp_keeps_its_place_by_either_siting() -> None:
    """Chroma that rises by one a luma sample; the other siting would be half a sample off."""
    for is_centred, first in ((False, 0.0), (True, 0.5)):
        chroma = np.tile(np.arange(20) * 2.0 + first, (6, 1))
        signal = Signal(subsampling=(2, 1), is_centred=is_centred)
        native = chroma_at_native_size(chroma, (40, 6), signal)
        assert np.abs(native - np.arange(40))[:, 8:-8].max() < 0.05


def test_planes_of_colours_are_taken_as_they_are() -> None:
    planes = constant((1023, 0, 341))
    assert np.allclose(native_rgb(planes, Signal(matrix="rgb", bits=10))[0, 0], (255, 0, 85))
