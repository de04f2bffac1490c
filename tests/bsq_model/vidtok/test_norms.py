"""VidTok's group norm, of which there is no golden case, against its definition."""

import re

import pytest
import torch

from bitmill.bsq_model.vidtok.network import VidTokNetwork
from bitmill.bsq_model.vidtok.norms import frame_norm, temporal_norm
from bitmill.schemas.models.vidtok_config import VidTokConfig


def _expected(x_GnX: torch.Tensor) -> torch.Tensor:
    """Each row of the last axis with mean 0 and variance 1, float64."""
    x = x_GnX.double()
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("make_norm", [frame_norm, temporal_norm])
def test_group_norm_is_over_a_frame_or_over_a_position_of_temporal_blocks(make_norm):
    norm = make_norm(256, "group")
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x_THWC = torch.randn(3, 4, 5, 256, generator=torch.Generator().manual_seed(0)) * 3 + 1
    grouped = x_THWC.unflatten(3, (32, 8))
    if make_norm is frame_norm:
        rows = grouped.permute(0, 3, 4, 1, 2).flatten(2)  # T G (c H W)
        normed = _expected(rows).unflatten(2, (8, 4, 5)).permute(0, 3, 4, 1, 2)
    else:
        normed = _expected(grouped)  # T H W G c
    expected = normed.flatten(3) * norm.weight + norm.bias
    torch.testing.assert_close(norm(x_THWC).double(), expected, atol=1e-5, rtol=0)


def test_names_of_norms_are_the_published_ones():
    def names(norm: str) -> set[str]:
        sizes = {"channels": 32, "channel_multipliers": (1, 1, 1), "num_res_blocks": 1}
        config = VidTokConfig.model_validate({"version": "1.0", "levels": (8,) * 4, "norm": norm, **sizes})
        return {name for name in VidTokNetwork(config).state_dict() if "norm" in name}

    assert names("group") == {re.sub(r"\.norm\.(weight|bias)$", r".\1", name) for name in names("layer")}
