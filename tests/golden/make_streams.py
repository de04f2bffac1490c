"""Made the golden compressed streams of each format version; run again only for a new one, into a new folder.

python -m tests.golden.make_streams bmz3
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bitmill.pipeline.compressing.clip_streams import LoadedPrior, StreamClip, compress_clips
from bitmill.pipeline.compressing.shard_streams import compress_shard, read_shard
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.stream.stream_header import PriorMark, StreamHeader, StreamKind
from tests.support.priors import given_model

TOKENIZER = "0123456789abcdef" * 2
CLIPS = [np.random.default_rng(seed).random((2 - seed, 2, 3, 6)) < 0.3 for seed in (0, 1)]
HEADER = StreamHeader(
    kind=StreamKind.PICTURES,
    tokenizer_fingerprint=TOKENIZER,
    geometry=Geometry(patch_px=(8, 8), code=Code.of_bits(6)),
    group_bits=1,
    lanes=2,
    prior=None,
    fps=12.5,
    source_height=480,
    source_width=640,
)


def fixed_prior() -> LoadedPrior:
    """Logits that stand written here: no arithmetic of a machine is in them."""
    logits = torch.arange(24 * 2 * 8).reshape(24, 2, 8).mul(7).remainder(23).div(4).float()
    return LoadedPrior(
        model=given_model(3, logits),
        mark=PriorMark(fingerprint="fedcba9876543210" * 2, numerics="none"),
        tokenizer_fingerprint=TOKENIZER,
    )


def shard_stream(name: str) -> bytes:
    """A golden token shard, under a tokenizer's name that is one."""
    with (Path(__file__).parent / name).open("rb") as file:
        shard = read_shard(file, origin=name)
    fields = shard.metadata.model_dump() | {"tokenizer_fingerprint": TOKENIZER}
    named = type(shard)(metadata=ShardMetadata.model_validate(fields), rows=shard.rows)
    return compress_shard(named, None, 4, origin=name)


def _clips_1() -> list[StreamClip]:
    return [StreamClip(codes=bits, shape_thw=(len(bits), 2, 3), num_frames=len(bits)) for bits in CLIPS]


GEOMETRIES = {
    "digits": Geometry(
        patch_px=(8, 16), frames_per_token=4, lead_frames=1, size_px=(16, 48), code=Code.of_digits((8, 5, 3))
    ),
    "index": Geometry(patch_px=(8, 8), code=Code.of_index(5000)),
    "bits": Geometry(patch_px=(8, 8), code=Code.of_bits(72, "least")),
    "pyramid": Geometry(
        layout="pyramid", patch_px=(8, 8), code=Code.of_index(64), schedules={"2x3": ((1, 1, 2), (1, 2, 3))}
    ),
}
"""Of the streams of versions 2 and 3."""


def codes_of(geometry: Geometry, num_rows: int) -> npt.NDArray[np.int64]:
    """Codes [t, 2, 3, D], of a pyramid [N, D]: no generator of random numbers is in them."""
    shape = (num_rows, 2, 3)
    tokens = shape if geometry.layout == "grid" else (geometry.num_tokens(shape),)
    count = np.arange(int(np.prod(tokens)) * geometry.code.dimensions).reshape(*tokens, -1)
    return count * count * 7919 % np.array(geometry.code.bases)


def _clips_3(geometry: Geometry) -> list[StreamClip]:
    all_rows = (3, 1) if geometry.layout == "grid" else (1, 1)
    dtype = np.bool_ if geometry.code.kind == "bits" else np.int64
    return [
        StreamClip(
            codes=codes_of(geometry, rows).astype(dtype),
            shape_thw=(rows, 2, 3),
            num_frames=max(1, geometry.frames_of_rows(rows) - 1),
        )
        for rows in all_rows
    ]


def streams_1() -> dict[str, bytes]:
    """Every golden stream of version 1 by its file's name."""
    return {
        "counts.bmz": compress_clips(HEADER, _clips_1(), None),
        "prior.bmz": compress_clips(HEADER, _clips_1(), fixed_prior()),
        "shard.bmz": shard_stream("v3/shard.parquet"),
    }


def streams_3() -> dict[str, bytes]:
    """Every golden stream of version 3 by its file's name."""
    return {
        **{
            f"{name}.bmz": compress_clips(replace(HEADER, geometry=geometry), _clips_3(geometry), None)
            for name, geometry in GEOMETRIES.items()
        },
        "shard.bmz": shard_stream("v5/shard.parquet"),
        "digits-shard.bmz": shard_stream("v5/digits.parquet"),
    }


def main() -> None:
    """Write the folder of the newest version."""
    folder = Path(__file__).parent / sys.argv[1]
    folder.mkdir()
    for name, data in streams_3().items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
