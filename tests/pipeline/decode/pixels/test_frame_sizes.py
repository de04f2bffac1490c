"""The choice of an item's frame size: the nearest bucket, or the frame's own shape."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitmill.pipeline.decode.pixels.crop import centre_crop, scaled_size
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, NativeSizes, frame_sizes, squares
from bitmill.schemas.requests.frames import MAX_SIDE_PX, FrameSpec, NativeFrames

sides = st.integers(1, 4000)
aspects = st.fractions(Fraction(1, 4), Fraction(4), max_denominator=20)
frames = st.tuples(sides, sides, aspects)
sizes = st.tuples(*[st.integers(1, 64).map(lambda count: 8 * count)] * 2)
lists = st.lists(sizes, min_size=1, max_size=6, unique=True).map(tuple)
multiples = st.sampled_from([(8, 8), (16, 16), (8, 16), (1, 1), (32, 8)])


def off_by(frame, size) -> float:
    width, height, aspect = frame
    return abs(math.log(width * aspect / height) - math.log(size[1] / size[0]))


def is_enlarged(frame, size) -> bool:
    across, down = scaled_size(*frame, size)
    return across > frame[0] or down > frame[1]


def turned(frame):
    width, height, aspect = frame
    return height, width, 1 / aspect


@given(frames, lists)
def test_the_nearest_by_a_float_oracle(frame, buckets) -> None:
    nearest = min(off_by(frame, size) for size in buckets)
    assert off_by(frame, Buckets(buckets).size_of(*frame)) <= nearest + 1e-9


@given(frames, lists)
def test_of_equally_near_ones_the_largest_that_is_not_enlarged_then_the_first(frame, buckets) -> None:
    chosen = Buckets(buckets).size_of(*frame)
    near = [size for size in buckets if abs(off_by(frame, size) - off_by(frame, chosen)) < 1e-12]
    fitting = [size for size in near if not is_enlarged(frame, size)]
    most = max((math.prod(size) for size in fitting), default=None)
    assert chosen == next(
        size for size in near if most is None or (size in fitting and math.prod(size) == most)
    )


@pytest.mark.parametrize(
    ("frame", "buckets", "chosen"),
    [
        ((1920, 1080), ((256, 448), (448, 256), (256, 256)), (256, 448)),
        ((1080, 1920), ((256, 448), (448, 256), (256, 256)), (448, 256)),
        ((1000, 1000), ((256, 448), (448, 256), (256, 256)), (256, 256)),
        # A tie of 16:9 and 9:16, then the order of the list alone.
        ((100, 100), ((448, 256), (256, 448)), (448, 256)),
        ((100, 100), ((256, 448), (448, 256)), (256, 448)),
        # One ratio at three sizes: the largest that the frame fills, else the first.
        ((640, 640), ((128, 128), (512, 512), (1024, 1024)), (512, 512)),
        ((64, 64), ((256, 256), (128, 128)), (256, 256)),
        # A tie between a wide one and a high one by the exact ratio, which floats would miss.
        ((3, 3), ((8, 24), (24, 8), (80, 240)), (8, 24)),
    ],
)
def test_buckets(frame, buckets, chosen) -> None:
    assert Buckets(buckets).size_of(*frame, Fraction(1)) == chosen


def test_non_square_pixels_count_as_they_are_shown() -> None:
    three = Buckets(((256, 448), (448, 256), (256, 256)))
    # 720×576 at 64:45 is 16:9; the same upright at 1:1 is nearer to a square.
    assert three.size_of(720, 576, Fraction(64, 45)) == (256, 448)
    assert three.size_of(720, 576, Fraction(1)) == (256, 256)


@given(frames, lists)
def test_portrait_gets_the_bucket_of_landscape_on_its_side(frame, buckets) -> None:
    upright = tuple(size[::-1] for size in buckets)
    assert Buckets(upright).size_of(*turned(frame)) == Buckets(buckets).size_of(*frame)[::-1]


@st.composite
def natives(draw):
    multiple = draw(multiples)
    short = draw(st.none() | st.integers(max(multiple), 1024))
    area = draw(st.none() | st.integers(math.prod(multiple), 1024**2))
    assume(short is not None or area is not None)
    return NativeSizes(multiple_px=multiple, short_side_px=short, area_px=area)


@given(frames, natives())
def test_native_keeps_to_multiples_and_bounds(frame, native) -> None:
    rows, columns = native.size_of(*frame)
    assert rows >= native.multiple_px[0]
    assert columns >= native.multiple_px[1]
    assert rows % native.multiple_px[0] == columns % native.multiple_px[1] == 0
    assert max(rows, columns) <= MAX_SIDE_PX
    assert native.short_side_px is None or min(rows, columns) <= native.short_side_px
    assert native.area_px is None or rows * columns <= native.area_px


@given(frames, natives())
def test_native_enlarges_only_up_to_one_multiple(frame, native) -> None:
    size = native.size_of(*frame)
    if is_enlarged(frame, size):
        assert size[0] == native.multiple_px[0] or size[1] == native.multiple_px[1]


@pytest.mark.slow
@given(frames, natives())
def test_native_crops_less_than_a_multiple_of_the_frame_within_the_bounds(frame, native) -> None:
    rows, columns = native.size_of(*frame)
    down, across = native.multiple_px
    crop = centre_crop(*frame, (rows, columns))
    assume(max(crop.scaled_height, crop.scaled_width) <= MAX_SIDE_PX)
    assume(not (rows == down or columns == across))
    # The scaled frame is no larger than the frame within the bounds, whose sides were rounded down.
    assert crop.scaled_height - rows < down + 1
    assert crop.scaled_width - columns < across + 1


@given(frames, natives())
def test_native_is_symmetric(frame, native) -> None:
    upright = NativeSizes(
        multiple_px=native.multiple_px[::-1], short_side_px=native.short_side_px, area_px=native.area_px
    )
    assert upright.size_of(*turned(frame)) == native.size_of(*frame)[::-1]


@pytest.mark.parametrize(
    ("frame", "bounds", "size"),
    [
        ((1920, 1080), {"short_side_px": 256}, (256, 448)),
        ((1080, 1920), {"short_side_px": 256}, (448, 256)),
        ((1920, 1080), {"area_px": 256 * 256}, (192, 336)),
        ((1920, 1080), {"short_side_px": 256, "area_px": 256 * 256}, (192, 336)),
        ((100, 60), {"short_side_px": 256}, (56, 96)),
        ((5, 3), {"short_side_px": 256}, (8, 8)),
        ((4000, 1), {"short_side_px": 256}, (8, 8192)),
        ((4000, 1), {"area_px": 4096}, (8, 512)),
    ],
)
def test_native(frame, bounds, size) -> None:
    assert NativeSizes(multiple_px=(8, 8), **bounds).size_of(*frame, Fraction(1)) == size


@given(frames, lists)
def test_the_largest_bucket_bounds_every_frame(frame, buckets) -> None:
    sizes = Buckets(buckets)
    assert math.prod(sizes.size_of(*frame)) <= math.prod(sizes.largest)


@pytest.mark.parametrize(
    ("bounds", "largest"),
    [({"area_px": 65536}, (256, 256)), ({"short_side_px": 256}, (256, 512))],
)
def test_the_largest_native_size_is_a_square_or_twice_as_wide(bounds, largest) -> None:
    assert NativeSizes(multiple_px=(8, 8), **bounds).largest == largest


def test_a_jobs_sizes() -> None:
    assert frame_sizes(FrameSpec(), square_px=64, multiple_px=(8, 8)) == squares(64)
    buckets = FrameSpec(buckets=((64, 32), (32, 64)))
    assert frame_sizes(buckets, square_px=None, multiple_px=(8, 8)) == Buckets(((64, 32), (32, 64)))
    native = FrameSpec(native=NativeFrames(area_px=4096))
    expected = NativeSizes(multiple_px=(16, 8), area_px=4096)
    assert frame_sizes(native, square_px=None, multiple_px=(16, 8)) == expected
