"""Metrics against the implementations and formulas that published figures rest on."""

import itertools
from collections import Counter

import numpy as np
import pytest
import pytorch_msssim
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model.metrics.codes import CodeCounts, bit_entropies
from bitmill.bsq_model.metrics.frechet import FeatureStatistics, frechet_distance
from bitmill.bsq_model.metrics.inception_score import inception_score
from bitmill.bsq_model.metrics.reconstruction_quality import MS_SSIM_LEAST_PX, ms_ssim, psnr_db, ssim
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Code


def _pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(shape, generator=generator) * 2 - 1
    noise = torch.randn(shape, generator=generator)
    return (original + 0.3 * noise).clamp(-1, 1), original


def _grey_levels(x: torch.Tensor) -> torch.Tensor:
    return ((x.double() + 1) * 127.5).movedim(-1, 1)


def test_psnr_is_the_formula_over_grey_levels_of_a_whole_clip():
    made, original = _pair(2, 3, 16, 12, 3)
    a, b = ((x.numpy().astype(np.float64) + 1) * 127.5 for x in (made, original))
    expected = [10 * np.log10(255**2 / np.mean((x - y) ** 2)) for x, y in zip(a, b, strict=True)]
    assert psnr_db(made, original).tolist() == pytest.approx(expected, rel=1e-6)


def test_psnr_clamps_and_does_not_round():
    original = torch.ones(1, 1, 8, 8, 3)
    assert psnr_db(original * 1.5, original).isinf().all()
    assert psnr_db(original - 1e-4, original).isfinite().all()


def test_ssim_is_pytorch_msssims():
    made, original = _pair(2, 40, 33, 3)
    expected = pytorch_msssim.ssim(_grey_levels(made), _grey_levels(original), size_average=False)
    assert torch.allclose(ssim(made, original), expected, atol=1e-7)
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(made[:, :10], original[:, :10])


def test_ms_ssim_is_pytorch_msssims_at_odd_sizes_too():
    made, original = _pair(1, MS_SSIM_LEAST_PX, 170, 3)
    expected = pytorch_msssim.ms_ssim(_grey_levels(made), _grey_levels(original), size_average=False)
    assert torch.allclose(ms_ssim(made, original), expected, atol=1e-7)
    with pytest.raises(ValueError, match="161 pixels"):
        ms_ssim(made[:, :160], original[:, :160])


def test_frechet_distance_of_gaussians_on_the_axes_is_known():
    # Commuting covariances: the distance is ‖μ₁ − μ₂‖² + Σ(√λ₁ − √λ₂)².
    a, b = FeatureStatistics(2), FeatureStatistics(2)
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).double()
    a.add(corners * torch.tensor([1.0, 2.0]))
    b.add(corners * torch.tensor([3.0, 1.0]) + torch.tensor([5.0, 0.0]))
    deviation = (4 / 3) ** 0.5
    expected = 25 + (deviation * (3 - 1)) ** 2 + (deviation * (2 - 1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_the_matrix_roots_in_general():
    generator = torch.Generator().manual_seed(3)
    sets = [
        torch.randn(30, 5, generator=generator) @ torch.randn(5, 5, generator=generator) for _ in range(2)
    ]
    ours = [FeatureStatistics(5) for _ in sets]
    for statistics, features in zip(ours, sets, strict=True):
        statistics.add(features)
    first, second = (x.double().numpy() for x in sets)
    product = np.cov(first.T) @ np.cov(second.T)
    # The root's trace by eigenvalues of the plain, not symmetric, product.
    root_trace = np.sqrt(np.linalg.eigvals(product).astype(complex)).sum().real
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum()
    expected += np.trace(np.cov(first.T)) + np.trace(np.cov(second.T)) - 2 * root_trace
    assert frechet_distance(*ours) == pytest.approx(expected, rel=1e-6)


@given(cuts=st.lists(st.integers(1, 59), max_size=4), mean=st.floats(-1e3, 1e3))
def test_feature_statistics_do_not_depend_on_the_pieces(cuts, mean):
    features = torch.randn(60, 3, generator=torch.Generator().manual_seed(1)).double() + mean
    whole, pieces = FeatureStatistics(3), FeatureStatistics(3)
    whole.add(features)
    edges = [0, *sorted(cuts), 60]
    for start, end in itertools.pairwise(edges):
        pieces.add(features[start:end])
    assert pieces.count == 60
    assert torch.allclose(pieces.mean, whole.mean, atol=1e-9)
    assert torch.allclose(pieces.covariance, torch.cov(features.T), atol=1e-8)


def test_one_picture_has_no_distance():
    one = FeatureStatistics(2)
    one.add(torch.zeros(1, 2))
    with pytest.raises(UsageError, match="two pictures"):
        frechet_distance(one, one)


def test_a_bits_entropy_is_one_at_half_and_none_when_stuck():
    found = bit_entropies(torch.tensor([0.5, 0.0, 1.0, 0.25])).tolist()
    assert found == pytest.approx([1, 0, 0, 0.8112781], abs=1e-6)


def test_codes_are_counted_whole_across_calls():
    counts = CodeCounts(Code.of_bits(3))
    counts.add(torch.tensor([[[True, False, True], [True, False, True]]]))
    counts.add(torch.tensor([[False, False, False], [True, True, True]]))
    assert (counts.num_tokens, counts.used_codes) == (4, 3)
    assert counts.code_entropy_bits == pytest.approx(1.5)
    assert counts.entropies.tolist() == pytest.approx([0.8112781, 0.8112781, 0.8112781], abs=1e-6)


@pytest.mark.parametrize(
    "code",
    [Code.of_bits(100), Code.of_bits(5, "least"), Code.of_digits((8, 5, 3)), Code.of_index(2**40)],
)
def test_codes_of_every_kind_are_counted_as_a_dictionary_does(code):
    drawn = np.random.default_rng(0)
    tokens = np.stack([drawn.integers(0, min(base, 3), 60) for base in code.bases], 1)
    counts = CodeCounts(code)
    codes = torch.from_numpy(tokens.astype(np.bool_) if code.kind == "bits" else tokens)
    counts.add(codes[:25])
    counts.add(codes[25:])
    seen = Counter(map(tuple, codes.tolist()))
    assert (counts.num_tokens, counts.used_codes) == (60, len(seen))
    shares = np.array(list(seen.values())) / 60
    assert counts.code_entropy_bits == pytest.approx(-(shares * np.log2(shares)).sum())
    for dimension, entropy in enumerate(counts.entropies.tolist()):
        values = np.array(list(Counter(codes[:, dimension].tolist()).values())) / 60
        assert entropy == pytest.approx(-(values * np.log2(values)).sum())
    assert bool((counts.shares <= 1).all())


def test_codes_of_64_bits_do_not_run_together():
    counts = CodeCounts(Code.of_bits(64))
    bits = torch.zeros(2, 64, dtype=torch.bool)
    bits[1, 63] = True
    counts.add(bits)
    assert counts.used_codes == 2


def test_the_inception_score_is_one_for_one_answer_and_the_classes_where_each_is_sure():
    assert inception_score(torch.randn(1, 9).expand(5, 9)) == pytest.approx(1)
    sure = torch.eye(7).repeat(3, 1) * 1e4
    assert inception_score(sure) == pytest.approx(7)
    logits = torch.randn(50, 12, generator=torch.Generator().manual_seed(0))
    shares = logits.double().softmax(1).numpy()
    divergence = (shares * np.log(shares / shares.mean(0))).sum(1).mean()
    assert inception_score(logits) == pytest.approx(np.exp(divergence))
    with pytest.raises(ValueError, match="at least one picture"):
        inception_score(torch.zeros(0, 5))
