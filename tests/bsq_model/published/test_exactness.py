"""What holds in every bit, down to grids of one token; and the whole clip at once, written independently."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.published.models import grid_of
from benchmarks.published.peer import Peer
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from tests.bsq_model.published.golden import CONFIGS, VIDEO, golden
from tests.bsq_model.published.test_tokenizer import SHAPES

_TOKENIZERS = {name: golden(name) for name in VIDEO}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _noise(num_frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.slow
@settings(max_examples=20)
@given(
    name=st.sampled_from(VIDEO),
    rows=st.integers(1, 6),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_codes_are_those_of_a_stream_a_batch_a_prefix_and_of_whatever_follows(name, rows, grid, seed, data):
    torch.set_num_threads(2)
    tokenizer = _TOKENIZERS[name]
    geometry = tokenizer.geometry
    clip = _noise(geometry.frames_of_rows(rows), 8 * grid[0], 8 * grid[1], seed)
    other = _noise(geometry.frames_of_rows(2), 8, 16, seed + 1)
    codes, _, again = tokenizer.encode([clip, other, clip])
    assert torch.equal(codes, again)
    cuts = sorted(data.draw(st.sets(st.integers(1, rows), max_size=rows)) | {rows})
    stream, at, parts = tokenizer.stream_encoder(), 0, list[torch.Tensor]()
    for end in map(geometry.frames_of_rows, cuts):
        parts.append(stream.push(clip[at:end]))
        at = end
    assert torch.equal(torch.cat(parts), codes)
    kept = data.draw(st.integers(1, rows))
    num_frames = geometry.frames_of_rows(kept)
    assert torch.equal(tokenizer.encode([clip[:num_frames]])[0], codes[:kept])
    changed = torch.cat((clip[:num_frames], 255 - clip[num_frames:]))
    assert torch.equal(tokenizer.encode([changed])[0][:kept], codes[:kept])


@pytest.mark.slow
@settings(max_examples=12)
@given(name=st.sampled_from(VIDEO), rows=st.integers(1, 5), height=st.integers(1, 3))
def test_decoded_frames_are_those_of_a_batch_and_of_a_prefix(name, rows, height):
    torch.set_num_threads(2)
    tokenizer = _TOKENIZERS[name]
    geometry = tokenizer.geometry
    codes = tokenizer.encode([_noise(geometry.frames_of_rows(rows), 8 * height, 16)])[0]
    frames, _, again = tokenizer.decode_pixels([codes, codes[:1], codes])
    assert torch.equal(frames, again)
    (prefix,) = tokenizer.decode_pixels([codes[:-1] if rows > 1 else codes])
    # VidTok 1.1 looks a row ahead, and at the end there is none.
    ahead = geometry.frames_per_token - 1 if name == "vidtok-v11" and rows > 2 else 0
    prefix, same = (decoded[: len(prefix) - ahead] for decoded in (prefix, frames))
    if name == "vidtok-v11":
        # The last row completes more frames than others do, in products of other sizes.
        torch.testing.assert_close(prefix, same, atol=1e-5, rtol=0)
    else:
        assert torch.equal(prefix, same)


@pytest.mark.slow
@pytest.mark.parametrize("name", VIDEO)
def test_a_clip_is_the_same_as_by_the_plain_network_over_all_of_it(name):
    tokenizer = _TOKENIZERS[name]
    # Emu3's case has patches of 2×2 pixels, which make 16 times the tokens.
    clip = _noise(32, 32, 56) if name == "emu3" else _noise(33, 128, 224)
    peer = Peer(tokenizer)
    (codes,) = tokenizer.encode([clip])
    latents = peer.latents(clip)
    low, high = (tokenizer.quantizer.codes_of_latents(latents + moved) for moved in (-1e-5, 1e-5))
    # At a boundary, rounding errors of either decide: of 65 frames, in one of 38,080 digits of vidtok-v11,
    # which the plain network in float64 has as bitmill does, whose latents are nearer to its (1.04e-6 rms
    # against 1.21e-6).
    assert (low != high).sum() < 1e-3 * codes.numel()
    assert torch.equal(codes[low == high], low[low == high])
    (pixels,) = tokenizer.decode_pixels([codes])
    tolerance = 1e-3 if name == "emu3" else 1e-4
    torch.testing.assert_close(
        pixels, peer.decode_pixels(codes, grid_of(tokenizer.geometry, clip)), atol=tolerance, rtol=0
    )


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - CONFIGS.keys()))
def test_geometries_without_golden_cases_are_those_of_the_plain_network(name):
    tokenizer, generator = PublishedTokenizer(SHAPES[name]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in tokenizer.network.parameters():
            # Of norms, and of the mixture of average and convolution, too.
            weight.normal_(0.1 if weight.ndim == 1 else 0, 0.1, generator=generator)
    geometry, peer = tokenizer.geometry, Peer(tokenizer)
    num_frames = geometry.most_frames or geometry.frames_of_rows(4)
    clip = _noise(min(num_frames, geometry.frames_of_rows(4)), *(3 * side for side in geometry.patch_px))
    (latents,) = tokenizer.latents([clip])
    expected = peer.latents(clip)
    assert expected.std() > 0.01
    torch.testing.assert_close(latents, expected, atol=5e-5, rtol=0)
    codes = peer.encode(clip)
    (pixels,) = tokenizer.decode_pixels([codes])
    expected = peer.decode_pixels(codes, grid_of(geometry, clip))
    assert expected.std() > 0.01
    torch.testing.assert_close(pixels, expected, atol=1e-4, rtol=0)


def test_a_clip_of_cosmos_has_an_end():
    tokenizer = _TOKENIZERS["cosmos-dv4x8x8"]
    clip = _noise(125, 8, 8)
    stream = tokenizer.stream_encoder()
    assert torch.equal(stream.push(clip), tokenizer.encode([clip])[0])
    with pytest.raises(ValueError, match="a clip has at most 125 frames: begin another stream"):
        stream.push(clip[:4])
