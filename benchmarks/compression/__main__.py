"""Rate and distortion of ``bitmill compress`` beside image and video codecs, on the same pictures.

Images against JPEG, JPEG2000, WebP and AVIF; videos against x264, x265 and SVT-AV1 at two presets. All get
the same frames, cut and resized once; rates are the bytes of whole files, distortions those of 8-bit frames.
A tokenizer gives a curve by coding smaller frames, in tiles of its own size if it has one; they are brought
back to the full size by Lanczos.

    python -m examples.small_tokenizer.fetch_data small-data
    bitmill weights fetch lpips-alexnet
    python -m benchmarks.compression --images small-data/photos/held-out --videos small-data/video/held-out \
        --tokenizer small-1 --out compression

``--out`` keeps every point: a second call goes on from them.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.compression.contender import Contender
from benchmarks.compression.media import Item, load_items
from benchmarks.compression.ours import Ours, SizedTokenizers
from benchmarks.compression.report import bd_table, plot, points_table
from benchmarks.compression.scoring import Point, measure
from benchmarks.compression.stills import STILLS
from benchmarks.compression.videos import VIDEOS
from benchmarks.machine import describe, sentence
from bitmill.bsq_model.families import load_files
from bitmill.jobs.preparation.models.find_token_models import find_prior, load_prior
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec
from bitmill.jobs.preparation.models.metric_networks import find_lpips
from bitmill.pipeline.compressing.clip_streams import LoadedPrior

PACKAGES = ["torch", "constriction", "pillow", "av", "bjontegaard"]


def main() -> None:
    """Measure what is not measured yet, then write tables and plots."""
    options = _options()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe(PACKAGES)
    sections: list[str] = []
    for kind, path, codecs, anchor in (
        ("images", options.images, STILLS, "JPEG"),
        ("videos", options.videos, VIDEOS, "x264 medium"),
    ):
        if path is None:
            continue
        items = load_items(
            path,
            options.size,
            most=options.most_images if kind == "images" else options.most_videos,
            fps=None if kind == "images" else options.fps,
            most_frames=options.frames,
        )
        ours = [one for one in _ours(options) if kind == "images" or one.tokenizers.takes_video]
        points = _measured(kind, items, [*codecs, *ours], options.out)
        names = [one.name for one in ours]
        plot(points, f"{len(items)} {kind} of {options.size}²", options.out / f"{kind}.svg", ours=names)
        frames = sum(len(item.frames_THWC) for item in items)
        sections += [
            f"## {len(items)} {kind}, {frames} frames of {options.size}²",
            bd_table(points, anchor),
            points_table(points),
        ]
    text = "\n\n".join([*sections, sentence(machine)]) + "\n"
    (options.out / "tables.md").write_text(text)
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="a folder of images, or one")
    parser.add_argument("--videos", type=Path, help="a folder of videos, or one")
    parser.add_argument("--out", type=Path, default=Path("compression"))
    parser.add_argument(
        "--tokenizer", action="append", help="a bundled one's name, or a folder; may come several times"
    )
    parser.add_argument("--prior", action="append", help="a prior's folder; may come several times")
    parser.add_argument("--size", type=int, default=512, help="side of the frames that all are given")
    parser.add_argument(
        "--inner", type=int, nargs="+", default=[128, 256, 384, 512], help="sizes that ours code"
    )
    parser.add_argument("--most-images", type=int, default=16)
    parser.add_argument("--most-videos", type=int, default=4)
    parser.add_argument("--frames", type=int, default=32, help="of each video, at most")
    parser.add_argument("--fps", type=float, default=None, help="frames a second of videos; default: all")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _ours(options: argparse.Namespace) -> list[Ours]:
    found: list[Ours] = []
    for name in options.tokenizer or ["small-1"]:
        loaded = load_tokenizer_spec(tokenizer_spec(name))
        label = f"{_label(name)} ({loaded.geometry.code.bits_per_token} bits)"
        sized = SizedTokenizers(label, load_files(loaded.files))
        settings = tuple(px for px in options.inner if px <= options.size)
        found.append(Ours(tokenizers=sized, prior=None, settings=settings))
        prior = _prior(options.prior or [], loaded.fingerprint)
        if prior is not None:
            found.append(Ours(tokenizers=sized, prior=prior, settings=settings))
    return found


def _prior(names: Sequence[str], tokenizer_fingerprint: str) -> LoadedPrior | None:
    """The named prior of this tokenizer, else its bundled one; null where there is none."""
    for prior in map(load_prior, names):
        if prior.tokenizer_fingerprint == tokenizer_fingerprint:
            return prior
    return find_prior(tokenizer_fingerprint)


def _label(name: str) -> str:
    """A folder's own name; that above it where it has the name that ``train`` gives."""
    parts = [part for part in Path(name).parts if part not in ("tokenizer", "run")]
    return parts[-1]


def _measured(kind: str, items: Sequence[Item], contenders: Sequence[Contender], out: Path) -> list[Point]:
    file = out / f"{kind}.jsonl"
    known: dict[tuple[str, int], Point] = {}
    if file.exists():
        for line in file.read_text().splitlines():
            point = Point(**json.loads(line))
            known[point.contender, point.setting] = point
    lpips = find_lpips()
    points: list[Point] = []
    with file.open("a") as log:
        for contender in contenders:
            for setting in contender.settings:
                point = known.get((contender.name, setting))
                if point is None:
                    started = time.monotonic()
                    point = measure(contender, items, setting, lpips)
                    log.write(json.dumps(dataclasses.asdict(point)) + "\n")
                    log.flush()
                    _tell(point, time.monotonic() - started)
                points.append(point)
    return points


def _tell(point: Point, seconds: float) -> None:
    lpips = f"{point.lpips:.4f}" if point.lpips is not None else "–"
    print(
        f"{point.contender} at {point.setting}: {point.bits_per_pixel:.4f} bit/pixel, "
        f"{point.psnr_db:.2f} dB, LPIPS {lpips} ({seconds:.0f} s)",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
