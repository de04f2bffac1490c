"""Made the golden compressed streams of format version 1; run again only for a new one, into a new folder.

python -m tests.golden.make_streams bmz1
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from bitmill.pipeline.compressing.clip_streams import LoadedPrior, compress_clips
from bitmill.pipeline.compressing.shard_streams import compress_shard, read_shard
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.stream.stream_header import PriorMark, StreamHeader, StreamKind
from tests.support.priors import given_model

TOKENIZER = "0123456789abcdef" * 2
CLIPS = [np.random.default_rng(seed).random((2 - seed, 2, 3, 6)) < 0.3 for seed in (0, 1)]
HEADER = StreamHeader(
    kind=StreamKind.PICTURES,
    tokenizer_fingerprint=TOKENIZER,
    bits_per_token=6,
    patch_size_px=8,
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


def shard_stream() -> bytes:
    """The token shard of format version 3, under a tokenizer's name that is one."""
    with (Path(__file__).parent / "v3" / "shard.parquet").open("rb") as file:
        shard = read_shard(file, origin="v3")
    fields = shard.metadata.model_dump() | {"tokenizer_fingerprint": TOKENIZER}
    named = type(shard)(metadata=ShardMetadata.model_validate(fields), rows=shard.rows)
    return compress_shard(named, None, 4, origin="v3")


def streams() -> dict[str, bytes]:
    """Every golden stream by its file's name."""
    return {
        "counts.bmz": compress_clips(HEADER, CLIPS, None),
        "prior.bmz": compress_clips(HEADER, CLIPS, fixed_prior()),
        "shard.bmz": shard_stream(),
    }


def main() -> None:
    """Write the folder."""
    folder = Path(__file__).parent / sys.argv[1]
    folder.mkdir()
    for name, data in streams().items():
        (folder / name).write_bytes(data)
    clips = [
        ["".join("01"[bit] for bit in token) for token in clip.reshape(-1, 6).tolist()] for clip in CLIPS
    ]
    (folder / "expected.json").write_text(json.dumps({"clips": clips}, indent=1) + "\n")


if __name__ == "__main__":
    main()
