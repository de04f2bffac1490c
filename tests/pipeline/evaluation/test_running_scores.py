"""The scores of one contender: those that small pictures have."""

import pytest
import torch

from bitmill.bsq_model.networks.lpips import LPIPS
from bitmill.pipeline.evaluation.running_scores import Contender, FeatureSums, MetricNetworks


@pytest.mark.parametrize(("side", "is_measured"), [(24, False), (31, True)])
def test_frames_too_small_for_lpips_have_none(side, is_measured):
    networks = MetricNetworks(lpips=LPIPS())
    contender = Contender("BSQ-ViT", networks)
    contender.add(torch.zeros(1, side, 40, 3), torch.zeros(1, side, 40, 3), bits=8)
    assert (contender.row(FeatureSums(networks)).lpips is not None) == is_measured
