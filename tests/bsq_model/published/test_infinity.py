"""Infinity against a golden case of the published code, and against its contract."""

import copy
from itertools import accumulate, pairwise
from math import prod

import pytest
import torch

from benchmarks.published.models import clip_of, codes_of
from benchmarks.published.peer import Peer
from bitmill.bsq_model.bottleneck.residual_bsq import bits_of_latents, scales_of_codes, sum_of_bits
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.published.files import published_files
from bitmill.bsq_model.published.stream import decoded_image
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from bitmill.testing import conformance_checks
from tests.bsq_model.published.golden import INFINITY, bits_of, case, golden, items, scales_of

IMAGES = items("infinity", "input")
SMALL = {"channels": 24, "num_res_blocks": 1, "schedules": ("1x1 2x2", "1x1 1x2 2x3", "1x1 2x1 3x2")}
SHAPES = {
    "16 px, 64 bits": InfinityConfig(channel_multipliers=(1, 1, 1, 2, 2), bits_per_token=64, **SMALL),
    "8 px, 14 bits": InfinityConfig(channel_multipliers=(1, 2, 2, 4), bits_per_token=14, **SMALL),
}


def _random(config: InfinityConfig, seed: int = 0) -> PublishedTokenizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PublishedTokenizer(config)


def _frames(item: str) -> torch.Tensor:
    return case("infinity")[f"{item}.input"]


@pytest.mark.parametrize("item", IMAGES)
def test_the_bits_of_every_scale_are_the_published_codes(item):
    tokenizer, grids = golden("infinity"), scales_of(item)
    (codes_ND,) = tokenizer.encode([_frames(item)])
    for scale, (found, expected) in enumerate(
        zip(scales_of_codes(codes_ND, grids), scales_of_codes(bits_of(item), grids), strict=True)
    ):
        assert torch.equal(found, expected), f"scale {scale}"
    (latents_thwD,) = tokenizer.latents([_frames(item)])
    expected_thwD = case("infinity")[f"{item}.latent"].movedim(0, -1)
    torch.testing.assert_close(latents_thwD, expected_thwD, atol=2e-4, rtol=0)


@pytest.mark.parametrize("item", IMAGES)
def test_reconstructions_are_the_published_codes(item):
    expected = case("infinity")[f"{item}.decoded_stride3"]
    (pixels,) = golden("infinity").decode_pyramids([bits_of(item)], [scales_of(item)[-1]])
    torch.testing.assert_close(pixels[:, ::3, ::3], expected, atol=3e-4, rtol=0)


def test_published_latents_of_a_square_have_the_published_bits():
    latents_thwD = case("infinity")["square.latent"].movedim(0, -1)
    grids = scales_of("square")
    assert torch.equal(bits_of_latents(latents_thwD, grids), bits_of("square"))


@pytest.mark.parametrize("item", ["square", "wide"])
def test_the_table_has_the_schedules_of_the_case(item):
    *_, full = grids = scales_of(item)
    assert INFINITY.geometry.scales(full) == tuple(grids)


def test_the_table_has_images_of_four_areas_and_fifteen_shapes():
    grids = list((INFINITY.geometry.schedules or {}).values())[:60]
    megapixels = [prod(full) * 16**2 / 1e6 for *_, full in grids]
    for number, (least, most) in enumerate(((0.06, 0.09), (0.24, 0.28), (0.58, 0.72), (0.99, 1.06))):
        assert all(least < found < most for found in megapixels[15 * number : 15 * (number + 1)])
    for scales in grids:
        assert (scales[0], len(scales) in {7, 10, 12, 13}) == ((1, 1, 1), True)
        # Each scale is finer than the one before.
        for (_, height, width), (_, higher, wider) in pairwise(scales):
            assert height <= higher
            assert width <= wider
            assert height * width < higher * wider
    shapes = {(height, width) for *_, (_, height, width) in grids}
    assert len(shapes) == 60
    assert {(width, height) for height, width in shapes} == shapes
    doubled = InfinityConfig(bits_per_token=14, schedules=published_schedules(doubled=True)).geometry
    assert doubled.scales((1, 22, 44))[:3] == ((1, 2, 2), (1, 4, 4), (1, 4, 8))


@torch.inference_mode()
def test_pictures_of_the_first_scales_are_those_of_their_sums():
    (*_, full), bits_ND = scales_of("short"), bits_of("short")
    ends = list(accumulate(map(prod, scales_of("short"))))
    pictures = golden("infinity").decode_pyramids([bits_ND[:end] for end in ends], [full] * len(ends))
    assert {picture.shape for picture in pictures} == {(1, 96, 128, 3)}
    sums = [sum_of_bits(bits_ND[:end], scales_of("short")) for end in ends]
    for picture, values_thwD in zip(pictures, sums, strict=True):
        assert torch.equal(picture, decoded_image(golden("infinity").network, values_thwD))


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_without_golden_cases_are_those_of_the_plain_network(name):
    tokenizer, generator = PublishedTokenizer(SHAPES[name]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in tokenizer.network.parameters():
            weight.normal_(0.1 if weight.ndim == 1 else 0, 0.1, generator=generator)
    peer, grid, patch_px = Peer(tokenizer), (1, 2, 3), tokenizer.geometry.patch_px[0]
    frames, codes_nD = clip_of(1, 2 * patch_px, 3 * patch_px), codes_of(tokenizer.geometry, grid)
    latents, pixels = peer.latents(frames), peer.decode_pixels(codes_nD, grid)
    assert min(latents.std(), pixels.std()) > 0.01
    torch.testing.assert_close(tokenizer.latents([frames])[0], latents, atol=5e-5, rtol=0)
    torch.testing.assert_close(tokenizer.decode_pyramids([codes_nD], [grid])[0], pixels, atol=1e-4, rtol=0)


@pytest.mark.parametrize("check", conformance_checks(), ids=str)
@pytest.mark.parametrize("name", SHAPES)
def test_the_contract_is_kept(name, check):
    applies = check(lambda: _random(SHAPES[name]), other=lambda: _random(SHAPES[name], seed=1))
    assert applies == (check.name not in {"causal", "prefix", "streams"})


def test_the_same_tokenizer_comes_back_from_its_files():
    tokenizer = golden("infinity")
    again = load_files(published_files(tokenizer))
    assert (again.geometry, again.fingerprint) == (INFINITY.geometry, tokenizer.fingerprint)
    assert torch.equal(again.encode([_frames("short")])[0], bits_of("short"))
    # Datasets name it.
    assert tokenizer.fingerprint == "9a9164df9346e41bea951399edbd122c"


def test_the_geometry_of_published_models():
    geometry = InfinityConfig(bits_per_token=64, schedules=published_schedules()).geometry
    assert (geometry.patch_px, geometry.most_frames, geometry.code.first) == ((16, 16), 1, "most")
    assert geometry.num_tokens((1, 16, 16)) == 521


def test_in_bfloat16_few_bits_of_the_first_scales_change():
    tokenizer = copy.deepcopy(golden("infinity"))
    tokenizer.to(device="cpu", dtype=torch.bfloat16)
    assert tokenizer.fingerprint == golden("infinity").fingerprint
    (codes_ND,) = tokenizer.encode([_frames("short")])
    assert (codes_ND != bits_of("short")).float().mean() < 0.2


def test_what_does_not_fit_is_refused():
    tokenizer, bits_ND = golden("infinity"), bits_of("short")
    with pytest.raises(ValueError, match="the tokenizer has no schedule for 96×112 pixels"):
        tokenizer.encode([_frames("short")[:, :, :112]])
    with pytest.raises(ValueError, match="H a multiple of 16 and W of 16"):
        tokenizer.encode([_frames("short")[:, :, :120]])
    with pytest.raises(ValueError, match=r"a clip must have 1 \+ k·1 frames, at most 1, not 2"):
        tokenizer.encode([_frames("short").expand(2, -1, -1, -1)])
    with pytest.raises(UsageError, match="do not tell its grid: decode them by decode_pyramids"):
        tokenizer.decode([bits_ND])
    with pytest.raises(UsageError, match="cosmos-di has no pyramids: decode its codes by decode"):
        golden("cosmos-di8x8").decode_pyramids([bits_ND], [(1, 6, 8)])
    for codes, grid, told in (
        (bits_ND, (1, 5, 8), "no schedule for 80×128 pixels"),
        (bits_ND[:, :8], (1, 6, 8), r"codes must be bool \[n, 16\], not torch.bool \[65, 8\]"),
        (bits_ND.long(), (1, 6, 8), "not torch.int64"),
        (bits_ND[:6], (1, 6, 8), "6 tokens are not those of the first scales"),
    ):
        with pytest.raises(ValueError, match=told):
            tokenizer.decode_pyramids([codes], [grid])
    for changes, told in (
        ({"channels": 40}, "a multiple of 32 or of 24 channels, not 40"),
        ({"channels": 16, "channel_multipliers": (2, 2)}, "a multiple of 32 or of 24 channels, not 16"),
        ({"schedules": ("1x1 2x2", "2x2")}, "more than one schedule of 2x2"),
        ({"schedules": ("1x1 2x0",)}, "schedules"),
        ({"schedules": ()}, "schedules"),
        ({"bits_per_token": 257}, "bits_per_token"),
    ):
        with pytest.raises(ValueError, match=told):
            InfinityConfig.model_validate(SMALL | {"bits_per_token": 16} | changes)
