"""Sets the dtype in which a tokenizer computes, by the names that jobs use."""

from typing import Literal

import torch

from bitmill.bsq_model.acceleration.huge_pages import put_on_huge_pages
from bitmill.bsq_model.acceleration.int8 import quantize_linear_layers
from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.contract import Tokenizer
from bitmill.schemas.errors import UsageError

Numerics = Literal["float32", "bfloat16", "int8"]


def set_numerics(tokenizer: Tokenizer, numerics: Numerics, device: str) -> None:
    """Move a float32 tokenizer to the device and convert it to compute in ``numerics``, in place.

    ``int8`` runs the linear layers of the encoder's blocks in integers (``acceleration.int8``) and all else
    in float32 on CPU, in bfloat16 elsewhere. The fingerprint stays that of the float32 weights; an int8
    tokenizer cannot be saved. Raises UsageError if the encoder has no linear layer that int8 supports.
    """
    if not isinstance(tokenizer, BSQTokenizer):
        if numerics == "int8":
            raise UsageError("dtype int8 is for BSQ-ViT; use float32 or bfloat16.")
        tokenizer.to(device=device, dtype=getattr(torch, numerics))
        return
    _cast(tokenizer, numerics, device)
    if device == "cpu" and numerics != "float32":
        put_on_huge_pages(tokenizer)


def _cast(tokenizer: BSQTokenizer, numerics: Numerics, device: str) -> None:
    if numerics != "int8":
        tokenizer.to(device=device, dtype=getattr(torch, numerics))
        return
    kept = tokenizer.fingerprint
    if not quantize_linear_layers(tokenizer.encoder.blocks):
        raise UsageError(
            "dtype int8 needs a ViT encoder with linear layers whose sizes are multiples of 8, and this "
            "tokenizer's encoder has none; use float32 or bfloat16."
        )
    tokenizer.to(device=device, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
    tokenizer.cast_from_fingerprint = kept
