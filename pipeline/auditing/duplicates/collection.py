"""All compared clips in one order on disk: signatures, with their words in a separate file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.duplicates.signatures import DuplicateSignatures, Signatures, shape_of
from bitmill.pipeline.auditing.duplicates.stored_clips import ClipAddress
from bitmill.schemas.arrays import Int64s

_CHUNK_CLIPS = 1 << 14


class ClipCollection:
    """Clips of several datasets, numbered consecutively across datasets; read from memory-mapped files."""

    def __init__(self, folder: Path, datasets: Sequence[DuplicateSignatures]) -> None:
        """Writes two files into ``folder``, which must exist as long as this object."""
        self.bits_per_token = datasets[0].bits_per_token
        self.firsts: Int64s = np.cumsum([0, *(dataset.num_clips for dataset in datasets)])
        """int64 [datasets + 1]: the number of each dataset's first clip, then the number of all clips."""
        whole = datasets[0].record_type
        names = [name for name in whole.names or () if name != "words"]
        own = np.dtype([(name, whole[name]) for name in names])
        with (folder / "clips").open("wb") as clips_file, (folder / "words").open("wb") as words_file:
            for chunk in (chunk for dataset in datasets for chunk in dataset.chunks()):
                kept = np.empty(len(chunk), own)
                for name in names:
                    kept[name] = chunk[name]
                clips_file.write(kept.data)
                words_file.write(np.ascontiguousarray(chunk["words"]).data)
        self.clips: Signatures = _mapped(folder / "clips", own, (len(self),))
        """[n], without the words."""
        self.words_nW: npt.NDArray[np.uint32] = _mapped(
            folder / "words", np.dtype(np.uint32), (len(self), whole["words"].shape[0])
        )

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def spans(self) -> Iterator[slice]:
        """Yield slices that cover all clips in batches."""
        for first in range(0, len(self), _CHUNK_CLIPS):
            yield slice(first, min(first + _CHUNK_CLIPS, len(self)))

    def num_bits(self, number: int) -> int:
        """Number of bits in a clip's codes."""
        return int(self.clips["tokens"][number]) * self.bits_per_token

    def address(self, number: int) -> ClipAddress:
        """The location of a clip's codes."""
        clip = self.clips[number]
        return ClipAddress(
            dataset=int(np.searchsorted(self.firsts, number, side="right")) - 1,
            shard=int(clip["shard"]),
            group=int(clip["group"]),
            row=int(clip["row"]),
            start=int(clip["start"]),
            num_bytes=(self.num_bits(number) + 7) // 8,
            shape=shape_of(clip["shape"]),
            digest=clip["digest"].tobytes(),
        )


def _mapped(path: Path, record: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if not shape[0]:
        # An empty file cannot be mapped.
        return np.empty(shape, record)
    return np.memmap(path, record, "r", shape=shape).view(np.ndarray)
