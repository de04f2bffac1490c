"""Make clips with cuts, pans, zooms and moving things from the training photographs.

    python -m examples.small_tokenizer.motion_clips small-data

The clips that may be used for training are of still cameras, and a tokenizer trained on them alone breaks
down where a picture changes as a whole. Each of these, small-data/video/train/motion-NN.mp4, is a sequence of
scenes: a window that moves and grows over a photograph, before it or not a piece of another one on a path of
its own. The same photographs give the same frames.
"""

import argparse
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageDraw

_CLIPS = 12
_FPS = 12
_FRAMES = 240
_SIZE = (288, 192)
"""Width and height: half as much again as the crops of the recipe."""


def main() -> None:
    """Write the clips into the folder given on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    photos = sorted((folder / "photos" / "train").glob("*.webp"))
    for number in range(_CLIPS):
        write_clip(folder / "video" / "train" / f"motion-{number:02}.mp4", photos, random.Random(number))
        print(f"{number + 1} of {_CLIPS} clips", flush=True)


def write_clip(path: Path, photos: list[Path], drawn: random.Random) -> None:
    """Write one clip: scenes until it is full, without loss after the conversion to Y'CbCr."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        # Where x264 leaves something out, what it leaves out may depend on how busy the machine is.
        lossless = {"qp": "0", "threads": "1", "preset": "veryfast"}
        stream = out.add_stream("libx264", rate=Fraction(_FPS), options=lossless)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv444p"
        left = _FRAMES
        while left:
            length = min(left, drawn.choice((4, 7, 11, 16, 24, 36)))
            for picture in scene(photos, length, drawn):
                out.mux(stream.encode(av.VideoFrame.from_image(picture)))
            left -= length
        out.mux(stream.encode())


def scene(photos: list[Path], length: int, drawn: random.Random) -> Iterator[Image.Image]:
    """Yield ``length`` pictures of one photograph, and before it maybe a piece of another."""
    behind = _opened(drawn.choice(photos))
    # Of the picture's sides: a third of scenes stand still, others cross up to a fortieth of them a frame.
    pace = drawn.choice((0.0, drawn.uniform(0.002, 0.01), drawn.uniform(0.01, 0.025)))
    window = _Path(drawn, pace, low=0.35, high=0.9)
    piece = _piece(drawn.choice(photos), drawn) if drawn.random() < 0.5 else None
    way = _Path(drawn, drawn.uniform(0.005, 0.04), low=0.2, high=0.6)
    for step in range(length):
        picture = _window(behind, *window.at(step))
        if piece is not None:
            x, y, size = way.at(step)
            scale = size * _SIZE[1] / piece.height
            shown = piece.resize(
                (max(round(piece.width * scale), 8), max(round(piece.height * scale), 8)),
                Image.Resampling.BILINEAR,
            )
            corner = (round(x * _SIZE[0] - shown.width / 2), round(y * _SIZE[1] - shown.height / 2))
            picture.paste(shown, corner, shown)
        yield picture


class _Path:
    """A place and a size that change by equal steps, as shares of a picture; both turn round at its edges."""

    def __init__(self, drawn: random.Random, pace: float, *, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._start = drawn.random(), drawn.random(), drawn.random()
        self._step = tuple(pace * drawn.uniform(-1, 1) for _ in range(3))

    def at(self, step: int) -> tuple[float, float, float]:
        """The centre's x and y, in [0, 1], and a size in [low, high], at a step."""
        x, y, size = (
            1 - abs((start + step * pace) % 2 - 1)
            for start, pace in zip(self._start, self._step, strict=True)
        )
        return x, y, self._low + size * (self._high - self._low)


def _window(photo: Image.Image, x: float, y: float, size: float) -> Image.Image:
    """Cut the frame's shape out of a photograph, at fractions of pixels."""
    height = size * min(photo.height, photo.width * _SIZE[1] / _SIZE[0])
    width = height * _SIZE[0] / _SIZE[1]
    left, top = x * (photo.width - width), y * (photo.height - height)
    box = (left, top, left + width, top + height)
    return photo.resize(_SIZE, Image.Resampling.BICUBIC, box)


def _piece(path: Path, drawn: random.Random) -> Image.Image:
    """A piece of a photograph with a soft, round edge."""
    photo = _opened(path)
    side = drawn.randrange(min(photo.size) // 3, min(photo.size))
    left, top = drawn.randrange(photo.width - side + 1), drawn.randrange(photo.height - side + 1)
    piece = photo.crop((left, top, left + side, top + side))
    mask = Image.new("L", (side * 2, side * 2))
    ImageDraw.Draw(mask).ellipse((0, 0, side * 2 - 1, side * 2 - 1), fill=255)
    piece.putalpha(mask.resize((side, side), Image.Resampling.BILINEAR))
    return piece


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return photo.convert("RGB")


if __name__ == "__main__":
    main()
