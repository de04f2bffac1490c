"""A tokenizer under test: made anew, called, and with the shapes of the clips that it is tried on.

Axes: T frames, H and W pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bitmill.bsq_model.contract import Tokenizer, decode_clips
from bitmill.bsq_model.plugins import PluginTokenizer
from bitmill.schemas.errors import BrokenContractError, WrongArgumentError
from bitmill.schemas.models.geometry import Grid, SizePx

Make = Callable[[], Tokenizer]
"""Makes the tokenizer anew: the class, or a function that calls it with its options."""


class DoesNotApplyError(Exception):
    """The tokenizer has nothing that the check could look at."""


class Subject:
    """A tokenizer under test, with the shapes of its clips."""

    def __init__(
        self,
        make: Make,
        sizes: Sequence[SizePx] | None,
        lengths: Sequence[int] | None,
        other: Make | None,
    ) -> None:
        self._make = make
        self.other = other
        self.tokenizer = self.make()
        self.geometry = PluginTokenizer(self.tokenizer, name="under test", options={}, package=None).geometry
        self.sizes = list(sizes or self._small_sizes())
        self.lengths = sorted(lengths or self._short_lengths())
        for length in self.lengths:
            if not self.geometry.is_legal(length):
                raise WrongArgumentError(f"{length} frames are no length of clips that its geometry allows")
        for height, width in self.sizes:
            down, across = self.geometry.multiple_px
            if height % down or width % across or self.geometry.size_px not in (None, (height, width)):
                raise WrongArgumentError(f"{height}×{width} pixels are no size that its geometry allows")

    def make(self) -> Tokenizer:
        made = self._make()
        return made.inner if isinstance(made, PluginTokenizer) else made

    def clip(self, num_frames: int | None = None, size: SizePx | None = None, *, seed: int = 0) -> Tensor:
        """A clip of noise, uint8 [T, H, W, 3]; by default of the longest length and the first size."""
        shape = (num_frames or self.lengths[-1], *(size or self.sizes[0]), 3)
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    def encode(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return called(self.tokenizer.encode, clips, "encode")

    def codes_of(self, clip: Tensor) -> Tensor:
        return self.encode([clip])[0]

    def grid_of(self, clip_THWC: Tensor) -> Grid:
        """The (full) token grid of a clip."""
        num_frames, height, width = clip_THWC.shape[:3]
        return self.geometry.token_rows(num_frames), *self.geometry.grid(height, width)

    def frames_of(self, codes: Tensor, grid: Grid) -> Tensor:
        """A clip's codes, decoded."""
        return called(lambda given: decode_clips(self.tokenizer, given, [grid]), [codes], "decode")[0]

    def expect_same(self, codes: Tensor, expected: Tensor, what: str) -> None:
        if codes.shape != expected.shape:
            raise BrokenContractError(f"{what}: they are {list(codes.shape)}, not {list(expected.shape)}")
        if not torch.equal(codes, expected):
            row = int((codes != expected).flatten(1).any(1).nonzero()[0])
            raise BrokenContractError(f"{what}; the first difference is in row {row}")

    def _small_sizes(self) -> list[SizePx]:
        geometry = self.geometry
        down, across = geometry.multiple_px
        if geometry.size_px is not None:
            return [geometry.size_px]
        if geometry.schedules is not None:
            grids = [tuple(map(int, name.split("x"))) for name in geometry.schedules]
            return [(height * geometry.patch_px[0], width * geometry.patch_px[1]) for height, width in grids]
        return [(2 * down, 2 * across), (down, 3 * across), (3 * down, across)]

    def _short_lengths(self) -> Iterator[int]:
        length: int | None = self.geometry.least_frames
        for _ in range(3):
            if length is not None:
                yield length
                length = self.geometry.legal_at_least(length + 1)


def called(call: Callable[[Sequence[Tensor]], Any], given: Sequence[Tensor], name: str) -> list[Tensor]:
    with torch.inference_mode():
        # Copies, so that what a call may do to its input is seen where it is looked for.
        found: Any = call([one.clone() for one in given])
    if not isinstance(found, list) or [type(one) for one in found] != [Tensor] * len(given):
        raise BrokenContractError(f"{name} did not return a list of {len(given)} tensors")
    return [one.cpu() for one in found]


def weights_of(tokenizer: Tokenizer) -> list[Tensor]:
    """Its float weights, where it is a torch module or has modules as attributes."""
    found: list[Any] = [tokenizer, *getattr(tokenizer, "__dict__", {}).values()]
    modules = [one for one in found if isinstance(one, nn.Module)]
    named = {id(weight): weight for module in modules for weight in module.parameters()}
    weights: list[Tensor] = [
        weight for weight in named.values() if weight.is_floating_point() and weight.numel()
    ]
    if not weights:
        raise DoesNotApplyError
    return weights
