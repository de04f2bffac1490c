"""Frames of several sizes go the whole way: one actor, two and a run after a kill write the same bytes; crops
are those of the page on geometry, and what is tokenized is the documented resize."""

import json
import os
import signal
import sys
from collections import Counter
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageOps

from bitmill.jobs.cli import main
from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, FrameSizes, NativeSizes
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.reading import FrameWindows, GridBuckets, Packing, Padding, TokenBatches, TokenDataset
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.packing import unpack_codes
from bitmill.schemas.reports.estimate_report import Estimate
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.integration.conftest import RunWithToys
from tests.support.commands import stored_files, wait_until
from tests.support.geometry_page import page_rules
from tests.support.media import exif_rotated_jpeg, real_pictures, resized_h264, write_video
from tests.support.pixel_reference import Signal, reference, samples
from tests.support.ray_nodes import JOINING
from tests.support.tars import write_tar
from tests.support.toy_plugins.bitmill_toys.video import ToyVideo
from tests.support.toys import expect_one_sentence, toy_job, with_toys

pytestmark = pytest.mark.ray

RULES = page_rules()
CLIP_FRAMES = 5
BUCKETS = [[48, 88], [88, 48], [48, 48]]
NATIVE = {"short_side_px": 50, "area_px": 4500}
WAYS: dict[str, tuple[dict[str, Any], FrameSizes]] = {
    "buckets": ({"buckets": BUCKETS}, Buckets(((48, 88), (88, 48), (48, 48)))),
    "native": ({"native": NATIVE}, NativeSizes(multiple_px=(8, 8), **NATIVE)),
}
VIDEOS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "landscape.mp4": ((160, 90), {}),
    "portrait.mp4": ((90, 160), {}),
    "square.mp4": ((120, 120), {}),
    # Landscape pixels, shown upright.
    "rotated.mp4": ((160, 90), {"rotation": 90}),
    # Stored as 4:3 and as a square, shown as 16:9 and 1:2.
    "wide_pixels.mp4": ((120, 90), {"sample_aspect_ratio": Fraction(4, 3)}),
    "high_pixels.mp4": ((96, 96), {"sample_aspect_ratio": Fraction(1, 2)}),
    "both.mp4": ((120, 90), {"sample_aspect_ratio": Fraction(4, 3), "rotation": -90}),
}
ASPECTS = {"wide_pixels": Fraction(4, 3), "high_pixels": Fraction(1, 2), "both": Fraction(3, 4)}
PHOTOS = {
    "photo_wide.png": (200, 112),
    "photo_high.png": (100, 150),
    "photo_square.png": (101, 99),
    "tiny.png": (9, 5),
}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for number, (name, (size, options)) in enumerate(VIDEOS.items()):
        write_video(folder / name, real_pictures(7 + 4 * number, *size), fps=10, **options)
    for name, size in PHOTOS.items():
        Image.fromarray(real_pictures(1, *size)[0]).save(folder / name)
    exif_rotated_jpeg(folder / "photo_exif.jpg")
    # Its later frames have another resolution.
    resized_h264(folder / "resized.ts")
    members = ["portrait.mp4", "photo_wide.png", "landscape.mp4"]
    write_tar(folder / "all.tar", [(name, (folder / name).read_bytes()) for name in members])
    return folder


def job_of(folder: Path, media: Path, frames: dict[str, Any], **compute: Any) -> Path:
    return toy_job(
        folder,
        media,
        "toy-video",
        {"seed": 7},
        frames=frames,
        sampling={"fps": 10, "clip_frames": CLIP_FRAMES},
        sharding={"max_sources": 4},
        compute={"batch_frames": 12, **compute},
    )


@pytest.fixture(scope="module", params=WAYS)
def made(
    request: pytest.FixtureRequest,
    run_with_toys: RunWithToys,
    media: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """A way to choose sizes, and the dataset that two actors made."""
    folder = tmp_path_factory.mktemp(request.param)
    done = run_with_toys(job_of(folder, media, WAYS[request.param][0], actors=2))
    assert (done.code, done.err) == (0, ""), done.out
    return request.param, folder / "tokens"


def rows_of(tokens: Path) -> list[dict[str, Any]]:
    folder = Folder(str(tokens))
    return [
        row
        for shard in load_plan(folder, require_card(folder))
        for row in pq.read_table(tokens / "shards" / f"{shard.shard_id}.parquet").to_pylist()
    ]


def name_of(row: dict[str, Any]) -> str:
    return Path(row["key"] or row["source"]).name


@pytest.mark.parametrize("made", ["buckets"], indirect=True)
def test_one_actor_killed_and_run_again_writes_the_bytes_of_two(
    made, run_with_toys, toy_cluster, media, tmp_path, toys
):
    """Of one way: the codes of the other are known, below, whatever the batches."""
    way, tokens = made
    job = job_of(tmp_path, media, WAYS[way][0], actors=1, decoders=1)
    process = with_toys(toys, "tokenize", str(job), "--address", toy_cluster.address, extra=JOINING)
    shards = tmp_path / "tokens" / "shards"
    wait_until(lambda: shards.exists() and list(shards.iterdir()), "a commit")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = len(list(shards.iterdir()))
    assert run_with_toys(job).code == 0
    assert stored_files(tmp_path / "tokens") == stored_files(tokens)
    assert 0 < left < len(list(shards.iterdir()))


def test_each_rows_size_and_crop_are_those_of_the_page(made):
    way, tokens = made
    rows = rows_of(tokens)
    sizes = dict[str, tuple[int, int]]()
    for row in rows:
        name = name_of(row)
        aspect = ASPECTS.get(name.split(".")[0], Fraction(1))
        frame = row["source_width"], row["source_height"]
        size = row["height"] * 8, row["width"] * 8
        if name == "resized.ts":
            frame = 160, 120
        if way == "buckets":
            assert size == RULES.nearest_bucket(*frame, list(map(tuple, BUCKETS)), aspect), name
        else:
            assert size == RULES.native_size(*frame, (8, 8), **NATIVE, aspect=aspect), name
        frame = row["source_width"], row["source_height"]
        crop = row["scaled_height"], row["scaled_width"], row["crop_top"], row["crop_left"]
        assert crop == RULES.scaled_and_crop(*frame, size, aspect), name
        sizes.setdefault(name, size)
        assert sizes[name] == size, "an item has one size"
    assert [row["clip_id"] for row in rows] == list(dict.fromkeys(row["clip_id"] for row in rows))
    if way == "buckets":
        wide, high, square = map(tuple, BUCKETS)
        assert {sizes["landscape.mp4"], sizes["wide_pixels.mp4"], sizes["photo_wide.png"]} == {wide}
        assert {sizes["portrait.mp4"], sizes["rotated.mp4"], sizes["both.mp4"], sizes["high_pixels.mp4"]} == {
            high
        }
        assert {sizes["square.mp4"], sizes["photo_square.png"]} == {square}
    else:
        assert (sizes["landscape.mp4"], sizes["rotated.mp4"]) == ((48, 88), (88, 48))
        assert (sizes["square.mp4"], sizes["tiny.png"]) == ((48, 48), (8, 8))


def test_the_ledger_counts_every_clip(made):
    _, tokens = made
    folder = Folder(str(tokens))
    ledger = [
        row
        for shard in load_plan(folder, require_card(folder))
        for row in load_ledger(folder, shard.shard_id)
    ]
    rows = rows_of(tokens)
    assert sum(row["num_clips"] for row in ledger) == len(rows)
    for item in ledger:
        own = [row for row in rows if (row["source"], row["key"]) == (item["source"], item["key"])]
        assert item["num_tokens"] == sum(row["num_frames"] * row["height"] * row["width"] for row in own)
        assert item["num_frames"] == sum(row["num_real_frames"] for row in own)


def codes_of(row: dict[str, Any]) -> list[list[int]]:
    num_tokens = row["num_frames"] * row["height"] * row["width"]
    return unpack_codes(row["codes"], num_tokens, ToyVideo.geometry.code).tolist()


def expected_codes(frames_THWC: np.ndarray) -> list[list[int]]:
    whole = padded(frames_THWC, ToyVideo.geometry)
    return ToyVideo(seed=7).encode([torch.from_numpy(whole.copy())])[0].flatten(0, 2).tolist()


def test_photographs_are_resized_as_pillow_does_it(made, media):
    _, tokens = made
    rows = [row for row in rows_of(tokens) if row["fps"] is None and row["key"] is None]
    assert len(rows) == len(PHOTOS) + 1
    for row in rows:
        picture = ImageOps.exif_transpose(Image.open(row["source"])).convert("RGB")
        height, width = row["height"] * 8, row["width"] * 8
        across, down = picture.width / row["scaled_width"], picture.height / row["scaled_height"]
        left, top = row["crop_left"] * across, row["crop_top"] * down
        right = min((row["crop_left"] + width) * across, float(picture.width))
        bottom = min((row["crop_top"] + height) * down, float(picture.height))
        lanczos = Image.Resampling.LANCZOS
        wide = picture.resize((width, picture.height), lanczos, box=(left, 0.0, right, float(picture.height)))
        fitted = wide.resize((width, height), lanczos, box=(0.0, top, float(width), bottom))
        assert codes_of(row) == expected_codes(np.asarray(fitted)[None]), row["source"]


def test_videos_are_resized_as_the_reference_does_it(made, media):
    way, tokens = made
    rows = rows_of(tokens)
    for name, (_, options) in VIDEOS.items():
        own = [row for row in rows if name_of(row) == name and row["key"] is None]
        events = decode_item(
            str(media / name),
            span_ns=(None, None),
            sampling=SamplingSpec(fps=10, clip_frames=CLIP_FRAMES),
            sizes=WAYS[way][1],
            limits=LimitsSpec(),
            pixel_rule=2,
        )
        clips = [event.frames_THWC for event in events if isinstance(event, DecodedClip)]
        assert [codes_of(row) for row in own] == list(map(expected_codes, clips)), name
        with av.open(str(media / name)) as container:
            frame = next(container.decode(video=0))
            planes = samples(frame)
        row, turns = own[0], round(options.get("rotation", 0) / 90)
        scaled = row["scaled_width"], row["scaled_height"]
        stored = scaled[::-1] if turns else scaled
        whole = np.rot90(reference(planes, Signal(subsampling=(2, 2)), stored, (0, 0, *stored)), turns)
        top, left = row["crop_top"], row["crop_left"]
        shown = whole[top : top + row["height"] * 8, left : left + row["width"] * 8]
        assert np.abs(shown - clips[0][0]).max() < 1, name


def test_other_buckets_are_another_job_and_the_message_names_the_field(made, run_with_toys, media):
    way, tokens = made
    other = {"buckets": {"buckets": BUCKETS[::-1]}, "native": {"native": {"short_side_px": 50}}}[way]
    kept = (tokens.parent / "job.yaml").read_bytes()
    expect_one_sentence(
        run_with_toys(job_of(tokens.parent, media, other)), rf"frames\.{way} is .* there and .* here"
    )
    (tokens.parent / "job.yaml").write_bytes(kept)


@pytest.mark.usefixtures("briefly_timed", "forked_children")
def test_plan_and_estimate_tell_what_each_size_gets(made, media, tmp_path, toys, monkeypatch, capsys):
    way, tokens = made
    job = job_of(tmp_path, media, WAYS[way][0])
    rows = rows_of(tokens)
    monkeypatch.syspath_prepend(str(toys))

    def plan(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["bitmill", "plan", str(job), *options])
        with pytest.raises(SystemExit, match="0"):
            main()
        return capsys.readouterr().out

    estimate = Estimate.model_validate_json(plan("--estimate", "--json"))
    for size in estimate.sizes:
        own = [
            row for row in rows if (row["height"] * 8, row["width"] * 8) == (size.height_px, size.width_px)
        ]
        # Of the resized one the estimate counts all frames; decoding ends where the packets' sizes change.
        assert size.clips.value == pytest.approx(len(own), abs=3)
        assert (size.items.value > 0) == bool(own)
    assert (estimate.batch.memory_bytes or 0) >= 0
    assert not (tmp_path / "tokens").exists()
    sizes = json.loads(plan("--json"))["sizes"]
    assert [(one["height_px"], one["width_px"]) for one in sizes] == [
        (one.height_px, one.width_px) for one in estimate.sizes
    ]
    lines = plan()
    assert "shards, 0 of them committed" in lines
    assert f"{sizes[0]['height_px']}×{sizes[0]['width_px']}" in lines


@pytest.mark.parametrize(
    "shape",
    [
        GridBuckets(),
        GridBuckets(FrameWindows(1), tokens_per_batch=150),
        GridBuckets(Padding(9, unit="frames")),
        Packing(120, times=True),
    ],
)
def test_a_loop_reads_all_sizes_and_goes_on_at_another_world_size(made, shape):
    """Stopped in mid-epoch on two ranks, and gone on with on three: every token once."""
    _, tokens = made
    dataset = TokenDataset(tokens, view="integers", columns=("clip_id",))
    clips = {one["clip_id"]: one["tokens"] for one in dataset}
    by_tokens = isinstance(shape, GridBuckets) and shape.tokens_per_batch
    options: dict[str, Any] = {"batch_size": None if by_tokens else 6, "shape": shape}
    options |= {"shuffle": True, "remainder": "keep", "window_bytes": 2**14}

    def ranks(count: int) -> list[TokenBatches]:
        return [TokenBatches(dataset, rank=rank, world_size=count, **options) for rank in range(count)]

    read, stopped = [], ranks(2)
    for parts in islice(zip(*stopped, strict=True), 2):
        read += parts
    resumed = ranks(3)
    for batches in resumed:
        batches.load_state_dict(stopped[0].state_dict())
    assert len(resumed[0]) > 2
    for parts in zip(*resumed, strict=True):
        read += parts
    found: Counter[str] = Counter()
    for batch in read:
        if isinstance(shape, GridBuckets):
            assert tuple(batch["tokens"].shape[1:]) == batch["grid"]
            for number, clip_id in enumerate(batch["clip_id"]):
                own = (
                    batch["tokens"][number][batch["mask"][number]]
                    if "mask" in batch
                    else batch["tokens"][number]
                )
                assert own.shape[1:] == clips[clip_id].shape[1:]
                found[clip_id] += own.numel()
            continue
        for ids, documents in zip(batch["clip_id"], batch["document_ids"], strict=True):
            for number, clip_id in enumerate(ids):
                found[clip_id] += int((documents == number).sum())
        assert torch.equal(batch["times_ns"] < 0, batch["document_ids"] < 0)
    assert found == {clip_id: own.numel() for clip_id, own in clips.items()}
