"""The sample: the same whatever the order, equal bits where nothing changed, each difference by its place."""

import io
import random
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitmill.pipeline.auditing.sample.choose_sample import DrawnClip, SampleDrawer
from bitmill.pipeline.auditing.sample.comparing import compare_sample, places_of_difference
from bitmill.pipeline.auditing.sample.pictures import time_code
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.inspection.make_preview import mean_psnr_db, preview_clips, stored_tokenizer
from bitmill.pipeline.inspection.source_frames import SourceFrames
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.packing import pack_bits
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.ids import content_id
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.reports.audit_report import ClipPlace
from tests.support.media import jpeg_photo, plain_mp4
from tests.support.tokenized import tokenize_here

BITS = 18


def row_group(clip_ids: list[str]) -> RowGroupData:
    """One token a clip, whose codes tell the clip."""
    codes = b"".join(bytes([number % 256, 0, 0]) for number in range(len(clip_ids)))
    columns = {
        "clip_id": clip_ids,
        "source": [f"/media/{one[:4]}" for one in clip_ids],
        "key": [None] * len(clip_ids),
        "start_ns": [0] * len(clip_ids),
        "end_ns": [0] * len(clip_ids),
        "frame_pts_ns": [[0]] * len(clip_ids),
    }
    schema = pa.schema([field for field in TOKEN_COLUMNS if field.name in columns])
    return RowGroupData(
        shard=0,
        number=0,
        codes=np.frombuffer(codes + bytes(8), np.uint8),
        starts=np.arange(len(clip_ids), dtype=np.int64) * 3,
        shapes_n3=np.ones((len(clip_ids), 3), np.int64),
        num_tokens=np.ones(len(clip_ids), np.int64),
        table=pa.table({name: columns[name] for name in schema.names}, schema=schema),
    )


def draw(groups: list[list[str]], *, num_clips: int, seed: int) -> SampleDrawer:
    drawer = SampleDrawer(num_clips=num_clips, seed=seed, bits_per_token=BITS)
    for ids in groups:
        drawer.add(row_group(ids))
    return drawer


IDS = [content_id("clip", number) for number in range(40)]


@given(
    cuts=st.lists(st.integers(0, 40), max_size=6),
    num_clips=st.integers(0, 50),
    seed=st.integers(0, 2**40),
    shuffler=st.randoms(use_true_random=False),
)
def test_the_sample_does_not_depend_on_how_clips_are_shared_out(
    cuts: list[int], num_clips: int, seed: int, shuffler: random.Random
):
    whole = draw([IDS], num_clips=num_clips, seed=seed)
    bounds = [0, *sorted(cuts), 40]
    parts = [IDS[a:b] for a, b in pairwise(bounds)]
    shuffler.shuffle(parts)
    merged = SampleDrawer(num_clips=num_clips, seed=seed, bits_per_token=BITS)
    for part in parts:
        merged.merge(draw([part], num_clips=num_clips, seed=seed))
    assert [one.clip.clip_id for one in merged.clips] == [one.clip.clip_id for one in whole.clips]
    assert len(whole.clips) == min(num_clips, 40)


def test_seeds_draw_differently_and_a_larger_sample_holds_the_smaller():
    ids = [[one.clip.clip_id for one in draw([IDS], num_clips=10, seed=seed).clips] for seed in range(8)]
    assert len({tuple(one) for one in ids}) == 8
    larger = [one.clip.clip_id for one in draw([IDS], num_clips=20, seed=3).clips]
    assert larger[:10] == ids[3]


def test_an_id_that_is_none_of_ours_is_drawn_like_others():
    drawer = draw([["no id", "zz", *IDS[:2]]], num_clips=4, seed=0)
    assert {one.clip.clip_id for one in drawer.clips} == {"no id", "zz", *IDS[:2]}


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, DatasetCard]:
    """Real media, and their dataset."""
    place = tmp_path_factory.mktemp("sample")
    media = place / "media"
    media.mkdir()
    plain_mp4(media / "clip.mp4")
    jpeg_photo(media / "photo.jpg")
    return media, place / "tokens", tokenize_here(media, place / "tokens")


def drawn_clips(folder: Path) -> list[DrawnClip]:
    dataset = TokenDataset(folder, columns=("clip_id", "source", "key", "start_ns", "end_ns", "frame_pts_ns"))
    drawn: list[DrawnClip] = []
    for number, sample in enumerate(dataset):
        bits = sample.pop("tokens").numpy()
        times = tuple(sample.pop("frame_pts_ns").tolist())
        drawn.append(
            DrawnClip(
                rank=number,
                clip=ClipPlace(**sample),
                shape=bits.shape[:3],
                codes=pack_bits(bits.reshape(-1, BITS)),
                frame_pts_ns=times,
            )
        )
    return drawn


def compare(folder: Path, card: DatasetCard, drawn: list[DrawnClip], lpips=None):
    store = Folder(str(folder))
    told: list[int] = []
    with SourceFrames(store, card) as originals:
        sample, pictures = compare_sample(
            drawn, originals, stored_tokenizer(store, card), seed=0, lpips=lpips, on_progress=told.append
        )
    assert told == list(range(1, len(drawn) + 1))
    return sample, pictures


@pytest.mark.slow
def test_clips_tokenized_again_have_the_same_bits(tokenized):
    _, folder, card = tokenized
    drawn = drawn_clips(folder)
    sample, pictures = compare(folder, card, drawn, lpips=lambda a, b: (a - b).abs().mean((1, 2, 3)))
    assert sample.compared == sample.num_clips == len(drawn) >= 3
    assert sample.differing_bits == 0
    assert sample.num_bits == sum(np.prod(one.shape) for one in drawn) * BITS
    assert [clip.psnr_db for clip in sample.clips] == sorted(clip.psnr_db for clip in sample.clips)
    assert all(0 < clip.lpips < 2 and -1 <= clip.ssim <= 1 for clip in sample.clips)
    assert set(pictures) == {clip.picture for clip in sample.clips}
    for clip in sample.clips:
        picture = Image.open(io.BytesIO(pictures[clip.picture]))
        assert picture.height > 2 * 128
        assert picture.width >= 128 * min(clip.num_frames, 6)


@pytest.mark.slow
def test_the_psnr_of_a_preview_is_the_samples(tokenized):
    _, folder, card = tokenized
    sample, _ = compare(folder, card, drawn_clips(folder))
    shown = list(preview_clips(str(folder), clip_ids=None, sources=[], max_clips=100))
    assert {clip.clip_id: clip.psnr_db for clip in shown} == {
        one.clip.clip_id: one.psnr_db for one in sample.clips
    }
    assert mean_psnr_db(shown) == pytest.approx(sample.psnr_db, rel=1e-12)


@pytest.mark.slow
def test_a_flipped_bit_is_told_with_its_place_and_stands_first(tokenized):
    _, folder, card = tokenized
    drawn = drawn_clips(folder)
    victim = drawn[1]
    bits = TokenDataset(folder)[1]["tokens"].numpy().copy()
    bits[2, 3, 5, 17] ^= True
    bits[3, 0, 0, 0] ^= True
    altered = DrawnClip(**{**victim.__dict__, "codes": pack_bits(bits.reshape(-1, BITS))})
    sample, _ = compare(folder, card, [*drawn[:1], altered, *drawn[2:]])
    worst = sample.clips[0]
    assert worst.clip.clip_id == victim.clip.clip_id
    assert worst.differing_bits == sample.differing_bits == 2
    assert worst.differs_at == ["frame 2, row 3, column 5, bit 17", "frame 3, row 0, column 0, bit 0"]
    assert all(clip.differing_bits == 0 for clip in sample.clips[1:])


@pytest.mark.slow
def test_clips_asked_in_any_order_are_found(tokenized):
    _, folder, card = tokenized
    clips = [one for one in drawn_clips(folder) if one.shape[0] > 1]
    with SourceFrames(Folder(str(folder)), card) as originals:
        for one in [clips[1], clips[0], clips[1]]:
            place = one.clip
            assert originals.find(place.source, place.key, place.start_ns, one.shape[0]) is not None


@pytest.mark.slow
def test_a_source_that_is_gone_is_told_and_its_tokens_still_shown(tokenized, tmp_path):
    media, folder, card = tokenized
    kept = tmp_path / "kept.jpg"
    shutil.move(media / "photo.jpg", kept)
    try:
        sample, pictures = compare(folder, card, drawn_clips(folder))
    finally:
        shutil.move(kept, media / "photo.jpg")
    lost = sample.clips[-1]
    assert lost.clip.source.endswith("photo.jpg")
    assert lost.differing_bits is None
    assert "not_found" in lost.problem
    assert lost.picture in pictures
    assert sample.compared == sample.num_clips - 1


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(0, "0:00.000"), (59_999_600_000, "1:00.000"), (3_723_400_000_000, "1:02:03.400"), (-5e8, "-0:00.500")],
)
def test_time_codes(time_ns, text):
    assert time_code(int(time_ns)) == text


def test_places_are_told_up_to_a_bound():
    a = np.zeros((2, 4, 4, 18), np.bool_)
    geometry = Geometry(patch_px=(8, 8), code=Code.of_bits(18))
    assert places_of_difference(a, a, geometry, (2, 4, 4)) == []
    assert len(places_of_difference(a, ~a, geometry, (2, 4, 4))) == 8


def test_places_are_told_in_the_words_of_the_code():
    a = np.zeros((2, 4, 4, 3), np.int64)
    b = a.copy()
    b[1, 2, 3, 0] = 4
    digits = Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, code=Code.of_digits((8, 8, 5)))
    assert places_of_difference(a, b, digits, (2, 4, 4)) == ["token row 1, row 2, column 3, digit 0"]
    pyramid = Geometry(
        layout="pyramid",
        patch_px=(16, 16),
        schedules={"2x2": ((1, 1, 1), (2, 2, 2))},
        code=Code.of_index(1000),
    )
    ones = np.ones((9, 1), np.int64)
    told = places_of_difference(ones, ones + 1, pyramid, (2, 2, 2))
    assert (told[0], told[7]) == (
        "scale 1 of 2, row 0, column 0, index 0",
        "scale 2 of 2, frame 1, row 1, column 0, index 0",
    )


def test_a_clip_that_the_tokenizer_cannot_take_is_told(tokenized):
    _, folder, card = tokenized
    one = drawn_clips(folder)[0]
    strange = DrawnClip(**{**one.__dict__, "shape": (1, 2, 2), "codes": bytes(9)})
    sample, pictures = compare(folder, card, [strange])
    assert (
        sample.clips[0].problem == "it has 1 frame of 2 × 2 tokens; the tokenizer takes up to 16 of 16 × 16"
    )
    assert (sample.compared, pictures) == (0, {})
