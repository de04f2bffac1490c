"""What is measured: a clip encoded or decoded by bitmill or by the peer, and the floor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.published.models import codes_of, grid_of
from benchmarks.published.peer import Peer
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer

Way = Callable[[], Any]


def make_way(who: str, what: str, tokenizer: PublishedTokenizer, clip_THWC: Tensor) -> Way:
    """ "bitmill" or "peer" that is to "encode" or "decode" a clip of this shape."""
    if what == "encode":
        if who == "peer":
            peer = Peer(tokenizer)
            return lambda: peer.encode(clip_THWC)
        return lambda: tokenizer.encode([clip_THWC])
    grid = grid_of(tokenizer.geometry, clip_THWC)
    codes = codes_of(tokenizer.geometry, grid)
    if who == "peer":
        peer = Peer(tokenizer)
        return lambda: peer.decode_pixels(codes, grid)
    if tokenizer.geometry.layout == "pyramid":
        return lambda: tokenizer.decode_pyramids([codes], [grid])
    return lambda: tokenizer.decode_pixels([codes])


class Convolutions:
    """The floor's rate: a 3×3 convolution of 256 channels, channels last, several times."""

    _TIMES, _CHANNELS, _SIDE = 4, 256, 128

    def __init__(self) -> None:
        shape = (1, self._CHANNELS, self._SIDE, self._SIDE)
        self._x = torch.randn(shape).to(memory_format=torch.channels_last)
        self._weight = torch.randn(self._CHANNELS, self._CHANNELS, 3, 3)
        self.operations = self._TIMES * 2 * 9 * self._CHANNELS**2 * self._SIDE**2

    @torch.inference_mode()
    def __call__(self) -> None:
        for _ in range(self._TIMES):
            functional.conv2d(self._x, self._weight, padding=1)
