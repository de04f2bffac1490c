"""What a contender is, and which there are. A new one is a class in a module of its own, and a line here."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Protocol

import torch


class ImpossibleError(Exception):
    """A contender has no such way of reading, by its design."""


class Contender(Protocol):
    """A way to store tokens, and a reader opened over them.

    Batches are int64 [B, 16, 16, 16], which is what an embedding or a loss takes: who stores fewer bits or
    bytes makes them so. The last batch of an epoch, or of a file, may be smaller.
    """

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """What must be importable, beyond bitmill's own dependencies."""
    no_s3: ClassVar[str | None]
    """Why it is not read from S3 here; null where it is."""

    @staticmethod
    def write(corpus: Path, folder: Path) -> None:
        """Store all clips of ``corpus`` below ``folder``, which is there and empty."""
        ...

    @staticmethod
    def stored_bytes(folder: Path) -> int:
        """Bytes on disk that hold the clips."""
        ...

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:
        """Open the folder at ``uri``; ``cache`` is an empty local folder for copies of remote files."""
        ...

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        """One epoch, in this process; in the stored order, or in one that differs from epoch to epoch."""
        ...

    def clip(self, number: int) -> torch.Tensor:
        """One clip by its number in the stored order, int64 [16, 16, 16]. Raises ImpossibleError."""
        ...

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        """One shuffled epoch through two DataLoader workers."""
        ...


CONTENDERS = {
    "ours": "benchmarks.reader.ours:Ours",
    "parquet": "benchmarks.reader.plain_parquet:PlainParquet",
    "uint32": "benchmarks.reader.memory_maps:Uint32Map",
    "packed": "benchmarks.reader.memory_maps:PackedMap",
    "litdata": "benchmarks.reader.litdata_chunks:LitdataChunks",
    "litdata-mixed": "benchmarks.reader.litdata_chunks:LitdataMixed",
    "mds": "benchmarks.reader.mosaic_shards:MosaicShards",
    "webdataset": "benchmarks.reader.webdataset_tars:WebdatasetTars",
}
"""By the name of the command line; the first is what the others are compared with."""


def load_contender(name: str) -> type[Contender]:
    """The class of a contender."""
    module, _, attribute = CONTENDERS[name].partition(":")
    return getattr(import_module(module), attribute)


def missing_packages(contender: type[Contender]) -> list[str]:
    """What would have to be installed first."""
    return [package for package in contender.packages if find_spec(package) is None]


def folder_bytes(folder: Path) -> int:
    """Sizes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
