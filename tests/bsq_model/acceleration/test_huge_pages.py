import copy
import errno
import gc
import mmap
import os
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bitmill.bsq_model import BSQTokenizer, tokenizer_files, tokenizer_from_files
from bitmill.bsq_model.acceleration.huge_pages import (
    copies_on_huge_pages,
    empty_on_huge_pages,
    put_on_huge_pages,
)
from bitmill.bsq_model.numerics import Numerics, set_numerics
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig
from tests.bsq_model.small import random_clip

MEBIBYTE = 1 << 20


def _huge_bytes_around(address: int) -> int | None:
    """Of the mapping that holds the address; null where nothing is mapped."""
    here = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            here = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif here and line.startswith("AnonHugePages"):
            return int(line.split()[1]) * 1024
    return None


def _kernel_gives_huge_pages() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and "[never]" not in setting.read_text(encoding="ascii")


@pytest.mark.skipif(not _kernel_gives_huge_pages(), reason="the kernel gives no huge pages")
def test_large_tensors_lie_on_huge_pages_until_the_last_is_gone() -> None:
    tensors = empty_on_huge_pages([torch.empty(16 * MEBIBYTE, device="meta") for _ in range(2)])
    middle = tensors[1].data_ptr()
    for number, tensor in enumerate(tensors):
        tensor.fill_(number)
    assert (_huge_bytes_around(middle) or 0) >= 2 * MEBIBYTE
    part = tensors.pop()[:3]
    del tensor
    tensors.clear()
    gc.collect()
    assert _huge_bytes_around(middle) is not None
    assert part.tolist() == [1, 1, 1]
    del part
    gc.collect()
    assert _huge_bytes_around(middle) is None


def test_tensors_beside_each_other_keep_shapes_dtypes_and_their_own_values() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "large": torch.randn(1024, 1024, generator=generator),
        "none": torch.empty(0, 5),
        "odd": torch.randn(3, 7, generator=generator).bfloat16(),
        "integers": torch.randint(-128, 128, (1000, 1001), generator=generator, dtype=torch.int8),
        "transposed": torch.randn(513, 1025, generator=generator).t(),
        "scalar": torch.tensor(2.5),
    }
    copies = copies_on_huge_pages(tensors)
    assert list(copies) == list(tensors)
    for name, tensor in tensors.items():
        assert copies[name].dtype == tensor.dtype
        assert torch.equal(copies[name], tensor)
        assert copies[name].is_contiguous()
        assert copies[name].data_ptr() % 64 == 0
        # As a file's writer demands: no tensor's storage holds another one.
        assert copies[name].untyped_storage().nbytes() == tensor.nbytes


def test_without_room_for_a_mapping_tensors_are_usual_ones(monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(mmap, "mmap", full)
    (tensor,) = empty_on_huge_pages([torch.empty(4 * MEBIBYTE, device="meta")])
    assert tensor.fill_(2).sum() == 8 * MEBIBYTE


@pytest.mark.slow
def test_a_moved_network_has_the_same_parameters_and_trains_on() -> None:
    network = nn.Sequential(nn.Linear(1024, 1024), nn.BatchNorm1d(1024))
    parameters, values = list(network.parameters()), copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(parameters, lr=1)
    with torch.inference_mode():
        put_on_huge_pages(network)
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert all(torch.equal(tensor, values[name]) for name, tensor in network.state_dict().items())
    network(torch.randn(4, 1024)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(network.state_dict()["0.weight"], values["0.weight"])


@pytest.mark.parametrize("numerics", ["float32", "bfloat16", "int8"])
def test_bits_and_weights_are_those_of_usual_memory(monkeypatch, numerics) -> None:
    on_huge_pages, bits = _tokenized(numerics)
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    on_usual_pages, usual_bits = _tokenized(numerics)
    assert on_huge_pages.fingerprint == on_usual_pages.fingerprint
    assert torch.equal(bits, usual_bits)


def _tokenized(numerics: Numerics) -> tuple[BSQTokenizer, Tensor]:
    """A tokenizer whose weights and intermediate results fill huge pages, out of its files."""
    sizes = TransformerConfig(width=256, layers=2, heads=4)
    config = TokenizerConfig(
        image_size_px=256, patch_size_px=8, bits_per_token=18, num_frames=2, encoder=sizes, decoder=sizes
    )
    files = tokenizer_files(untrained_tokenizer(config, seed=3))
    tokenizer = tokenizer_from_files(files["config.json"], files["model.safetensors"])
    set_numerics(tokenizer, numerics, "cpu")
    return tokenizer, tokenizer.encode([random_clip(2, config, seed=1)])[0]
