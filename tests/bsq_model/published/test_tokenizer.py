"""Published tokenizers against golden cases of the published code, and against their contract."""

import copy

import pytest
import torch

from bitmill.bsq_model.bottleneck.fsq import digits_of_latents
from bitmill.bsq_model.published.files import published_files
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig
from bitmill.testing import conformance_checks
from tests.bsq_model.published.golden import (
    CONFIGS,
    FSQ,
    VIDEO,
    case,
    codes_of,
    golden,
    indices,
    items,
    published_weights,
)

SHAPES: dict[str, PublishedConfig] = CONFIGS | {
    "vidtok-888": VidTokConfig(
        version="1.1",
        levels=(8,) * 5,
        frames_per_token=8,
        channels=8,
        channel_multipliers=(1, 1, 2, 2),
        num_res_blocks=1,
    ),
    "vidtok-group": VidTokConfig(
        version="1.1",
        norm="group",
        levels=(8,) * 5,
        channels=64,
        channel_multipliers=(1, 1, 1, 1),
        num_res_blocks=1,
    ),
    "vidtok-41616": VidTokConfig(
        version="1.0", levels=(8,) * 6, channels=4, channel_multipliers=(1, 1, 2, 2, 2)
    ),
    "cosmos-di16x16": CosmosImageConfig(
        patch_px=16, channels=32, channel_multipliers=(1, 2, 2), z_channels=5, num_res_blocks=1
    ),
    "cosmos-dv8x16x16": CosmosVideoConfig(
        frames_per_token=8, patch_px=16, channels=8, channel_multipliers=(1, 2, 2), z_channels=5
    ),
    "emu3-4x4": Emu3Config(
        channels=32, channel_multipliers=(1, 2, 1), attention_levels=(), num_res_blocks=1, codebook_size=100
    ),
    "open-magvit2-8x8": OpenMagvit2Config(
        channels=32, channel_multipliers=(1, 2, 2, 4), num_res_blocks=1, bits_per_token=14
    ),
}
TOLERANCE = {"emu3": 1e-3}
"""Of pixels: Emu3's decoder multiplies by what it has normalised, and so carries rounding errors further."""
CLIPS = [(name, item) for name in CONFIGS for item in items(name, "indices")]
DECODED = [(name, item) for name in CONFIGS for item in items(name, "decoded")]


def _random(config: PublishedConfig, seed: int = 0) -> PublishedTokenizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PublishedTokenizer(config)


@pytest.mark.parametrize(("name", "item"), CLIPS)
def test_indices_are_the_published_codes(name, item):
    (codes,) = golden(name).encode([case(name)[f"{item}.input"]])
    assert torch.equal(indices(codes, CONFIGS[name]), case(name)[f"{item}.indices"])


@pytest.mark.parametrize(("name", "item"), CLIPS)
def test_latents_are_the_published_codes(name, item):
    (latents,) = golden(name).latents([case(name)[f"{item}.input"]])
    torch.testing.assert_close(latents.movedim(-1, 0), case(name)[f"{item}.latent"], atol=5e-5, rtol=0)


@pytest.mark.parametrize(("name", "item"), DECODED)
def test_reconstructions_are_the_published_codes(name, item):
    codes = codes_of(case(name)[f"{item}.indices"], CONFIGS[name])
    expected = case(name)[f"{item}.decoded"].clamp(-1, 1)
    num_frames, rows = expected.shape[:2]
    tolerance = TOLERANCE.get(name, 1e-4)
    (pixels,) = golden(name).decode_pixels([codes])
    torch.testing.assert_close(pixels[:num_frames, :rows], expected, atol=tolerance, rtol=0)
    (frames,) = golden(name).decode([codes])
    error = (frames[:num_frames, :rows].float() / 127.5 - 1) - expected
    assert error.abs().max() < 0.5 / 127.5 + tolerance


@pytest.mark.parametrize("name", FSQ)
def test_the_quantizer_decides_as_published_close_to_every_boundary(name):
    codes = digits_of_latents(case(name)["fsq.z"], CONFIGS[name].levels)
    assert torch.equal(indices(codes, CONFIGS[name]), case(name)["fsq.indices"])


@pytest.mark.parametrize("name", VIDEO)
def test_decoding_looks_back_only_but_for_vidtok_1_1_which_looks_a_row_ahead(name):
    config = CONFIGS[name]
    codes = codes_of(case(name)["T16.indices" if name == "emu3" else "T17.indices"], config)
    row = len(codes) - 1
    changed = codes.clone()
    changed[row] = torch.tensor(config.geometry.code.bases) - 1 - changed[row]
    one, other = golden(name).decode_pixels([codes, changed])
    differs = ((one - other).abs() > 1e-5).flatten(1).any(1)
    first = config.geometry.frames_of_rows(row) - (3 if name == "vidtok-v11" else 0)
    assert differs.nonzero()[0] == first


@pytest.mark.parametrize("check", conformance_checks(), ids=str)
@pytest.mark.parametrize(
    "name",
    [*CONFIGS, *(pytest.param(name, marks=pytest.mark.slow) for name in SHAPES if name not in CONFIGS)],
)
def test_the_contract_is_kept(name, check):
    applies = check(lambda: _random(SHAPES[name]), other=lambda: _random(SHAPES[name], seed=1))
    is_image = SHAPES[name].geometry.max_frames == 1
    of_videos = set[str]() if is_image else {"causal", "prefix", "streams"}
    assert applies == (check.name not in {"causal", "prefix", "streams", "scales"} - of_videos)


def test_what_published_files_of_cosmos_have_besides_is_what_no_level_does():
    names = [*golden("cosmos-dv4x8x8").network.state_dict()]
    unused = sorted(published_weights("cosmos-dv4x8x8").keys() - set(names))
    assert [name.removesuffix(".weight") for name in unused if name.endswith(".weight")] == [
        f"{level}.conv{index}.conv3d"
        for level, convs in (
            ("decoder.up.1.upsample", (1, 2, 3)),
            ("decoder.up.2.upsample", (1,)),
            ("encoder.down.0.downsample", (2,)),
            ("encoder.down.1.downsample", (1, 2, 3)),
        )
        for index in convs
    ]


@pytest.mark.parametrize(
    ("config", "shape", "num_codes", "most_frames"),
    [
        (VidTokConfig(version="1.0", levels=(8,) * 4), (4, 8, 8), 4096, None),
        (VidTokConfig(version="1.1", levels=(8,) * 5, frames_per_token=8), (8, 8, 8), 32768, None),
        (
            VidTokConfig(version="1.1", levels=(8,) * 6, channel_multipliers=(1, 2, 4, 4, 4)),
            (4, 16, 16),
            262144,
            None,
        ),
        (CosmosVideoConfig(patch_px=8, frames_per_token=4), (4, 8, 8), 64000, 125),
        (CosmosVideoConfig(patch_px=16, frames_per_token=8), (8, 16, 16), 64000, 249),
        (CosmosImageConfig(patch_px=16), (1, 16, 16), 64000, 1),
        (OpenMagvit2Config(bits_per_token=14), (1, 16, 16), 16384, 1),
    ],
)
def test_the_geometry_of_published_models(config, shape, num_codes, most_frames):
    geometry = config.geometry
    assert geometry.max_frames == most_frames
    assert (geometry.frames_per_token, *geometry.patch_px) == shape
    assert (geometry.code.num_codes, geometry.code.first) == (num_codes, "least")


@pytest.mark.parametrize("name", SHAPES)
def test_a_frame_of_one_token_is_encoded_and_decoded(name):
    tokenizer = _random(SHAPES[name])
    geometry = tokenizer.geometry
    clip = torch.full((geometry.least_frames, *geometry.patch_px, 3), 99, dtype=torch.uint8)
    codes = tokenizer.encode([clip])
    assert codes[0].shape[:3] == (1, 1, 1)
    if isinstance(SHAPES[name], OpenMagvit2Config):
        with pytest.raises(UsageError, match="decodes no image of one token, whose bits have no variance"):
            tokenizer.decode(codes)
        return
    assert tokenizer.decode(codes)[0].shape == clip.shape


def test_what_does_not_fit_is_refused():
    tokenizer, clip = golden("vidtok-v10"), torch.zeros(4, 32, 40, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"a clip must have 1 \+ k·4 frames, not 4"):
        tokenizer.encode([clip])
    with pytest.raises(ValueError, match=r"a clip must have 1 \+ k·1 frames, at most 1, not 4"):
        golden("cosmos-di8x8").encode([clip])
    with pytest.raises(ValueError, match="H a multiple of 8 and W of 8"):
        tokenizer.encode([clip[:1, :30]])
    with pytest.raises(ValueError, match="must be uint8"):
        tokenizer.encode([clip[:1].float()])
    stream = tokenizer.stream_encoder()
    stream.push(clip[:1])
    with pytest.raises(ValueError, match="a later chunk must have k·4 frames, not 1"):
        stream.push(clip[:1])
    with pytest.raises(ValueError, match=r"digits must lie in \[0, n\)"):
        tokenizer.decode([torch.full((1, 2, 2, 4), 8)])
    with pytest.raises(ValueError, match=r"digits must have shape \[t, h, w, 4\]"):
        tokenizer.decode([torch.zeros(1, 2, 2, 5, dtype=torch.int64)])
    with pytest.raises(UsageError, match=r"vidtok computes in float32 or bfloat16, not in torch\.float16"):
        tokenizer.to(device="cpu", dtype=torch.float16)
    with pytest.raises(ValueError, match="frames_per_token 8 needs more than 3 channel_multipliers"):
        VidTokConfig(version="1.1", levels=(8, 8), frames_per_token=8, channel_multipliers=(1, 2))
    with pytest.raises(ValueError, match="norm group needs channels that are a multiple of 32"):
        VidTokConfig(version="1.1", levels=(8, 8), norm="group", channels=48)
    with pytest.raises(ValueError, match="needs 3 channel_multipliers or more"):
        CosmosVideoConfig(patch_px=16, frames_per_token=4, channel_multipliers=(1, 2))


@pytest.mark.parametrize("name", CONFIGS)
def test_in_bfloat16_few_tokens_change_and_each_digit_by_one_level(name):
    tokenizer = copy.deepcopy(golden(name))
    tokenizer.to(device="cpu", dtype=torch.bfloat16)
    assert tokenizer.fingerprint == golden(name).fingerprint
    clips = [case(name)[f"{item}.input"] for item in items(name, "indices")]
    for codes, exact in zip(tokenizer.encode(clips), golden(name).encode(clips), strict=True):
        assert name == "emu3" or (codes.long() - exact.long()).abs().max() <= 1
        assert (codes != exact).any(-1).float().mean() < 0.4
    with pytest.raises(UsageError, match="not float32; save it"):
        published_files(tokenizer)
