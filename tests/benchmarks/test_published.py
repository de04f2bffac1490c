"""The benchmark of published tokenizers: its peer is the published network."""

import pytest
import torch

from benchmarks.published.__main__ import measure, row, shapes
from benchmarks.published.models import CONFIGS as PUBLISHED
from benchmarks.published.peer import Peer
from tests.bsq_model.published.golden import (
    CONFIGS,
    bits_of,
    case,
    codes_of,
    golden,
    indices,
    items,
    scales_of,
)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_peer_is_the_published_network(name):
    peer = Peer(golden(name))
    for item in items(name, "indices"):
        codes = peer.encode(case(name)[f"{item}.input"])
        assert torch.equal(indices(codes, CONFIGS[name]), case(name)[f"{item}.indices"])
    for item in items(name, "decoded"):
        expected = case(name)[f"{item}.decoded"].clamp(-1, 1)
        codes = codes_of(case(name)[f"{item}.indices"], CONFIGS[name])
        pixels = peer.decode_pixels(codes, codes.shape[:3])
        pixels = pixels[: len(expected), : expected.shape[1]]
        torch.testing.assert_close(pixels, expected, atol=1e-3 if name == "emu3" else 1e-4, rtol=0)


@pytest.mark.parametrize("item", items("infinity", "input"))
def test_the_peer_of_infinity_is_the_published_network(item):
    peer = Peer(golden("infinity"))
    assert torch.equal(peer.encode(case("infinity")[f"{item}.input"]), bits_of(item))
    expected = case("infinity")[f"{item}.decoded_stride3"]
    pixels = peer.decode_pixels(bits_of(item), scales_of(item)[-1])
    torch.testing.assert_close(pixels[:, ::3, ::3], expected, atol=3e-4, rtol=0)


@pytest.mark.slow
def test_a_clip_is_measured_both_ways():
    told = measure("cosmos-dv4x8x8", "decode", (1, 16, 16), rounds=1, threads=1)
    assert told["ratio"] > 0
    assert all(told["bytes"][who] >= 0 for who in ("bitmill", "peer"))
    assert row(told).startswith("| cosmos-dv4x8x8 | decode | 16×16, 1 |")


def test_clips_are_measured_that_the_tokenizer_takes():
    infinity, emu3 = PUBLISHED["infinity-d32"].geometry, PUBLISHED["emu3"].geometry
    assert shapes(infinity, 256, 256, [17, 33]) == [(1, 256, 256)]
    assert shapes(infinity, 480, 864, [17, 33]) == []
    assert shapes(emu3, 480, 864, [1, 17]) == [(4, 480, 864), (16, 480, 864)]
