"""LPIPS against its formula written anew, and pickles of arrays that are more than arrays."""

import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from bitmill.bsq_model.networks.convert_networks import lpips_from_pickle
from bitmill.bsq_model.networks.lpips import LPIPS
from bitmill.bsq_model.networks.network_files import load_network
from bitmill.bsq_model.networks.numpy_pickles import read_arrays
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.requests.training import LPIPS_LEAST_PX

_ALEXNET = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]


def flax_alexnet() -> dict:
    """Random weights in the layout of the published package."""
    random = np.random.default_rng(0)
    trunk = {
        f"Conv_{i}": {
            "kernel": (random.standard_normal((k, k, a, b)) * (2 / (k * k * a)) ** 0.5).astype(np.float32),
            "bias": (0.1 * random.standard_normal(b)).astype(np.float32),
        }
        for i, (k, a, b) in enumerate(_ALEXNET)
    }
    heads = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": random.random((1, 1, b, 1)).astype(np.float32)}}
        for i, (_, _, b) in enumerate(_ALEXNET)
    }
    return {"AlexNet_0": trunk, **heads}


def _reference(weights: dict, a_BHWC: torch.Tensor, b_BHWC: torch.Tensor) -> torch.Tensor:
    """LPIPS by its paper, in float64, straight from the package's arrays."""

    def features(x):
        x = (x.double() - torch.tensor([-0.030, -0.088, -0.188])) / torch.tensor([0.458, 0.448, 0.450])
        x, found = x.permute(0, 3, 1, 2), []
        for i, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
            if i in (1, 2):
                x = functional.max_pool2d(x, kernel_size=3, stride=2)
            layer = weights["AlexNet_0"][f"Conv_{i}"]
            kernel = torch.from_numpy(layer["kernel"]).double().permute(3, 2, 0, 1)
            bias = torch.from_numpy(layer["bias"]).double()
            x = functional.conv2d(x, kernel, bias, stride=stride, padding=padding).clamp_min(0)
            found.append(x)
        return found

    total = torch.zeros(len(a_BHWC), dtype=torch.float64)
    for i, (x, y) in enumerate(zip(features(a_BHWC), features(b_BHWC), strict=True)):
        u, v = (z / z.norm(dim=1, keepdim=True).clamp_min(1e-10) for z in (x, y))
        head = torch.from_numpy(weights[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).double().flatten()
        total += torch.einsum("bchw,c->bhw", (u - v) ** 2, head).mean((1, 2))
    return total


def _network() -> LPIPS:
    network = LPIPS()
    network.load_state_dict(lpips_from_pickle(pickle.dumps(flax_alexnet())))
    return network


def _pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(2, 70, 64, 3, generator=generator) * 2 - 1
    return a, (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(-1, 1)


def test_the_distance_is_the_papers():
    a, b = _pair()
    assert torch.allclose(_network()(a, b).double(), _reference(flax_alexnet(), a, b), rtol=1e-4)


@pytest.mark.parametrize("trunk", ["alexnet", "vgg16"])
def test_the_smallest_frames_of_a_training_file_are_the_smallest_that_it_takes(trunk):
    network, least = LPIPS(trunk), LPIPS_LEAST_PX[f"lpips-{trunk}"]
    assert network(*torch.zeros(2, 1, least, 64, 3)).shape == (1,)
    with pytest.raises(RuntimeError):
        network(*torch.zeros(2, 1, least - 1, 64, 3))


def test_equal_pictures_are_at_no_distance_and_gradients_are_finite_there():
    a, _ = _pair()
    a.requires_grad_(True)
    distance = _network()(a, torch.full_like(a, -1.0))
    assert torch.equal(_network()(a, a), torch.zeros(2))
    distance.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.any()


def test_vgg16_taps_its_five_stages():
    network = LPIPS("vgg16")
    assert [len(head) for head in network.heads] == [64, 128, 256, 512, 512]
    assert network(*_pair()).shape == (2,)


def test_a_missing_network_says_how_to_fetch_it(tmp_path):
    with pytest.raises(UsageError, match="bitmill weights fetch lpips-alexnet"):
        load_network(tmp_path, "lpips-alexnet")


def test_a_network_of_another_layout_is_refused(tmp_path):
    safetensors.torch.save_file({"trunk.0.weight": torch.zeros(1)}, tmp_path / "lpips-alexnet.safetensors")
    with pytest.raises(FormatError, match="is damaged or another network"):
        load_network(tmp_path, "lpips-alexnet")


class _Evil:
    ran = False

    def __reduce__(self):
        return (_run, ())


def _run():
    _Evil.ran = True
    return np.zeros(1, np.float32)


@pytest.mark.parametrize("place", ["value", "key", "whole", "in an array"])
def test_a_pickle_that_would_run_code_runs_nothing(place):
    whole = {
        "value": {"a": _Evil()},
        "key": {(_Evil(),): np.zeros(1)},
        "whole": _Evil(),
        "in an array": {"a": np.array([_Evil()], dtype=object)},
    }[place]
    with pytest.raises(FormatError, match="nothing was executed"):
        read_arrays(pickle.dumps(whole))
    assert not _Evil.ran


@pytest.mark.parametrize("whole", [[np.zeros(1)], {"a": 3}, {"a": np.array(["text"])}])
def test_only_dicts_of_float_arrays_are_taken(whole):
    with pytest.raises(FormatError):
        read_arrays(pickle.dumps(whole))


def test_every_truncation_is_told():
    data = pickle.dumps({"a": {"b": np.arange(3.0)}})
    assert list(read_arrays(data)) == ["a/b"]
    for end in range(len(data)):
        with pytest.raises(FormatError):
            read_arrays(data[:end])
