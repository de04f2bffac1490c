"""The network where tokenizers do not reach: sizes that are no multiples of a token."""

import torch

from bitmill.bsq_model.layers.past_frames import Past
from tests.bsq_model.published.golden import case, codes_of, golden


@torch.inference_mode()
def test_odd_sizes_are_rounded_up_as_in_the_published_code():
    tokenizer, odd = golden("open-magvit2"), case("open-magvit2")
    latents = tokenizer.network.latents(odd["odd.input"].float() / 127.5 - 1, Past())
    torch.testing.assert_close(latents.movedim(-1, 0), odd["odd.latent"], atol=5e-5, rtol=0)
    values = tokenizer.quantizer.values_of_codes(codes_of(odd["odd.codes"], tokenizer.config))
    pixels = tokenizer.network.pixels(values, Past(), is_end=True)
    torch.testing.assert_close(pixels, odd["odd.pixels"], atol=1e-4, rtol=0)
