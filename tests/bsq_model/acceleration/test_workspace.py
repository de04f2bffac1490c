import copy
import pickle
from threading import Barrier, Thread

import torch
from torch import nn

from bitmill.bsq_model import make_preset
from bitmill.bsq_model.acceleration.workspace import TanhInPlace, Workspace, Workspaces, linear_into
from tests.bsq_model.small import random_clip


def test_a_use_keeps_its_memory_until_another_shape_asks() -> None:
    room, like = Workspace(), torch.zeros(3, 5)
    first = room.take("hidden", like, 4)
    assert first.shape == (3, 4)
    assert room.take("hidden", like, 4) is first
    assert room.take("other", like, 4) is not first
    assert room.take("hidden", like.double(), 4).dtype == torch.float64
    assert room.take("hidden", like[:2], 4).shape == (2, 4)


def test_a_layer_gives_the_same_bits_into_memory_that_is_there() -> None:
    layer, x = nn.Linear(48, 33), torch.randn(17, 48)
    with torch.inference_mode():
        assert torch.equal(linear_into(layer, x, torch.full((17, 33), torch.nan)), layer(x))


def test_tanh_leaves_its_argument_where_a_gradient_needs_it() -> None:
    x = torch.randn(5, requires_grad=True)
    y = x * 1
    TanhInPlace()(y).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 1 - torch.tanh(x.detach()) ** 2)


def test_threads_that_share_a_tokenizer_get_the_bits_of_each_alone() -> None:
    tokenizer = make_preset("tiny")
    clips = [random_clip(4, tokenizer.config, seed) for seed in range(4)]
    alone = [tokenizer.latents([clip])[0] for clip in clips]
    together: list[list[torch.Tensor]] = [[] for _ in clips]
    begin = Barrier(len(clips))

    def encode(k: int) -> None:
        begin.wait()
        together[k] += [tokenizer.latents([clips[k]])[0] for _ in range(5)]

    threads = [Thread(target=encode, args=(k,)) for k in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, found in zip(alone, together, strict=True):
        assert len(found) == 5
        assert all(torch.equal(expected, v) for v in found)


def test_copies_of_a_network_start_without_its_memory() -> None:
    workspaces = Workspaces()
    with workspaces.one() as room:
        kept = room.take("hidden", torch.zeros(2, 2), 1000)
    for copied in (copy.deepcopy(workspaces), pickle.loads(pickle.dumps(workspaces))):
        with copied.one() as other:
            assert other is not room
            assert other.take("hidden", torch.zeros(2, 2), 1000) is not kept
