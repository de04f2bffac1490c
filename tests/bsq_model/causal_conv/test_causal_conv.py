"""The causal-conv tokenizer: the contract, its three forms, any size, and what it saves."""

import pytest
import torch
from pydantic import ValidationError

from bitmill.bsq_model.causal_conv.files import untrained_causal_conv
from bitmill.bsq_model.causal_conv.tokenizer import CausalConvTokenizer
from bitmill.bsq_model.causal_conv.wavelet import cells_of_pixels
from bitmill.bsq_model.families import load_files, native_files
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.testing import check_tokenizer
from tests.support.media import real_pictures

_TWO_LEVELS = {"widths": (8, 16), "blocks": (1, 1)}
_VARIANTS = {
    "bsq": {},
    "lfq-8-frames": {"quantizer": "lfq", "frames_per_token": 8},
    "vq-1-frame": {"quantizer": "vq", "bits_per_token": 6, "frames_per_token": 1},
    "fsq-2-frames": {
        "quantizer": "fsq",
        "bits_per_token": None,
        "levels": (8, 5, 3),
        "frames_per_token": 2,
    },
    "patches-of-4": {
        "patch_px": 4,
        "encoder": {"widths": (8,), "blocks": (1,)},
        "decoder": {"widths": (8,), "blocks": (1,)},
    },
    "both": {"time": "both"},
}


def small(**changes) -> CausalConvTokenizer:
    """A tokenizer that looks back in time, as a trained one does: untrained, what would is zero."""
    document = {
        "bits_per_token": 18,
        "encoder": _TWO_LEVELS,
        "decoder": _TWO_LEVELS,
        "frame_width": 8,
    }
    tokenizer = untrained_causal_conv(CausalConvConfig.model_validate(document | changes), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in tokenizer.named_parameters():
            if name.endswith("earlier.weight"):
                weight.normal_(0, 0.1, generator=generator)
    return tokenizer


def clips(tokenizer: CausalConvTokenizer, count: int = 2) -> torch.Tensor:
    """Clips of four rows, uint8 [B, T, 32, 48, 3]."""
    length = tokenizer.geometry.frames_of_rows(4)
    pictures = torch.stack([torch.from_numpy(one) for one in real_pictures(count * length, 48, 32)])
    return pictures.unflatten(0, (count, length))


@pytest.mark.parametrize("changes", _VARIANTS.values(), ids=_VARIANTS)
def test_it_keeps_the_contract(changes):
    names = check_tokenizer(lambda: small(**changes))
    assert ({"causal", "prefix", "streams"} <= set(names)) == (changes.get("time") != "both")


@pytest.mark.parametrize("changes", _VARIANTS.values(), ids=_VARIANTS)
def test_training_and_row_by_row_agree(changes):
    tokenizer = small(**changes)
    found = clips(tokenizer)
    with torch.no_grad():
        output = tokenizer(pixels_from_uint8(found, torch.float32))
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(torch.stack(tokenizer.latents(list(found))), output.v_BThwL, **close)
    pixels = torch.stack(tokenizer.decode_pixels(list(output.bits_BThwL)))
    torch.testing.assert_close(pixels, output.reconstruction_BTHWC.clamp(-1, 1), **close)
    values = tokenizer.bottleneck.codes_of_bits(output.bits_BThwL, torch.float32)
    torch.testing.assert_close(values, output.codes_BThwL)


@pytest.mark.parametrize("changes", _VARIANTS.values(), ids=_VARIANTS)
def test_saved_and_loaded_it_is_the_same_in_every_bit(changes):
    tokenizer = small(**changes)
    loaded = load_files(native_files(tokenizer))
    assert isinstance(loaded, CausalConvTokenizer)
    assert (loaded.fingerprint, loaded.config) == (tokenizer.fingerprint, tokenizer.config)
    (clip,) = clips(tokenizer, 1)
    codes = tokenizer.encode([clip])
    assert torch.equal(loaded.encode([clip])[0], codes[0])
    assert torch.equal(loaded.decode(codes)[0], tokenizer.decode(codes)[0])


def test_what_a_frame_decodes_to_depends_on_no_later_token():
    tokenizer = small()
    (codes,) = tokenizer.encode(list(clips(tokenizer, 1)))
    changed = codes.clone()
    changed[2:] = ~changed[2:]
    ours, theirs = (tokenizer.decode([one])[0] for one in (codes, changed))
    at = tokenizer.geometry.frames_of_rows(2)
    assert torch.equal(ours[:at], theirs[:at])
    assert not torch.equal(ours[at], theirs[at])


def test_every_size_is_alike():
    # Far from the border a token is that of the larger frame: nothing is normalised over a frame.
    tokenizer = small()
    wide = torch.stack([torch.from_numpy(one) for one in real_pictures(1, 128, 96)])
    whole, part = tokenizer.latents([wide, wide[:, :, :96]])
    torch.testing.assert_close(whole[:, :, :6], part[:, :, :6], rtol=1e-5, atol=1e-5)


def test_neighbouring_tokens_decode_to_pixels_that_overlap():
    tokenizer = small()
    codes = torch.rand((1, 6, 6, 18), generator=torch.Generator().manual_seed(0)) > 0.5
    changed = codes.clone()
    changed[0, 3, 3] = ~changed[0, 3, 3]
    ours, theirs = (tokenizer.decode_pixels([one])[0][0] for one in (codes, changed))
    touched = (ours != theirs).any(-1)
    assert touched[:, 16].any()
    assert touched[:, 40].any()


def test_a_cell_fades_to_nothing_at_its_borders():
    head = small().decoder.head
    impulse = torch.zeros(1, 5, 5, 8)
    impulse[0, 2, 2] = torch.randn(8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.head.bias.normal_(generator=torch.Generator().manual_seed(1))
        difference = (head(impulse) - head(torch.zeros(1, 5, 5, 8)))[0].abs().amax(-1)
    rows = difference.amax(1)
    assert rows[6:14].min() > 0
    assert max(rows[6], rows[13]) < 0.2 * rows[9:11].max()
    assert not rows[:6].any()
    assert not rows[14:].any()


def test_one_colour_everywhere_is_no_pattern_of_cells():
    # The fading weights of a position and its neighbours add up to one, at the frame's border too.
    head = small().decoder.head
    with torch.no_grad():
        head.head.weight.zero_()
        head.head.bias.fill_(0.5)
    torch.testing.assert_close(head(torch.randn(1, 3, 4, 8)), torch.full((1, 12, 16, 3), 0.5))


def test_the_wavelet_of_a_still_has_no_differences_in_time():
    still = torch.rand(1, 16, 16, 3).expand(4, -1, -1, -1)
    cells = cells_of_pixels(still, 4)
    assert cells.shape == (1, 4, 4, 4 * 16 * 3)
    means = still[0].unflatten(0, (4, 4)).unflatten(2, (4, 4)).mean((1, 3))
    torch.testing.assert_close(cells[0, :, :, :3], means)
    # The axes of the bands: columns before rows before time, all of two halves each.
    of_time = cells[0].unflatten(-1, (4, 4, 4, 3))
    assert of_time[..., 0, :].any()
    assert not of_time[..., 1:, :].any()


def test_what_a_model_cannot_be_is_refused():
    with pytest.raises(UsageError, match="cannot stream"):
        small(time="both").stream_encoder()
    for changes, message in (
        ({"quantizer": "fsq"}, "quantizer fsq needs levels alone"),
        ({"levels": (3, 3)}, "quantizer bsq needs bits_per_token alone"),
        ({"quantizer": "vq"}, "vq takes at most 16"),
        ({"patch_px": 16}, "patch_px 16 needs 3 levels of the encoder"),
        ({"encoder": {"widths": (8, 8), "blocks": (1,)}}, "differ in their number of levels"),
        ({"frames_per_token": 3}, "frames_per_token"),
    ):
        with pytest.raises(ValidationError, match=message):
            small(**changes)
