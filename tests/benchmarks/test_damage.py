"""The sweep tells what was reported from what was not."""

from benchmarks.damage import sweep
from tests.support.damage import keyed_video


def test_flips_are_judged_by_the_frames_kept(tmp_path) -> None:
    # VP8 has no way to notice, and each of its bits matters; hashes notice whatever changes a picture.
    assert sweep(keyed_video(tmp_path / "vp8.webm"), 1) == {"unreported": 3}
    hashed = sweep(keyed_video(tmp_path / "hevc-hashes.mp4"), 2)
    assert hashed["told"] > 0
    assert hashed["unreported"] == hashed["wrong, told"] == 0
