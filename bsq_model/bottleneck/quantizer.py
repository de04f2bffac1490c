"""Binary spherical quantization: real vectors to bits and back; no codebook and no integer index here.

Zhao, Xiong, Krähenbühl, *Image and Video Tokenization with Binary Spherical Quantization*,
arXiv 2406.07548, section 3. Axes: ``...`` any, L bits of a token.
"""

import torch
from torch import Tensor
from torch.nn import functional


def bits_of_latents(v_xL: Tensor) -> Tensor:
    """Bit k of a token is ``v_k > 0``: bool of the same shape; zero gives False (the paper's sign(0) = −1).

    The bits are taken before normalisation, which cannot change a sign but can underflow. NaN would give
    False as well: callers that meet foreign weights check for finite values first.
    """
    return v_xL > 0


def codes_of_bits(bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
    """The corner of the cube on the unit sphere that the bits name: +1/√L for True, −1/√L for False."""
    corner = bits_xL.shape[-1] ** -0.5
    return torch.where(bits_xL, corner, -corner).to(dtype)


def normalise(v_xL: Tensor) -> Tensor:
    """``u = v/‖v‖₂``: the latent on the unit sphere; a zero vector stays zero."""
    return functional.normalize(v_xL, dim=-1)


def quantize(v_xL: Tensor) -> Tensor:
    """``û = sign(v/‖v‖)/√L`` in the dtype of ``v``; the gradient of ``u = v/‖v‖`` passes straight through.

    The value is exactly that of ``codes_of_bits(bits_of_latents(v))``: the straight-through term
    ``u − u.detach()`` is a true zero, and NaN where ``v`` is not finite, so that a loss shows it.
    """
    u_xL = normalise(v_xL)
    return codes_of_bits(bits_of_latents(v_xL), v_xL.dtype) + (u_xL - u_xL.detach())
