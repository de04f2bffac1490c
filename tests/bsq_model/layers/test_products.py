"""Products by oneDNN's operator, which is private to torch, or without it."""

import pytest
import torch

from bitmill.bsq_model.layers import products


def test_a_product_is_the_same_to_rounding_without_the_private_operator(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((2, 3, 64), (32, 64), (32,)))
    private = [products.product(x, weight, bias), products.product(x, weight)]
    monkeypatch.setattr(products, "_ONEDNN_LINEAR", None)
    public = [products.product(x, weight, bias), products.product(x, weight)]
    for one, other in zip(private, public, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", ["missing", "other"])
def test_an_operator_that_torch_has_changed_is_not_called(monkeypatch, change):
    class Operators:
        """Of another torch."""

        if change == "other":
            _linear_pointwise = torch.ops.aten.linear

    monkeypatch.setattr(torch.ops, "mkldnn", Operators)
    assert products.onednn_linear() is None
