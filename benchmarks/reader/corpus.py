"""The tokens that every contender stores and gives back: random 18-bit codes, the same for the same seed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

SHAPE_THW = (16, 16, 16)
TOKENS_PER_CLIP = 16 * 16 * 16
BITS_PER_TOKEN = 18
_SEED = 18
_BLOCK_CLIPS = 1024
_MIX_SEED = 4096

Tokens = npt.NDArray[np.uint32]
"""uint32 [N, T·h·w] in [0, 2^18), memory-mapped."""


def make_corpus(path: Path, num_clips: int) -> Tokens:
    """Write the tokens of ``num_clips`` clips as one array, unless they are there; gives them mapped."""
    if not path.exists() or path.stat().st_size != num_clips * TOKENS_PER_CLIP * 4:
        generator = np.random.default_rng(_SEED)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".part")
        with staged.open("wb") as file:
            for first in range(0, num_clips, _BLOCK_CLIPS):
                shape = (min(_BLOCK_CLIPS, num_clips - first), TOKENS_PER_CLIP)
                file.write(generator.integers(0, 1 << BITS_PER_TOKEN, shape, dtype=np.uint32).tobytes())
        staged.rename(path)
    return open_corpus(path)


def open_corpus(path: Path) -> Tokens:
    """The tokens as an array, mapped."""
    return np.memmap(path, dtype=np.uint32, mode="r").reshape(-1, TOKENS_PER_CLIP)


def corpus_marks(tokens_NK: Tokens) -> npt.NDArray[np.uint64]:
    """One mark a clip, uint64 [N], in order: what ``batch_marks`` gives for the clips as batches."""
    blocks = range(0, len(tokens_NK), _BLOCK_CLIPS)
    return np.concatenate([_marks(tokens_NK[first : first + _BLOCK_CLIPS]) for first in blocks])


def batch_marks(tokens_BTHW: torch.Tensor) -> npt.NDArray[np.uint64]:
    """Marks of a batch, uint64 [B]. Raises TypeError where it is not what a training loop takes."""
    if tokens_BTHW.dtype != torch.int64 or tuple(tokens_BTHW.shape[1:]) != SHAPE_THW:
        raise TypeError(f"a batch is int64 [B, 16, 16, 16], not {tokens_BTHW.dtype} {tokens_BTHW.shape}")
    return _marks(tokens_BTHW.reshape(len(tokens_BTHW), -1).numpy())


def _marks(tokens_NK: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """A sum of tokens with random weights modulo 2^64: a token changed or moved changes it."""
    weights_K = np.random.default_rng(_MIX_SEED).integers(0, 1 << 64, TOKENS_PER_CLIP, dtype=np.uint64)
    return (tokens_NK.astype(np.uint64) * weights_K).sum(axis=1, dtype=np.uint64)
