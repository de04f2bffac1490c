"""Training batches from real files: the same samples whoever decodes them, and nothing that hangs."""

import gc
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder
from bitmill.pipeline.training.data import decode_worker
from bitmill.pipeline.training.data.make_sample import ClipMaker, ClipSettings, SampleTask
from bitmill.pipeline.training.data.sample_schedule import Draw
from bitmill.pipeline.training.data.training_loader import TrainingData
from bitmill.schemas.errors import TooManyFailuresError, UsageError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import SourceSpec
from bitmill.schemas.requests.training_data import DataSpec
from tests.support.commands import HANGS_S, Running, environment, script, wait_until
from tests.support.media import (
    exif_rotated_jpeg,
    jpeg_photo,
    real_pictures,
    truncated_jpeg,
    write_video,
)
from tests.support.poisoned import DEADLY, HANGING, poisoned_work

WHOLE = Draw(0, 0.5, 0.5, 0.5, 0.0, flip=False)
"""The largest crop, in the middle."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Ten pictures, each of one grey of its own: 0, 20, … 180."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(10):
        Image.new("RGB", (90, 60), (number * 20,) * 3).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Three videos of 100, 60 and 40 frames, whose frames' greys count up by two."""
    folder = tmp_path_factory.mktemp("videos")
    for number, frames in enumerate((100, 60, 40)):
        pictures = [np.full((48, 64, 3), 20 + 2 * index, np.uint8) for index in range(frames)]
        write_video(folder / f"{number}.mp4", pictures, keyframes=range(0, frames, 12))
    return folder


def sources(*paths: Path):
    return find_sources(SourceSpec(paths=[str(path) for path in paths])).sources


def data(found, *, num_frames: int = 1, sizes=((16, 16),), batch: int = 5, workers: int = 0, **more):
    loader = ("rank", "world_size", "least_frames", "pixel_rule")
    own = {name: more.pop(name) for name in loader if name in more}
    spec = DataSpec(workers=workers, **more)
    return TrainingData(found, spec, sizes=sizes, num_frames=num_frames, seed=4, global_batch=batch, **own)


def taken(loader: TrainingData, count: int, first_step: int = 0) -> np.ndarray:
    """Clips of ``count`` batches, [S, B, T, H, W, 3]; the loader is closed after."""
    with loader:
        return np.stack([batch.clips_BTHWC.numpy() for batch in islice(loader.batches(first_step), count)])


def children() -> list[int]:
    """Living decoding processes of this process."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, status = (path / "cmdline").read_text(), (path / "status").read_text()
        except OSError:
            continue
        if f"PPid:\t{os.getpid()}\n" in status and "spawn_main" in words and "State:\tZ" not in status:
            found.append(int(path.name))
    return found


def make(path: Path, draw: Draw = WHOLE, *, size_px: int = 64, num_frames: int = 1, **spec):
    (source,) = sources(path)
    size, frames = (size_px, size_px), num_frames
    settings = ClipSettings(spec=DataSpec(**spec), sizes=(size,), num_frames=frames, least_frames=frames)
    task = SampleTask(source=source, draw=draw, num_frames=frames, size_px=size)
    return ClipMaker(settings).make(task)


class TestSameSamples:
    @pytest.mark.slow
    def test_whatever_the_workers_and_the_first_step(self, photos, videos):
        found = sources(photos, videos)
        alone = taken(data(found), 8)
        assert alone.shape == (8, 5, 1, 16, 16, 3)
        assert (taken(data(found, workers=2), 8) == alone).all()
        assert (taken(data(found), 3, first_step=5) == alone[5:]).all()

    def test_whatever_the_cache_holds(self, videos):
        found = sources(videos)
        assert (taken(data(found, cache_bytes=0), 8) == taken(data(found), 8)).all()

    def test_whatever_the_ranks(self, photos):
        found = sources(photos)
        whole = taken(data(found, batch=6), 4)
        halves = [taken(data(found, batch=6, rank=rank, world_size=2), 4) for rank in (0, 1)]
        assert (np.concatenate(halves, axis=1) == whole).all()

    @pytest.mark.slow
    def test_whatever_a_worker_that_is_killed_had_in_hand(self, videos):
        found = sources(videos)
        alone = taken(data(found, num_frames=4, cache_bytes=0), 30)
        with data(found, num_frames=4, cache_bytes=0, workers=2) as loader:
            for step, batch in enumerate(islice(loader.batches(), 30)):
                assert (batch.clips_BTHWC.numpy() == alone[step]).all()
                assert not batch.failures
                if step in (3, 15):
                    for child in children():
                        os.kill(child, signal.SIGKILL)


class TestSources:
    def test_each_comes_once_an_epoch(self, photos):
        greys = taken(data(sources(photos)), 6)[:, :, 0, 8, 8, 0].reshape(3, 10)
        for epoch in greys:
            assert sorted(epoch) == list(range(0, 200, 20))
        assert not (greys[0] == greys[1]).all()

    def test_batches_of_images_and_videos_take_turns(self, photos, videos):
        with data(sources(photos, videos), num_frames=4, image_share=0.5) as loader:
            lengths = [batch.clips_BTHWC.shape[1] for batch in islice(loader.batches(), 8)]
        assert sorted(lengths) == [1] * 4 + [4] * 4

    def test_a_manifests_span_is_kept_to(self, videos, tmp_path):
        table = tmp_path / "spans.csv"
        table.write_text(f"uri,start,end\n{videos / '0.mp4'},1.0,2.0\n")
        found = find_sources(SourceSpec(manifest=str(table))).sources
        frames = (taken(data(found, num_frames=4), 10)[..., 8, 8, 0].astype(int) - 20) / 2
        assert 24 <= frames.min() <= 28
        assert 45 <= frames.max() <= 50

    @pytest.mark.s3
    def test_a_store_gives_the_samples_that_a_disk_gives(self, photos, videos, s3):
        folder = Folder(s3)
        for path in (*photos.iterdir(), videos / "0.mp4"):
            folder.write_bytes(f"media/{path.name}", path.read_bytes())
        stored = find_sources(SourceSpec(paths=[f"{s3}/media"])).sources
        local = sorted(sources(photos, videos / "0.mp4"), key=lambda source: Path(source.uri).name)
        assert (taken(data(stored, workers=1), 4) == taken(data(local), 4)).all()

    @pytest.mark.parametrize(
        ("num_frames", "image_share", "message"),
        [(4, 0.0, "no source is a video"), (4, 0.5, "no source is a video")],
    )
    def test_clips_need_videos(self, photos, num_frames, image_share, message):
        with pytest.raises(UsageError, match=message):
            data(sources(photos), num_frames=num_frames, image_share=image_share)

    def test_batches_of_images_need_images(self, videos):
        with pytest.raises(UsageError, match="no source is an image"):
            data(sources(videos), num_frames=4, image_share=0.5)

    def test_ranks_must_divide_the_batch(self, photos):
        with pytest.raises(UsageError, match="not divisible by 2"):
            data(sources(photos), batch=5, world_size=2)


class TestClips:
    def test_frames_follow_one_another(self, videos):
        greys = taken(data(sources(videos), num_frames=8), 12)[..., 8, 8, 0].astype(int)
        assert (np.abs(np.diff(greys, axis=2) - 2) <= 1).all()
        starts = {int(start) for start in greys[:, :, 0].flat}
        assert len(starts) > 20

    def test_frames_are_taken_at_the_rate(self, videos):
        greys = taken(data(sources(videos / "0.mp4"), num_frames=4, fps=5.0), 6)[..., 8, 8, 0].astype(int)
        assert (np.abs(np.diff(greys, axis=2) - 10) <= 1).all()

    def test_a_video_that_is_too_short_is_replaced_and_told(self, videos):
        with data(sources(videos), num_frames=41) as loader:
            batches = list(islice(loader.batches(), 3))
        failures = {(Path(failure.uri).name, failure.reason) for b in batches for failure in b.failures}
        assert failures == {("2.mp4", Reason.TOO_SHORT)}

    def test_one_of_a_short_video_repeats_its_last_frame_and_tells_its_length(self, videos):
        with data(sources(videos), num_frames=121, least_frames=1) as loader:
            batches = list(islice(loader.batches(), 2))
        assert not [failure for batch in batches for failure in batch.failures]
        # Of 100, 60 and 40 frames.
        assert set(torch.cat([batch.lengths_B for batch in batches]).tolist()) == {100, 60, 40}
        for batch in batches:
            for clip, length in zip(batch.clips_BTHWC, batch.lengths_B, strict=True):
                assert (clip[length:] == clip[length - 1]).all()
                assert (clip[length - 1] != clip[length - 2]).any()

    def test_batches_have_the_sizes_in_turn_and_images_their_own_number(self, photos, videos):
        sizes = [(16, 16), (16, 32), (24, 16)]
        found = sources(photos, videos)
        shapes = {1: [], 4: []}
        options = {"num_frames": 4, "sizes": sizes, "batch": 2, "image_share": 0.5, "image_batch": 6}
        with data(found, **options) as loader:
            for batch in islice(loader.batches(), 12):
                count, length, *size, _ = batch.clips_BTHWC.shape
                assert count == (6 if length == 1 else 2)
                shapes[length].append(tuple(size))
        assert shapes == {1: sizes * 2, 4: sizes * 2}
        halves = [data(found, rank=rank, world_size=2, **options) for rank in (0, 1)]
        whole = data(found, **options)
        for one, *two in zip(*(islice(loader.batches(), 4) for loader in (whole, *halves)), strict=True):
            assert (torch.cat([batch.clips_BTHWC for batch in two]) == one.clips_BTHWC).all()

    def test_frames_are_those_of_the_pixel_rule(self, videos):
        # By rule 1 grey levels of videos are about one too low (docs/decoding.md).
        found = sources(videos)
        ours, theirs = (taken(data(found, pixel_rule=rule), 3).astype(int) for rule in (1, 2))
        assert 0 < np.abs(ours - theirs).max() <= 2

    def test_a_picture_is_turned_upright(self, tmp_path):
        upright = real_pictures(1, 160, 120)[0].transpose(1, 0, 2)[:, ::-1]
        Image.fromarray(upright).save(tmp_path / "upright.jpg", quality=95)
        turned = make(exif_rotated_jpeg(tmp_path / "turned.jpg"))
        expected = make(tmp_path / "upright.jpg")
        assert turned.shape == (1, 64, 64, 3)
        assert np.abs(turned.astype(int) - expected).mean() < 3

    def test_the_whole_crop_is_the_picture_resized(self, tmp_path):
        path = jpeg_photo(tmp_path / "photo.jpg")
        made = make(path, size_px=60)[0]
        with Image.open(path) as image:
            expected = image.crop((20, 0, 140, 120)).resize((60, 60), Image.Resampling.LANCZOS)
        assert np.abs(made.astype(int) - np.asarray(expected, int)).max() <= 2

    def test_a_large_photo_is_as_sharp_as_one_decoded_in_full(self, tmp_path):
        picture = real_pictures(1, 1600, 1200)[0]
        Image.fromarray(picture).save(tmp_path / "large.jpg", quality=95)
        Image.fromarray(picture).save(tmp_path / "large.png")
        drafted, full = make(tmp_path / "large.jpg")[0], make(tmp_path / "large.png")[0]
        assert np.abs(drafted.astype(int) - full).mean() < 2


class TestBadSources:
    @pytest.mark.slow
    def test_a_damaged_one_is_replaced_and_told(self, photos, tmp_path):
        found = sources(photos, truncated_jpeg(tmp_path / "cut.jpg"))
        with data(found, batch=11) as loader:
            first, second = islice(loader.batches(), 2)
        assert [(Path(failure.uri).name, failure.reason) for failure in first.failures] == [
            ("cut.jpg", Reason.TRUNCATED)
        ]
        assert set(first.clips_BTHWC[:, 0, 8, 8, 0].tolist()) == set(range(0, 200, 20))
        # It is known by now.
        assert not second.failures
        fresh = taken(data(found, batch=11, workers=1), 1, first_step=1)
        assert (fresh[0] == second.clips_BTHWC.numpy()).all()

    def test_one_that_changed_since_it_was_listed_is_told(self, photos, tmp_path):
        path = jpeg_photo(tmp_path / "photo.jpg")
        found = sources(photos, path)
        path.write_bytes(path.read_bytes() + b"more")
        with data(found, batch=11) as loader:
            (batch,) = islice(loader.batches(), 1)
        assert [failure.reason for failure in batch.failures] == [Reason.SOURCE_CHANGED]

    @pytest.mark.slow
    def test_one_that_takes_too_much_memory_is_told(self, photos, tmp_path):
        Image.new("RGB", (6000, 6000)).save(tmp_path / "huge.png")
        found = sources(photos, tmp_path)
        with data(found, batch=11, workers=1, cache_bytes=0, item_memory_bytes=64 << 20) as loader:
            (batch,) = islice(loader.batches(), 1)
        assert [failure.reason for failure in batch.failures] == [Reason.OUT_OF_MEMORY]

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [0, 1])
    def test_nothing_but_bad_ones_is_an_error_that_names_some(self, tmp_path, workers):
        for number in range(3):
            truncated_jpeg(tmp_path / f"{number}.jpg")
        message = r"\d\.jpg: .*Remove these sources"
        with (
            data(sources(tmp_path), workers=workers) as loader,
            pytest.raises(TooManyFailuresError, match=message),
        ):
            next(loader.batches())


class TestProcesses:
    @pytest.mark.slow
    def test_a_source_that_kills_or_hangs_its_decoder_is_replaced_and_told(self, photos, monkeypatch):
        monkeypatch.setattr(decode_worker, "_work", poisoned_work)
        found = sources(photos)
        with data(found, batch=10, workers=1, item_timeout_s=1.0) as loader:
            batch = next(loader.batches())
        told = {(Path(failure.uri).name, failure.reason) for failure in batch.failures}
        assert told == {(DEADLY, Reason.DECODER_CRASHED), (HANGING, Reason.DECODE_TIMEOUT)}
        (sound,) = taken(data(found, batch=10), 1)
        greys = sound[:, 0, 8, 8, 0]
        kept = (greys != 60) & (greys != 100)
        assert kept.sum() == 8
        assert (batch.clips_BTHWC.numpy()[kept] == sound[kept]).all()
        assert not {60, 100} & set(batch.clips_BTHWC[:, 0, 8, 8, 0].tolist())

    @pytest.mark.slow
    def test_closing_ends_them_and_a_later_use_is_refused(self, photos):
        loader = data(sources(photos), workers=2)
        batches = loader.batches()
        next(batches)
        assert len(children()) == 2
        loader.close()
        assert not children()
        with pytest.raises(ValueError, match="is closed"):
            next(batches)

    @pytest.mark.slow
    def test_collecting_the_loader_ends_them(self, photos):
        loader = data(sources(photos), workers=1)
        next(loader.batches())
        assert children()
        del loader
        gc.collect()
        assert not children()

    def test_they_end_with_a_killed_parent(self, photos, tmp_path):
        (tmp_path / "train.py").write_text(SCRIPT)
        started = script(tmp_path / "train.py", str(photos))
        child = _decoder(started, tmp_path)
        started.kill()
        started.wait()
        wait_until(lambda: not _lives(child), "the decoding process to end", 30)

    @pytest.mark.slow
    def test_ctrl_c_ends_all_without_a_word_from_them(self, photos, tmp_path):
        program = tmp_path / "train.py"
        program.write_text(SCRIPT)
        started = subprocess.Popen(
            [sys.executable, str(program), str(photos)],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        child = _decoder(started, tmp_path)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=HANGS_S)
        assert started.returncode == -signal.SIGINT
        assert said.count("Traceback") == 1
        assert not _lives(child)


SCRIPT = """
import os, sys, time, multiprocessing
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.training.data.training_loader import TrainingData
from bitmill.schemas.requests.job import SourceSpec
from bitmill.schemas.requests.training_data import DataSpec

# Without a guard: its decoding process does not run it.
found = find_sources(SourceSpec(paths=sys.argv[1:])).sources
loader = TrainingData(found, DataSpec(workers=1), sizes=[(16, 16)], num_frames=1, seed=0, global_batch=4)
next(loader.batches())
place = os.path.join(os.path.dirname(__file__), "child")
with open(place + ".part", "w") as file:
    file.write(str(multiprocessing.active_children()[0].pid))
os.rename(place + ".part", place)
time.sleep(100)
"""


def _decoder(started: Running, folder: Path) -> int:
    """The decoding process of a script that has its first batch."""
    told = folder / "child"
    wait_until(lambda: told.exists() or started.poll() is not None, "the first batch")
    return int(told.read_text())


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
