"""A tokenizer of an installed package goes the whole way of the command line, as a user goes it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.packing import unpack_codes
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.integration.conftest import RunWithToys
from tests.support.commands import bitmill, stored_files
from tests.support.toy_plugins.bitmill_toys.video import ToyVideo
from tests.support.toys import (
    bitmill_with_toys,
    expect_no_shard,
    expect_one_sentence,
    make_media,
    tokenize_here,
    toy_job,
)

pytestmark = pytest.mark.ray

ONE_OF_EACH = {"actors": 1, "decoders": 1}
"""Each further worker imports for seconds."""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def run(run_with_toys: RunWithToys) -> RunWithToys:
    """``bitmill tokenize`` of a job file on a node on which the toys are installed."""
    return run_with_toys


def clips_of(tokens: Path) -> list[dict[str, Any]]:
    """Rows of all token shards, in the order of the plan."""
    folder = Folder(str(tokens))
    plan = load_plan(folder, require_card(folder))
    return [
        row
        for shard in plan
        for row in pq.read_table(tokens / "shards" / f"{shard.shard_id}.parquet").to_pylist()
    ]


def ledger_of(tokens: Path) -> dict[str, Any]:
    folder = Folder(str(tokens))
    rows = [
        row
        for shard in load_plan(folder, require_card(folder))
        for row in load_ledger(folder, shard.shard_id)
    ]
    return {Path(row["source"]).stem: row for row in rows}


def decoded(path: Path, size_px: int, clip_frames: int) -> list[torch.Tensor]:
    events = decode_item(
        str(path),
        span_ns=(None, None),
        sampling=SamplingSpec(clip_frames=clip_frames),
        sizes=squares(size_px),
        limits=LimitsSpec(),
        pixel_rule=2,
    )
    return [torch.from_numpy(event.frames_THWC) for event in events if isinstance(event, DecodedClip)]


@pytest.fixture(scope="module")
def video_run(run: RunWithToys, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of toy-video, with the tail padded."""
    two = {"actors": 2, "decoders": 2}
    job = toy_job(tmp_path_factory.mktemp("video"), media, "toy-video", {"seed": 7}, compute=two)
    done = run(job)
    assert (done.code, done.err) == (0, ""), done.out
    return job.with_name("tokens")


def test_its_codes_are_those_of_the_padded_clips(video_run, media):
    tokenizer = ToyVideo(seed=7)
    rows = clips_of(video_run)
    shapes = [(Path(row["source"]).stem, row["num_real_frames"], row["num_frames"]) for row in rows]
    assert shapes == [
        *[("a", 17, 5), ("a", 17, 5), ("a", 1, 1)],
        *[("b", 17, 5), ("b", 3, 2)],
        *[("c", 1, 1), ("d", 17, 5), ("photo", 1, 1)],
    ]
    frames = [clip for path in sorted(media.iterdir()) for clip in decoded(path, 48, 17)]
    for row, clip in zip(rows, frames, strict=True):
        assert len(row["frame_pts_ns"]) == len(clip) == row["num_real_frames"]
        missing = -(len(clip) - 1) % 4
        whole = torch.cat([clip, clip[-1:].expand(missing, -1, -1, -1)])
        (expected,) = tokenizer.encode([whole])
        assert (row["lead_frames"], row["height"], row["width"]) == (1, 6, 6)
        codes_ND = unpack_codes(row["codes"], expected[..., 0].numel(), tokenizer.geometry.code)
        np.testing.assert_array_equal(codes_ND, expected.flatten(0, 2).numpy())


def test_its_card_names_the_plugin_and_its_licence_lies_beside_it(video_run):
    card = require_card(Folder(str(video_run)))
    assert card.tokenizer.plugin == "toy-video"  # type: ignore[union-attr]
    assert card.tokenizer.package == "bitmill-toys 1.0"  # type: ignore[union-attr]
    assert card.geometry == ToyVideo.geometry
    assert card.fingerprint_fields["tokenizer.options"] == {"seed": 7}
    assert sorted(path.name for path in (video_run / "tokenizer").iterdir()) == ["config.json", "origin.json"]
    assert json.loads((video_run / "tokenizer" / "origin.json").read_text())["licence"] == "CC0-1.0"


@pytest.fixture(scope="module")
def dropped_run(media: Path, toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the tail dropped, made in this process."""
    job = toy_job(tmp_path_factory.mktemp("dropped"), media, "toy-video", sampling={"tail": "drop"})
    tokenize_here(job, toys)
    return job


def test_a_tail_may_be_dropped(dropped_run):
    tokens = dropped_run.with_name("tokens")
    shapes = [(Path(row["source"]).stem, row["num_real_frames"]) for row in clips_of(tokens)]
    assert shapes == [
        *[("a", 17), ("a", 17), ("a", 1)],
        *[("b", 17), ("b", 1), ("c", 1), ("d", 17), ("photo", 1)],
    ]
    dropped = {name: row["num_dropped_frames"] for name, row in ledger_of(tokens).items()}
    assert dropped == {"a": 0, "b": 2, "c": 0, "d": 0, "photo": 0}


def test_one_actor_on_a_ray_of_its_own_writes_the_bytes_of_two(video_run, media, tmp_path, toys):
    job = toy_job(tmp_path, media, "toy-video", {"seed": 7}, compute=ONE_OF_EACH)
    done = bitmill_with_toys(toys, "tokenize", str(job))
    assert (done.code, done.err) == (0, "")
    assert stored_files(tmp_path / "tokens") == stored_files(video_run)
    again = bitmill_with_toys(toys, "tokenize", str(job))
    assert (again.code, "nothing to do" in again.out) == (0, True)


def test_other_options_are_another_job(run, video_run, media):
    job = toy_job(video_run.parent, media, "toy-video", {"seed": 8})
    done = run(job)
    assert done.code == 2
    assert "tokenizer.options is {'seed': 7} there and {'seed': 8} here" in done.err


def test_what_needs_no_tokenizer_needs_no_plugin(video_run, tmp_path):
    """On a machine where the package is not installed."""
    inspected = bitmill("inspect", str(video_run))
    assert inspected.code == 0, inspected.err
    assert "toy-video of bitmill-toys 1.0" in inspected.out
    assert bitmill("status", str(video_run)).code == 0
    row = clips_of(video_run)[0]
    traced = bitmill("trace", str(video_run), "--clip", row["clip_id"])
    assert (traced.code, row["source"] in traced.out) == (0, True), traced.err
    traced = bitmill("trace", str(video_run), "--source", row["source"])
    assert (traced.code, row["clip_id"] in traced.out) == (0, True), traced.err


def test_a_source_is_removed_without_the_plugin_and_not_brought_back(run, dropped_run, media):
    tokens, uri = dropped_run.with_name("tokens"), str(media / "a.mp4")
    left = [row for row in clips_of(tokens) if row["source"] != uri]
    done = bitmill("remove", str(tokens), "--source", uri, "--yes")
    assert done.code == 0, done.err
    assert clips_of(tokens) == left
    removed = ledger_of(tokens)["a"]
    assert (removed["reason"], removed["num_clips"]) == ("removed", 0)
    again = run(dropped_run)
    assert (again.code, "nothing to do" in again.out) == (3, True)
    assert clips_of(tokens) == left


@pytest.mark.parametrize(
    ("plugin", "options", "keys", "sentence"),
    [
        ("toy-video", {}, {"frames": {}}, "of any size: set frames.size_px, a multiple of 8 pixels."),
        ("toy-image", {}, {"frames": {"size_px": 40}}, "40 is not divisible by 16"),
        (
            "toy-video",
            {},
            {"sampling": {"clip_frames": 16}},
            "16 is no length .*; the nearest are 13 and 17.",
        ),
        ("toy-image", {}, {"sampling": {"clip_frames": 2}}, "2 is no length .*; the nearest is 1."),
        ("toy-video", {}, {"storage": {"shard_version": 1}}, "shard_version 1 is for BSQ-ViT alone"),
        ("toy-vidio", {}, {}, "not installed here: .*did you mean 'toy-video'.* plugins: broken-dtype, "),
        ("toy-video", {"sead": 1}, {}, "'toy-video' cannot be made with its options: .*'sead'"),
        ("broken-options", {}, {}, "'broken-options' cannot be made .* levels must be 10"),
        ("broken-geometry", {}, {}, "'broken-geometry' has no geometry: ValueError: size must be 4"),
        ("broken-import", {}, {}, r"'broken-import' \(bitmill-toys 1.0\) does not load: ModuleNotFoundError"),
    ],
)
def test_a_job_that_cannot_be_leaves_nothing(media, tmp_path, toys, plugin, options, keys, sentence):
    job = toy_job(tmp_path, media, plugin, options, **{"compute": {"device": "cpu"}, **keys})
    expect_one_sentence(bitmill_with_toys(toys, "tokenize", str(job)), sentence)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    ("plugin", "compute", "sentence"),
    [
        (
            "toy-video",
            {"dtype": "bfloat16"},
            "'toy-video' cannot compute on cpu in torch.bfloat16",
        ),
        ("broken-range", {}, "'broken-range' breaks its contract: a code lies outside"),
    ],
)
def test_a_fault_at_run_time_leaves_no_shard(run, media, tmp_path, plugin, compute, sentence):
    """One as an actor begins, one of a batch; tests of `plugins.py` have the sentences of the others."""
    job = toy_job(tmp_path, media, plugin, compute={**ONE_OF_EACH, **compute})
    expect_one_sentence(run(job), sentence)
    expect_no_shard(tmp_path / "tokens")
