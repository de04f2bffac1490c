"""The norm by which every level of the decoder is told of all of an image's tokens.

Axes: C channels, T = t = 1 image, H and W positions, h and w of the token grid, L bits of a code.
"""

from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.frames import normed_frames
from bitmill.schemas.errors import UsageError

_NUM_GROUPS, _EPS = 32, 1e-6


class AdaptiveNorm(nn.Module):
    """Normalises in 32 groups, then scales by how each bit varies over the image and shifts by its mean."""

    def __init__(self, num_bits: int, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Linear(num_bits, channels)
        self.beta = nn.Linear(num_bits, channels)

    def forward(self, x_THWC: Tensor, values_thwL: Tensor) -> Tensor:
        """Return [T, H, W, C]. Raises UsageError if there is one token only."""
        values_tsL = values_thwL.flatten(1, 2).float()
        if values_tsL.shape[1] == 1:
            raise UsageError(
                "open-magvit2 decodes no image of one token, whose bits have no variance; "
                "use frames of two tokens or more."
            )
        deviation_tL = (values_tsL.var(1) + _EPS).sqrt()
        scale_tC = self.gamma(deviation_tL.to(x_THWC.dtype))
        shift_tC = self.beta(values_tsL.mean(1).to(x_THWC.dtype))
        normed = normed_frames(lambda x: functional.group_norm(x, _NUM_GROUPS, eps=_EPS), x_THWC, _NUM_GROUPS)
        return normed * scale_tC[:, None, None] + shift_tC[:, None, None]
