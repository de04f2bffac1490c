"""The benchmark of encoding: its textbook is the same network, and its floor counts what is computed."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.encoding.floor import EncoderProducts, MatrixProducts, encoder_operations
from benchmarks.encoding.textbook import TextbookDecoder, TextbookEncoder
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig
from tests.bsq_model.small import random_clip, random_tokenizer


@pytest.mark.parametrize("lengths", [[1], [4], [2, 5, 1]])
def test_the_textbook_gives_the_same_latents_with_masks_and_padding(lengths):
    tokenizer = random_tokenizer()
    clips = [random_clip(length, seed=length) for length in lengths]
    for ours, theirs in zip(tokenizer.latents(clips), TextbookEncoder(tokenizer)(clips), strict=True):
        torch.testing.assert_close(ours.flatten(1, 2), theirs, rtol=2e-5, atol=2e-5)


def test_the_textbooks_decoder_shows_the_same_picture():
    tokenizer = random_tokenizer()
    clips = [random_clip(1, seed=seed) for seed in range(3)]
    bits = tokenizer.encode(clips)
    theirs = TextbookDecoder(tokenizer)(torch.cat([one.flatten(1, 2) for one in bits]))
    ours = torch.cat(tokenizer.decode(bits))
    assert (ours.int() - theirs.int()).abs().max() <= 1
    assert (ours == theirs).float().mean() > 0.99


_SIZES = TransformerConfig(width=64, layers=3, heads=2)
_CONFIG = TokenizerConfig(
    image_size_px=64, bits_per_token=18, num_frames=4, encoder=_SIZES, decoder=_SIZES, decoder_ffn_width=64
)


@pytest.mark.parametrize("num_frames", [1, 3])
def test_the_floor_counts_what_the_encoder_multiplies(num_frames):
    tokenizer = random_tokenizer(_CONFIG)
    counter = FlopCounterMode(display=False)
    # Torch counts attention only where it is plain products.
    with counter, sdpa_kernel(SDPBackend.MATH):
        tokenizer.latents([random_clip(num_frames, _CONFIG)])
    assert encoder_operations(_CONFIG, num_frames) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_the_products_alone_are_all_but_the_ends():
    products, counter = (
        EncoderProducts(random_tokenizer(_CONFIG), torch.float32, batch=2),
        FlopCounterMode(display=False),
    )
    with counter:
        products()
    ends = (
        2 * _CONFIG.tokens_per_frame * _SIZES.width * (3 * _CONFIG.patch_size_px**2 + _CONFIG.bits_per_token)
    )
    assert counter.get_total_flops() == 2 * (encoder_operations(_CONFIG, 1) - ends)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_the_matrix_products_are_the_largest_layers(dtype):
    sizes = TransformerConfig(width=16, layers=1, heads=1)
    config = TokenizerConfig(
        image_size_px=16, bits_per_token=4, num_frames=1, encoder=sizes, decoder=sizes, decoder_ffn_width=8
    )
    products = MatrixProducts(config, torch.device("cpu"), dtype, rows=32)
    assert products().shape == (32, 64)
    assert products.operations == 10 * 2 * 32 * 16 * 64


def test_the_share_of_the_floor_is_that_of_the_products_rate():
    config = random_tokenizer().config
    products = MatrixProducts(config, torch.device("cpu"), torch.float32, rows=32)
    told, floor = {"median": 4.0, "rounds": [4.0, 8.0]}, {"median": 1.0, "rounds": [1.0, 2.0]}
    assert products.rate(floor) == products.operations
    assert products.share(2 * products.operations, told, floor) == pytest.approx(0.5)
