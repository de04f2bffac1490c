"""What a layer sees of other rows (or frames) of the same clip, whole or as it arrives.

Axes: n rows of a clip, or of all clips one after the other, H and W positions, C channels.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

_REACH = 2


class Neighbours(Protocol):
    """Gives each row its two neighbours in time."""

    def of(self, layer: nn.Module, x_nHWC: Tensor) -> Tensor | None:
        """Return [n, H, W, 2·C]: of each row the two that ``layer`` sees beside it; zeros beyond the clip.

        None if all of it is zeros.
        """
        ...


class WholeClips:
    """Of clips of one length, one after the other; differentiable."""

    def __init__(self, num_clips: int, *, is_causal: bool) -> None:
        self._num_clips = num_clips
        self._after = 0 if is_causal else 1

    def of(self, layer: nn.Module, x_nHWC: Tensor) -> Tensor | None:
        """See ``Neighbours``: the two rows before, or one before and one after."""
        del layer
        x_BTHWC = x_nHWC.unflatten(0, (self._num_clips, -1))
        num_rows = x_BTHWC.shape[1]
        if num_rows == 1:
            return None
        around = functional.pad(x_BTHWC, (0, 0) * 3 + (_REACH - self._after, self._after))
        both = around[:, :num_rows], around[:, -num_rows:] if self._after else around[:, 1 : num_rows + 1]
        return torch.cat(both, dim=-1).flatten(0, 1)


class ArrivingClip:
    """Of one clip whose rows arrive in order: each layer's last rows are kept."""

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}

    @property
    def is_start(self) -> bool:
        """Whether no row has arrived."""
        return not self._kept

    def of(self, layer: nn.Module, x_nHWC: Tensor) -> Tensor | None:
        """See ``Neighbours``: the two rows before."""
        before = self._kept.get(layer)
        is_lone = before is None and len(x_nHWC) == 1
        if before is None:
            before = x_nHWC.new_zeros((_REACH, *x_nHWC.shape[1:]))
        whole = torch.cat((before, x_nHWC))
        self._kept[layer] = whole[-_REACH:].clone()
        return None if is_lone else torch.cat((whole[:-_REACH], whole[1:-1]), dim=-1)
