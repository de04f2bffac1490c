"""Layers within each frame, of frames whose channels are the last axis.

Axes: T frames, H and W positions, S = H·W, R = T·H·W, C input and E output channels,
G groups of c channels.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.acceleration.workspace import empty_as
from bitmill.bsq_model.layers.products import pieces, product


def conv_frames(x_THWC: Tensor, conv: nn.Module, *, pad: int = 0, stride: int = 1) -> Tensor:
    """Convolve in space by a layer whose weights are [E, C, k, k] or [E, C, 1, k, k]: [T, H, W, E]."""
    weight, bias = kernel(conv)
    if weight.shape[2] == 1:
        return product(x_THWC, weight[:, :, 0, 0], bias)
    y_TEHW = functional.conv2d(x_THWC.permute(0, 3, 1, 2), weight, bias, stride=stride, padding=pad)
    return y_TEHW.permute(0, 2, 3, 1).contiguous()


def kernel(conv: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return a convolution's weight, [E, C, k, k] of 1×k×k, and its bias."""
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    return (conv.weight[:, :, 0] if conv.weight.ndim == 5 else conv.weight), conv.bias


def halved_by_conv(x_THWC: Tensor, conv: nn.Module) -> Tensor:
    """Convolve 3×3 with stride 2 after a row and a column of zeros at the ends: [T, H/2, W/2, E]."""
    return conv_frames(functional.pad(x_THWC, (0, 0, 0, 1, 0, 1)), conv, stride=2)


def frame_with_border(like_HWC: Tensor, channels: int) -> Tensor:
    """Return memory [H + 2, W, ``channels``] whose first and last row are zeros."""
    height, width, _ = like_HWC.shape
    memory = empty_as(like_HWC, (height + 2, width, channels))
    memory[0] = 0
    memory[-1] = 0
    return memory


def convolved_bands(bordered_HWC: Tensor, conv: nn.Module) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of a frame and their 3×3 convolution [rows, W, E], band by band.

    So that what is done next with a band finds it in the cache, and no frame is in new memory.
    """
    weight, bias = kernel(conv)
    width = bordered_HWC.shape[1]
    # A band costs as much as its weights' rearrangement, which oneDNN does at each call, several times over.
    at_least = -(-weight.numel() // (width * len(weight)))
    for rows in pieces(len(bordered_HWC) - 2, bordered_HWC, width * len(weight) // 4, at_least=at_least):
        band_1CHW = bordered_HWC[rows.start : rows.stop + 2].permute(2, 0, 1)[None]
        yield rows, functional.conv2d(band_1CHW, weight, bias, padding=(0, 1))[0].permute(1, 2, 0)


def conv_of_doubled(x_THWC: Tensor, conv: nn.Module) -> Tensor:
    """Convolve 3×3, zeros around, each frame whose positions are repeated along both axes: [T, 2H, 2W, E].

    Two of three rows that a kernel reads are the same, and two of three columns: four 2×2 kernels, one for
    each parity of row and column, do it with 16 of 36 multiplications.
    """
    weight_EC33, bias = kernel(conv)
    num_frames, height, width, _ = x_THWC.shape
    doubled = empty_as(x_THWC, (num_frames, 2 * height, 2 * width, len(weight_EC33)))
    kernels = [
        (row, column, folded)
        for row, folded_rows in enumerate(_folded(weight_EC33, 2))
        for column, folded in enumerate(_folded(folded_rows, 3))
    ]
    for x_HWC, out_HWE in zip(x_THWC, doubled, strict=True):
        x_1CHW = x_HWC.permute(2, 0, 1)[None]
        for row, column, kernel_EC22 in kernels:
            y_EHW = functional.conv2d(x_1CHW, kernel_EC22, bias, padding=1)[0]
            out_HWE[row::2, column::2] = y_EHW[:, row : row + height, column : column + width].permute(
                1, 2, 0
            )
    return doubled


def _folded(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the kernels of even and of odd positions of a repeated axis."""
    first, middle, last = weight.unbind(axis)
    return torch.stack((first, middle + last), axis), torch.stack((first + middle, last), axis)


def normed_frames(norm: Callable[[Tensor], Tensor], x_THWC: Tensor, num_groups: int) -> Tensor:
    """Normalise each frame by a group norm over [T, C, H, W]: the same shape, in other memory."""
    # On CPU, torch subtracts squares for the variance where channels are last: a large mean would drown it.
    centred_THWC = x_THWC - _group_means(x_THWC, num_groups) if x_THWC.device.type == "cpu" else x_THWC
    return norm(centred_THWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


def _group_means(x_THWC: Tensor, num_groups: int) -> Tensor:
    """The mean over a frame of each channel's group, [T, 1, 1, C]."""
    means_TC = x_THWC.flatten(1, 2).mean(1)
    means_TGc = means_TC.unflatten(1, (num_groups, -1))
    return means_TGc.mean(2, keepdim=True).expand_as(means_TGc).reshape(len(means_TC), 1, 1, -1)


def attend_in_frames(q_THWC: Tensor, k_THWC: Tensor, v_THWC: Tensor) -> Tensor:
    """Attend from each position to all of its frame, with one head: [T, H, W, C]."""
    # T 1 S C
    q, k, v = (x.flatten(1, 2)[:, None] for x in (q_THWC, k_THWC, v_THWC))
    return functional.scaled_dot_product_attention(q, k, v)[:, 0].view(q_THWC.shape)


def joined(chunks: Iterator[Tensor], num_frames: int) -> Tensor:
    """Return a clip's chunks of frames, [n, ...] each, as one tensor of ``num_frames``.

    Each is copied as it comes: joined at the end, they would take the clip's memory twice.
    """
    first = next(chunks)
    clip = first.new_empty((num_frames, *first.shape[1:]))
    clip[: len(first)] = first
    at = len(first)
    for chunk in chunks:
        clip[at : at + len(chunk)] = chunk
        at += len(chunk)
    return clip
