"""Many square crops of each photograph, as one photograph a kind of picture teaches a model little.

    python -m examples.token_models.make_crops small-data token-data

reads ``photos/`` of what ``examples.small_tokenizer.fetch_data`` made, and
writes ``crops/train``, ``crops/held-out`` and ``crops.csv``, a manifest with each crop's label. The same
photographs give the same crops. No crop of a held-out photograph is among those to train on.
"""

import csv
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SIDE_PX = 128
CROPS = {"train": 24, "held-out": 5}
_SMALLEST_PX = 144
"""Below, a crop would be made larger than it is."""

LABELS = {
    "landscape": ("land", "backgrounds"),
    "building": ("monuments", "usa", "france", "germany", "egypt", "wonders"),
    "fish": ("fishes",),
    "animal": ("animals", "resource"),
    "object": ("tools", "others", "music"),
    "power": ("renewable",),
}
"""Kinds of pictures by how the photographs' names begin."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square of a photograph, in its pixels."""

    left: int
    top: int
    side: int
    mirrored: bool


def choose_crops(name: str, width: int, height: int, count: int) -> list[Crop]:
    """The centre as large as it goes, then squares of other sizes and places, drawn as ``name`` decides."""
    chance = random.Random(name)
    short = min(width, height)
    crops = [Crop(left=(width - short) // 2, top=(height - short) // 2, side=short, mirrored=False)]
    smallest = min(_SMALLEST_PX, short)
    while len(crops) < count:
        # Even in the logarithm: halving the side is as likely anywhere.
        side = round(smallest * (short / smallest) ** chance.random())
        left, top = chance.randint(0, width - side), chance.randint(0, height - side)
        crops.append(Crop(left=left, top=top, side=side, mirrored=chance.random() < 0.5))
    return crops


def label_of(name: str) -> str | None:
    """The kind of picture that a photograph's name tells."""
    kind = name.split("-", maxsplit=1)[0]
    return next((label for label, kinds in LABELS.items() if kind in kinds), None)


def photos_of(folder: Path, split: str) -> list[Path]:
    """Those to choose a recipe on were chosen for another one, and are trained on here."""
    folders = ("train", "validation") if split == "train" else (split,)
    return [path for name in folders for path in (folder / name).glob("*")]


def cut(photo: Image.Image, crop: Crop) -> Image.Image:
    """The crop at the tokenizer's size."""
    box = (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
    small = photo.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, box=box)
    return small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crop.mirrored else small


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    rows: list[tuple[str, str]] = []
    for split, count in CROPS.items():
        folder = out / "crops" / split
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(photos_of(data / "photos", split), key=lambda path: path.name):
            photo = Image.open(path).convert("RGB")
            for number, crop in enumerate(choose_crops(path.stem, *photo.size, count)):
                target = folder / f"{path.stem}-{number:02}.jpg"
                cut(photo, crop).save(target, quality=95, subsampling=0)
                rows.append((str(target.relative_to(out)), label_of(path.stem) or ""))
        print(f"{split}: {len(list(folder.iterdir())):,} crops", flush=True)
    with (out / "crops.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("uri", "label"), *rows])


if __name__ == "__main__":
    main()
