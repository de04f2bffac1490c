"""Encodes a long clip of random pixels, then decodes it, and tells peak memory after each part of it.

python -m tests.bsq_model.published.long_clip 1.1 480x864 5 15 40
"""

import json
import resource
import sys

import torch
from torch import Tensor

from bitmill.bsq_model.published.stream import decoded_chunks
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.models.vidtok_config import VidTokConfig

_FPS = 24


def main() -> None:
    """Of a clip whose parts have so many seconds."""
    version, size, *seconds = sys.argv[1:]
    height, width = map(int, size.split("x"))
    torch.set_num_threads(1)
    small = {"channels": 2, "channel_multipliers": (1, 1, 1, 1), "num_res_blocks": 1, "levels": (8, 8)}
    config = VidTokConfig.model_validate({"version": version, **small})
    tokenizer, step = PublishedTokenizer(config), config.frames_per_token
    parts = [int(part) * _FPS // step for part in seconds]
    stream = tokenizer.stream_encoder()
    digits = [stream.push(torch.zeros(1, height, width, 3, dtype=torch.uint8))]
    for part, num_rows in zip(seconds, parts, strict=True):
        digits += [stream.push(_noise(step, height, width)) for _ in range(num_rows)]
        _tell("encoding", part)
    del stream
    with torch.inference_mode():
        chunks = decoded_chunks(tokenizer.steps, tokenizer.quantizer, torch.cat(digits))
        next(chunks)
        for part, num_rows in zip(seconds, parts, strict=True):
            for _ in range(num_rows):
                next(chunks)
            _tell("decoding", part)


def _noise(num_frames: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8)


def _tell(what: str, seconds: str) -> None:
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"what": what, "seconds": seconds, "peak_mib": peak_mib}), flush=True)


if __name__ == "__main__":
    main()
