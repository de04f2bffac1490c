"""The sample of tokenizers unlike BSQ-ViT: padding is tokenized, not compared; places by the code's words."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.pipeline.auditing.sample.choose_sample import DrawnClip, SampleDrawer
from bitmill.pipeline.auditing.sample.comparing import compare_sample
from bitmill.pipeline.items import DecodedClip
from bitmill.schemas.dataset.packing import pack_codes, unpack_codes
from bitmill.schemas.models.infinity.config import InfinityConfig
from tests.support.audits import AuditedDataset
from tests.support.coded_datasets import GEOMETRIES, IMAGES, VIDEOS, GreyTokenizer, coded_dataset
from tests.support.fakes import make_item, make_source


class Originals:
    """The frames of which a ``coded_dataset`` was made."""

    problem = None

    def __init__(self, lengths) -> None:
        self._clips = {
            (make_source(number).uri, event.start_ns): event.frames_THWC
            for number, own in enumerate(lengths)
            for event in make_item(number, own, size_px=32)
            if isinstance(event, DecodedClip)
        }

    def find(self, uri: str, _key: object, start_ns: int, num_frames: int):
        frames_THWC = self._clips[uri, start_ns]
        assert len(frames_THWC) == num_frames
        return frames_THWC


def compare(dataset: AuditedDataset, drawn: list[DrawnClip]):
    geometry = dataset.card.geometry
    originals: Any = Originals(IMAGES if geometry.max_frames == 1 else VIDEOS)
    tokenizer: Any = GreyTokenizer(geometry)
    return compare_sample(drawn, originals, tokenizer, seed=0, lpips=None, on_progress=lambda _: None)


def drawn_clips(dataset: AuditedDataset) -> list[DrawnClip]:
    bits = dataset.card.geometry.code.bits_per_token
    drawer = partial(SampleDrawer, num_clips=99, seed=0, bits_per_token=bits)
    return dataset.collected({"sample": drawer})["sample"].clips


@pytest.mark.parametrize("name", GEOMETRIES)
def test_tokenized_again_nothing_differs_and_padding_is_not_compared(tmp_path: Path, name: str):
    geometry = GEOMETRIES[name]
    dataset = coded_dataset(tmp_path, geometry)
    drawn = drawn_clips(dataset)
    sample, pictures = compare(dataset, drawn)
    assert sample.compared == len(drawn) == len(pictures) == dataset.audit().coverage.total.clips
    assert sample.differing_bits == 0
    assert sample.num_bits == dataset.audit().coverage.total.tokens * geometry.code.dimensions
    originals = Originals(IMAGES if name == "pyramid" else VIDEOS)
    lengths = {one.clip.clip_id: len(one.frame_pts_ns) for one in drawn}
    for clip in sample.clips:
        assert clip.num_frames == lengths[clip.clip.clip_id]
        frames = originals.find(clip.clip.source, None, clip.clip.start_ns, clip.num_frames)
        # A frame's error, then its PSNR, then the mean over real frames.
        errors = np.square((frames.astype(float) - 128) / 255).mean((1, 2, 3))
        assert clip.psnr_db == pytest.approx(float((-10 * np.log10(errors)).mean()), rel=1e-3)
        stored = next(one for one in drawn if one.clip == clip.clip)
        assert clip.bits_per_pixel == pytest.approx(
            len(stored.codes) * 8 / (clip.num_frames * 1024), rel=0.02
        )


@pytest.mark.parametrize(
    ("name", "token", "place"),
    [
        ("digits", 27, "token row 1, row 2, column 3, digit 3"),
        ("index", 27, "token row 1, row 2, column 3, index 0"),
        ("wide bits", 27, "token row 1, row 2, column 3, bit 99"),
        ("bits, least first", 27, "frame 1, row 2, column 3, bit 17"),
        ("pyramid", 0, "scale 1 of 3, row 0, column 0, index 0"),
        ("pyramid", 3, "scale 2 of 3, row 1, column 0, index 0"),
        ("pyramid", 20, "scale 3 of 3, row 3, column 3, index 0"),
    ],
)
def test_a_code_that_differs_is_told_with_its_place(tmp_path: Path, name: str, token: int, place: str):
    code = GEOMETRIES[name].code
    dataset = coded_dataset(tmp_path, GEOMETRIES[name])
    drawn = drawn_clips(dataset)
    chosen = next(number for number, one in enumerate(drawn) if one.shape[0] > 1 or name == "pyramid")
    num_tokens = GEOMETRIES[name].num_tokens(drawn[chosen].shape)
    codes: Any = unpack_codes(drawn[chosen].codes, num_tokens, code)
    codes[token, -1] = (codes[token, -1] + 1) % code.bases[-1]
    drawn[chosen] = replace(drawn[chosen], codes=pack_codes(codes, code))
    sample, _ = compare(dataset, drawn)
    assert (sample.differing_bits, sample.clips[0].differing_bits) == (1, 1)
    assert sample.clips[0].differs_at == [place]


def test_a_flipped_bit_of_an_early_scale_of_infinity_is_named(tmp_path: Path):
    config = InfinityConfig(
        channels=24,
        channel_multipliers=(1,) * 5,
        num_res_blocks=1,
        bits_per_token=16,
        schedules=("1x1 1x2 2x2",),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = PublishedTokenizer(config)
    dataset, originals = coded_dataset(tmp_path, config.geometry), Originals(IMAGES)

    def tokenize(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            frames_THWC = originals.find(row["source"], None, row["start_ns"], 1)
            codes_ND = tokenizer.encode([torch.from_numpy(frames_THWC)])[0].numpy()
            # The second of the two tokens of the second scale, once.
            codes_ND[2, 5] ^= row["source"].endswith("1.mp4") and row["start_ns"] == 0
            row["codes"] = pack_codes(codes_ND, config.geometry.code)

    for number in range(len(dataset.plan)):
        dataset.change_rows(number, tokenize)
    drawn: Any = drawn_clips(dataset), originals, tokenizer
    sample, _ = compare_sample(*drawn, seed=0, lpips=None, on_progress=lambda _: None)
    assert (sample.compared, sample.differing_bits) == (sample.num_clips, 1)
    places = [place for clip in sample.clips for place in clip.differs_at]
    assert places == ["scale 2 of 3, row 0, column 1, bit 5"]
