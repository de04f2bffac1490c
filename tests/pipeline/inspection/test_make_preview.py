"""Previews of tokenizers unlike BSQ-ViT: every code is decoded, and padding is not shown."""

from pathlib import Path

import numpy as np
import pytest

from bitmill.pipeline.inspection import make_preview
from tests.support.coded_datasets import GEOMETRIES, VIDEOS, GreyTokenizer, coded_dataset


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
