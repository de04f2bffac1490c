"""Previews of tokenizers unlike BSQ-ViT: every code is decoded, and padding is not shown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bitmill.pipeline.inspection import make_preview
from bitmill.pipeline.inspection.show_preview import write_sheet
from bitmill.schemas.dataset.packing import pack_codes
from tests.support.coded_datasets import GEOMETRIES, VIDEOS, GreyTokenizer, coded_dataset
from tests.support.pyramid_tokenizers import ColourPyramid
from tests.support.token_datasets import store_dataset

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.mark.parametrize("name", sorted(GEOMETRIES.keys() - {"pyramid"}))
def test_real_frames_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    decoded = []

    class Tokenizer(GreyTokenizer):
        def decode(self, codes):
            decoded.extend(codes)
            return super().decode(codes)

    geometry = GEOMETRIES[name]
    dataset = coded_dataset(tmp_path, geometry)
    monkeypatch.setattr(make_preview, "stored_tokenizer", lambda *_: Tokenizer(geometry))
    clips = list(make_preview.preview_clips(str(tmp_path), clip_ids=None, sources=[], max_clips=99))
    assert [len(clip.decoded_THWC) for clip in clips] == [length for own in VIDEOS for length in own]
    rows = [geometry.token_rows(geometry.legal_at_least(len(clip.decoded_THWC)) or 0) for clip in clips]
    assert [tuple(codes.shape) for codes in decoded] == [(t, 4, 4, geometry.code.dimensions) for t in rows]
    assert all(np.all(clip.decoded_THWC == 128) and clip.original_THWC is None for clip in clips)
    assert dataset.audit().coverage.total.clips == len(clips)


def test_a_pyramid_sharpens_scale_by_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    original_1HWC = np.stack(
        [np.zeros((32, 32)), np.tri(32) * 255, np.tile(np.linspace(0, 255, 32), (32, 1))], -1
    ).astype(np.uint8)[None]
    tokenizer = ColourPyramid()
    codes_ND = tokenizer.encode([torch.from_numpy(original_1HWC)])[0].numpy()
    stored = store_dataset(
        tmp_path / "tokens",
        [[(1, 4, 4)]],
        geometry=tokenizer.geometry,
        tokenizer=tokenizer.fingerprint,
        leave_out=[0],
    )
    stored.rows[0][0] = replace(stored.rows[0][0], codes=pack_codes(codes_ND, tokenizer.geometry.code))
    stored.commit(0)
    monkeypatch.setattr(make_preview, "stored_tokenizer", lambda *_: tokenizer)
    (clip,) = make_preview.preview_clips(
        str(stored.folder), clip_ids=None, sources=[], max_clips=9, by_scale=True
    )
    assert list(clip.scales) == ["1: 1x1", "2: 2x2"]
    pictures = [*(frames[0] for frames in clip.scales.values()), clip.decoded_THWC[0]]
    assert np.ptp(pictures[0], axis=(0, 1)).max() == 0
    errors = [float(np.square(one - original_1HWC[0].astype(float)).mean()) for one in pictures]
    assert errors == sorted(errors, reverse=True)
    write_sheet(iter([replace(clip, original_THWC=original_1HWC)]), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    for column, picture in enumerate([original_1HWC[0], *pictures]):
        assert np.array_equal(pixels[32:64, column * 36 : column * 36 + 32], picture)
