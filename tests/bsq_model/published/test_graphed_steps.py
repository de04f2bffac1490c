"""Steps that are recorded and replayed do what the plain ones do; on CPU, by a recording that runs anew."""

import copy

import pytest
import torch
from torch import Tensor

from bitmill.bsq_model.acceleration.graphs import CudaGraphs
from bitmill.bsq_model.published.graphed_steps import Steps
from tests.bsq_model.published.golden import golden


class Rerun:
    """Like a CUDA graph: reads and writes memory of its own, always the same."""

    made: list[str]
    replays: int

    def __init__(self, infer, tensors, reads) -> None:
        self._infer, self._inputs = infer, [tensor.clone() for tensor in tensors]
        Rerun.made.append("×".join(map(str, tensors[0].shape)))
        infer(self._inputs)

    def replay(self, tensors) -> list[Tensor]:
        Rerun.replays += 1
        for kept, tensor in zip(self._inputs, tensors, strict=True):
            kept.copy_(tensor)
        return [output.clone() for output in self._infer(self._inputs)]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Rerun.made, Rerun.replays = [], 0


def _recorded(name: str):
    tokenizer = copy.deepcopy(golden(name))
    tokenizer.steps = Steps(
        tokenizer.config, tokenizer.network, graphs=CudaGraphs(Rerun), recorded_on=tokenizer.device.type
    )
    return tokenizer


def _noise(num_frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", ["vidtok-v10", "vidtok-v11"])
def test_replayed_steps_give_the_codes_and_pixels_of_plain_ones(name):
    tokenizer, plain = _recorded(name), golden(name)
    clips = [_noise(17, 16, 24, seed=seed) for seed in range(3)]
    codes = tokenizer.encode(clips)
    assert all(map(torch.equal, codes, plain.encode(clips)))
    # The first clip's lead frame and first row run plainly; what repeats them is recorded.
    assert (Rerun.made, Rerun.replays) == (["4×16×24×3", "1×16×24×3"], 3 + 5 + 5)
    assert all(map(torch.equal, tokenizer.decode_pixels(codes), plain.decode_pixels(codes)))
    assert len(Rerun.made) > 4


def test_streams_that_take_turns_keep_their_pasts():
    tokenizer, plain = _recorded("vidtok-v11"), golden("vidtok-v11")
    clips = [_noise(13, 16, 16, seed=seed) for seed in range(3)]
    streams, found = [tokenizer.stream_encoder() for _ in clips], [list[Tensor]() for _ in clips]
    for start, end in ((0, 1), (1, 5), (5, 13)):
        for stream, clip, parts in zip(streams, clips, found, strict=True):
            parts.append(stream.push(clip[start:end]))
    assert Rerun.replays > 5
    for parts, codes in zip(found, plain.encode(clips), strict=True):
        assert torch.equal(torch.cat(parts), codes)


def test_other_sizes_are_recorded_apart_and_few_are_kept():
    tokenizer, plain = _recorded("vidtok-v10"), golden("vidtok-v10")
    clips = [_noise(1, 8, 8 * width) for width in range(1, 11) for _ in range(2)]
    assert all(map(torch.equal, tokenizer.encode(clips), plain.encode(clips)))
    assert len(set(Rerun.made)) == 10
    tokenizer.encode(clips[:2])
    assert Rerun.made.count("1×8×8×3") == 2


def test_nothing_is_recorded_of_large_frames_nor_of_attention_to_all_rows():
    large, cosmos = _recorded("vidtok-v10"), _recorded("cosmos-dv4x8x8")
    large.encode([_noise(1, 8, 8 * 1032)] * 3)
    cosmos.encode([_noise(9, 16, 16)] * 3)
    assert Rerun.made == []


def test_images_of_one_size_are_recorded():
    images = [_noise(1, 16, 24, seed=seed) for seed in range(3)]
    codes = _recorded("cosmos-di8x8").encode(images)
    assert all(map(torch.equal, codes, golden("cosmos-di8x8").encode(images)))
    assert Rerun.made == ["1×16×24×3"]


def test_weights_in_other_memory_are_recorded_anew():
    tokenizer, clip = _recorded("vidtok-v10"), _noise(1, 8, 8)
    codes = tokenizer.encode([clip] * 3)
    tokenizer.to(device="cpu", dtype=torch.bfloat16)
    tokenizer.to(device="cpu", dtype=torch.float32)
    assert torch.equal(tokenizer.encode([clip] * 2)[1], codes[0])
    assert len(Rerun.made) == 2
