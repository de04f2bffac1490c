"""The networks of perceptual metrics: which are named as missing."""

from bitmill.jobs.preparation.models.metric_networks import find_metric_networks


def test_a_missing_network_is_named_with_its_metric_unless_that_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("BITMILL_NETWORKS", str(tmp_path))
    left_out = find_metric_networks(None)[1]
    assert [sentence.partition(":")[0] for sentence in left_out] == ["LPIPS", "FD-EffNetLite0", "FVD", "FID"]
    without = find_metric_networks(None, with_fvd=False)[1]
    assert [sentence.partition(":")[0] for sentence in without] == ["LPIPS", "FD-EffNetLite0", "FID"]
