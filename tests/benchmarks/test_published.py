"""The benchmark of VidTok, Cosmos DV and Emu3: its peer is the published network."""

import pytest
import torch

from benchmarks.published.__main__ import measure, row
from benchmarks.published.peer import Peer
from tests.bsq_model.published.golden import CONFIGS, case, codes_of, golden, indices, items


@pytest.mark.parametrize("name", CONFIGS)
def test_the_peer_is_the_published_network(name):
    peer = Peer(golden(name))
    for item in items(name, "indices"):
        codes = peer.encode(case(name)[f"{item}.input"])
        assert torch.equal(indices(codes, CONFIGS[name]), case(name)[f"{item}.indices"])
    for item in items(name, "decoded"):
        expected = case(name)[f"{item}.decoded"].clamp(-1, 1)
        pixels = peer.decode_pixels(codes_of(case(name)[f"{item}.indices"], CONFIGS[name]))
        pixels = pixels[: len(expected), : expected.shape[1]]
        torch.testing.assert_close(pixels, expected, atol=1e-3 if name == "emu3" else 1e-4, rtol=0)


def test_a_clip_is_measured_both_ways():
    told = measure("cosmos-dv4x8x8", "decode", (1, 16, 16), rounds=1, threads=1)
    assert told["ratio"] > 0
    assert all(told["bytes"][who] >= 0 for who in ("bitmill", "peer"))
    assert row(told).startswith("| cosmos-dv4x8x8 | decode | 16×16, 1 |")
