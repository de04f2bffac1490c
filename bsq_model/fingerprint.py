"""The tokenizer's fingerprint: a hash of its config and its float32 weights."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from bitmill.schemas.errors import UsageError
from bitmill.schemas.ids import canonical_json

if TYPE_CHECKING:
    from torch import Tensor, nn


class Digest(Protocol):
    """An incremental hash, as hashlib returns it."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes to the hash."""
        ...


def weights_fingerprint(config: BaseModel, weights: "Mapping[str, Tensor | npt.NDArray[Any]]") -> str:
    """Return 32 hex digits, 128 bits of SHA-256 over the config's canonical JSON and all tensors by name.

    Each tensor contributes its name, dtype, shape and little-endian bytes, but not its device.
    """
    digest = hashlib.sha256(b"bsq-tokenizer\n" + canonical_json(config.model_dump(mode="json")).encode())
    update_with_weights(digest, weights)
    return digest.hexdigest()[:32]


def update_with_weights(digest: Digest, weights: "Mapping[str, Tensor | npt.NDArray[Any]]") -> None:
    """Add every tensor in name order: name, dtype, shape and little-endian bytes."""
    for name in sorted(weights):
        tensor = weights[name]
        head = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        digest.update(b"\n" + canonical_json(head).encode() + b"\n")
        # torch runs on little-endian machines only; safetensors and the token shards assume the same.
        digest.update(_bytes(tensor).data)


def _bytes(tensor: "Tensor | npt.NDArray[Any]") -> npt.NDArray[np.uint8]:
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
    # Imported where there is a tensor: an array needs no torch.
    import torch

    return tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy()


def float32_weights(module: "nn.Module") -> "dict[str, Tensor]":
    """Return a module's tensors on CPU. Raises UsageError if any is not float32."""
    weights: dict[str, Tensor] = {name: tensor.cpu() for name, tensor in module.state_dict().items()}
    cast = sorted({str(t.dtype) for t in weights.values()} - {"torch.float32"})
    if cast:
        raise UsageError(
            f"the tokenizer's weights are {', '.join(cast)}, not float32; save it, or take its fingerprint, "
            "before you cast it"
        )
    return weights
