"""What holds in every bit, down to grids of one token; and the whole clip at once, written independently."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.published.peer import Peer
from bitmill.bsq_model.bottleneck.fsq import digits_of_latents
from tests.bsq_model.published.golden import CONFIGS, golden

_VIDEO = {name: config for name, config in CONFIGS.items() if config.architecture != "cosmos-di"}


_TOKENIZERS = {name: golden(name) for name in _VIDEO}


def _noise(num_frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)


@settings(max_examples=40)
@given(
    name=st.sampled_from([*_VIDEO]),
    rows=st.integers(1, 6),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_codes_are_those_of_a_stream_a_batch_a_prefix_and_of_whatever_follows(name, rows, grid, seed, data):
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


@settings(max_examples=20)
@given(name=st.sampled_from([*_VIDEO]), rows=st.integers(1, 5), height=st.integers(1, 3))
def test_decoded_frames_are_those_of_a_batch_and_of_a_prefix(name, rows, height):
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


@pytest.mark.parametrize("name", _VIDEO)
def test_a_clip_is_the_same_as_by_the_plain_network_over_all_of_it(name):
    tokenizer = _TOKENIZERS[name]
    clip, peer = _noise(65, 64, 112), Peer(tokenizer)
    (codes,) = tokenizer.encode([clip])
    latents, levels = peer.latents(clip), tokenizer.config.levels
    low, high = (digits_of_latents(latents + moved, levels) for moved in (-1e-5, 1e-5))
    # At a boundary, rounding errors of either decide: at 128×224 in one of 38,080 digits of vidtok-v11.
    assert (low != high).sum() < 1e-3 * codes.numel()
    assert torch.equal(codes[low == high], low[low == high])
    (pixels,) = tokenizer.decode_pixels([codes])
    torch.testing.assert_close(pixels, peer.decode_pixels(codes), atol=1e-4, rtol=0)


def test_a_clip_of_cosmos_has_an_end():
    tokenizer = _TOKENIZERS["cosmos-dv4x8x8"]
    clip = _noise(125, 8, 8)
    stream = tokenizer.stream_encoder()
    assert torch.equal(stream.push(clip), tokenizer.encode([clip])[0])
    with pytest.raises(ValueError, match="a clip has at most 125 frames: begin another stream"):
        stream.push(clip[:4])
