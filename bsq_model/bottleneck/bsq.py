"""Binary spherical quantization: real vectors to bits and back, without codebook or integer index.

Zhao, Xiong, Krähenbühl, *Image and Video Tokenization with Binary Spherical Quantization*, arXiv 2406.07548,
section 3. Axes: ``...`` any, L bits of a token.
"""

import torch
from torch import Tensor
from torch.nn import functional


def bits_of_latents(v_xL: Tensor) -> Tensor:
    """Return bits, ``v_k > 0``: bool of the same shape; zero gives False (the paper's sign(0) = −1).

    Bits are computed before normalisation, which cannot change a sign but can underflow. NaN gives False as
    well: callers that run unknown weights check for finite values first.
    """
    return v_xL > 0


def codes_of_bits(bits_xL: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the hypercube corner on the unit sphere: +1/√L for True, −1/√L for False."""
    corner = bits_xL.shape[-1] ** -0.5
    return torch.where(bits_xL, corner, -corner).to(dtype)


def normalise(v_xL: Tensor) -> Tensor:
    """Return ``u = v/‖v‖₂``, the latent on the unit sphere; a zero vector stays zero."""
    return functional.normalize(v_xL, dim=-1)


def quantize(v_xL: Tensor) -> Tensor:
    """Return ``û = sign(v/‖v‖)/√L`` in the dtype of ``v``, with the straight-through gradient of ``v/‖v‖``.

    The value is exactly that of ``codes_of_bits(bits_of_latents(v))``: the straight-through term
    ``u − u.detach()`` is exactly zero, or NaN if ``v`` is not finite, so that the loss shows it.
    """
    u_xL = normalise(v_xL)
    return codes_of_bits(bits_of_latents(v_xL), v_xL.dtype) + (u_xL - u_xL.detach())
