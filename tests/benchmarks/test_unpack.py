"""The benchmark of unpacking runs, for widths that end inside a byte, too."""

import json

import pytest

from tests.support.commands import run_module


@pytest.mark.slow
def test_every_way_is_measured_for_each_width(tmp_path):
    words = ("--bits", "18", "13", "--rounds", "1", "--seconds", "0.01")
    done = run_module("benchmarks.unpack", *words, "--json", str(tmp_path / "told.json"))
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "told.json").read_text())["bits"]
    assert list(told) == ["18", "13"]
    for sizes in told.values():
        assert len(sizes) == 2
        for ways in sizes.values():
            assert len(ways) == 5
            assert all(rate["median"] > 0 for rate in ways.values())
