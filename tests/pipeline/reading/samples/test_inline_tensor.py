"""Small tensors that leave a worker inside the message: tensors there, plain tensors here."""

import pickle
from multiprocessing.reduction import ForkingPickler

import torch

from bitmill.pipeline.reading.samples.inline_tensor import InlineTensor, inline


def test_a_tensor_arrives_as_a_plain_one_with_its_values():
    flags = torch.tensor([True, False, True])
    arrived = pickle.loads(bytes(ForkingPickler.dumps(inline(flags))))
    assert type(arrived) is torch.Tensor
    assert torch.equal(arrived, flags)
    assert arrived.dtype == torch.bool


def test_it_is_the_same_memory_and_a_tensor_for_who_uses_it_before():
    flags = torch.tensor([True, False])
    sent = inline(flags)
    flags[1] = True
    assert isinstance(sent, InlineTensor)
    assert sent.all()
    assert (~sent).sum() == 0
