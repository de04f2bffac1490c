"""Networks behind Fréchet distances, with random weights: layouts, padding, and what they take and refuse."""

import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bitmill.bsq_model.networks.convert_networks import efficientnet_from_checkpoint, i3d_from_pickle
from bitmill.bsq_model.networks.efficientnet import EfficientNetLite0
from bitmill.bsq_model.networks.i3d import I3D
from bitmill.bsq_model.networks.inception import FIDInception, load_inception
from bitmill.bsq_model.networks.same_padding import max_pool_same, pad_same
from bitmill.schemas.errors import FormatError

_LITE0 = [(1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80)]
_LITE0 += [(3, 5, 1, 6, 80, 112), (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320)]


@given(size=st.integers(1, 40), kernel=st.integers(1, 7), stride=st.integers(1, 3))
def test_same_padding_gives_the_ceiling_and_its_odd_rest_behind(size, kernel, stride):
    padded = pad_same(torch.ones(1, 1, size), kernel, stride)
    assert (padded.shape[-1] - kernel) // stride + 1 >= -(-size // stride)
    before = int((padded[0, 0] == 0).float().cumprod(0).sum())
    after = padded.shape[-1] - size - before
    assert after - before in (0, 1)


def test_padding_never_wins_a_maximum():
    x = torch.full((1, 1, 2, 3, 3), -5.0)
    assert torch.equal(max_pool_same(x, (3, 3, 3), (1, 1, 1)), x)


def published_efficientnet() -> dict[str, torch.Tensor]:
    """Random weights under the package's names."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, torch.Tensor] = {}

    def unit(conv: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        weights[f"{conv}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * scale
        weights[f"{norm}.weight"] = torch.rand(outputs, generator=generator) + 0.5
        weights[f"{norm}.bias"] = torch.randn(outputs, generator=generator) * 0.1
        weights[f"{norm}.running_mean"] = torch.randn(outputs, generator=generator) * 0.1
        weights[f"{norm}.running_var"] = torch.rand(outputs, generator=generator) + 0.5
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    unit("_conv_stem", "_bn0", 32, 3, 3)
    number = 0
    for repeats, kernel, _, expansion, inputs, outputs in _LITE0:
        for repeat in range(repeats):
            entry = inputs if repeat == 0 else outputs
            block, hidden = f"_blocks.{number}.", entry * expansion
            if expansion > 1:
                unit(f"{block}_expand_conv", f"{block}_bn0", hidden, entry, 1)
            unit(f"{block}_depthwise_conv", f"{block}_bn1", hidden, 1, kernel)
            unit(f"{block}_project_conv", f"{block}_bn2", outputs, hidden, 1)
            number += 1
    unit("_conv_head", "_bn1", 1280, 320, 1)
    weights["_fc.weight"], weights["_fc.bias"] = torch.randn(1000, 1280), torch.randn(1000)
    return weights


def _reference_efficientnet(w: dict[str, torch.Tensor], pixels_BHWC: torch.Tensor) -> torch.Tensor:
    """Features of 224² pictures by the published layout, written with plain functions."""

    def unit(x, conv, norm, stride=1, groups=1, active=True):
        kernel = w[f"{conv}.weight"].shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        x = functional.conv2d(x, w[f"{conv}.weight"], stride=stride, groups=groups)
        shape = (1, -1, 1, 1)
        mean, variance = w[f"{norm}.running_mean"].view(shape), w[f"{norm}.running_var"].view(shape)
        x = (x - mean) / (variance + 1e-3).sqrt() * w[f"{norm}.weight"].view(shape) + w[f"{norm}.bias"].view(
            shape
        )
        return x.clamp(0, 6) if active else x

    levels = (pixels_BHWC.permute(0, 3, 1, 2) + 1) * 127.5
    x = unit((levels - 127) / 128, "_conv_stem", "_bn0", stride=2)
    number = 0
    for repeats, _, stride, expansion, _, _ in _LITE0:
        for repeat in range(repeats):
            block, entry = f"_blocks.{number}.", x
            if expansion > 1:
                x = unit(x, f"{block}_expand_conv", f"{block}_bn0")
            x = unit(
                x, f"{block}_depthwise_conv", f"{block}_bn1", stride if repeat == 0 else 1, groups=x.shape[1]
            )
            x = unit(x, f"{block}_project_conv", f"{block}_bn2", active=False)
            x = x + entry if repeat > 0 else x
            number += 1
    return unit(x, "_conv_head", "_bn1").mean((2, 3))


@pytest.mark.parametrize("as_zip", [False, True])
def test_efficientnet_is_the_published_one(as_zip):
    weights = published_efficientnet()
    file = io.BytesIO()
    torch.save(weights, file, _use_new_zipfile_serialization=as_zip)
    network = EfficientNetLite0()
    network.load_state_dict(efficientnet_from_checkpoint(file.getvalue()))
    pixels = torch.rand(1, 224, 224, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert torch.allclose(network.features(pixels), _reference_efficientnet(weights, pixels), atol=1e-3)
    assert network.logits(pixels).shape == (1, 1000)


def _published_i3d() -> dict:
    """Every array of the package's layout, from our module's own shapes."""
    params: dict = {}
    stats: dict = {}

    def put(tree: dict, path: str, value: torch.Tensor) -> None:
        *folders, name = path.split("/")
        for folder in folders:
            tree = tree.setdefault(folder, {})
        tree[name] = value.numpy().astype(np.float32)

    for name, value in I3D().state_dict().items():
        unit, _, layer = name.replace("mixed.", "").replace(".", "/").rpartition("/")
        if name.startswith("logits"):
            kind = "kernel" if layer == "weight" else "bias"
            put(
                params,
                f"Logits/Conv3d_0c_1x1/Conv_0/{kind}",
                value.permute(2, 3, 4, 1, 0) if value.ndim > 1 else value,
            )
            continue
        unit, part = unit.rsplit("/", 1)
        if "branch" in unit:
            block, branch, place = unit.split("/")
            second = "Conv3d_0b_1x1" if branch == "branch_3" else "Conv3d_0a_1x1"
            unit = f"{block}/{branch.capitalize()}/{'Conv3d_0b_3x3' if place == '1' else second}"
        if part == "conv":
            put(params, f"{unit}/Conv_0/kernel", value.permute(2, 3, 4, 1, 0))
        elif layer == "bias":
            put(params, f"{unit}/BatchNorm_0/bias", value)
        elif layer in ("running_mean", "running_var"):
            place = layer.removeprefix("running_")
            put(stats, f"{unit}/BatchNorm_0/{place}", value.view(1, 1, 1, 1, -1))
    return {"params": params, "batch_stats": stats}


def test_i3d_takes_the_published_layout_whole():
    published = _published_i3d()
    network = I3D()
    network.load_state_dict(i3d_from_pickle(pickle.dumps(published)))
    kernel = published["params"]["Conv3d_1a_7x7"]["Conv_0"]["kernel"]
    assert kernel[1, 2, 3, 0, 5] == network.Conv3d_1a_7x7.conv.weight[5, 0, 1, 2, 3].item()
    assert network.features(torch.zeros(1, 9, 32, 32, 3)).shape == (1, 400)
    with pytest.raises(ValueError, match="needs 9 frames"):
        network.features(torch.zeros(1, 8, 32, 32, 3))


@pytest.mark.slow
def test_the_inception_that_the_user_names_is_read_and_another_file_refused(tmp_path):
    torch.manual_seed(0)
    network = FIDInception()
    weights = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    torch.save({**weights, "AuxLogits.fc.weight": torch.zeros(1)}, tmp_path / "inception.pth")
    loaded = load_inception(tmp_path / "inception.pth")
    pixels = torch.rand(1, 75, 75, 3) * 2 - 1
    assert torch.equal(loaded.features(pixels), network.features(pixels))
    assert loaded.features(pixels).shape == (1, 2048)
    features = torch.rand(2, 2048)
    logits = network.fc(features) - network.fc.bias
    torch.testing.assert_close(loaded.class_logits(features), logits)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(FormatError, match="is not the FID Inception"):
        load_inception(tmp_path / "other.pth")
