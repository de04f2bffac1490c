"""Encodes a long clip of random pixels, then decodes it, and tells peak memory after each part of it.

    python -m tests.bsq_model.published.long_clip vidtok-v11 480x864 5 15 40
    python -m tests.bsq_model.published.long_clip emu3 480x864 5 15 40

Tokenizers whose clips have an end, those of images and Cosmos DV, are refused.
"""

import argparse
import json
import resource
import time

import torch
from torch import Tensor

from bitmill.bsq_model.published.stream import decoded_chunks
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.vidtok_config import VidTokConfig
from tests.bsq_model.published.golden import CONFIGS, config_of

_FPS = 24
_VIDTOK = {"channels": 2, "channel_multipliers": (1, 1, 1, 1), "num_res_blocks": 1, "levels": (8, 8)}
_SMALL: dict[str, PublishedConfig] = {
    "vidtok-v10": VidTokConfig(version="1.0", **_VIDTOK),
    "vidtok-v11": VidTokConfig(version="1.1", **_VIDTOK),
    "emu3": Emu3Config(
        channels=32, channel_multipliers=(1,) * 4, num_res_blocks=1, attention_levels=(), codebook_size=512
    ),
}
"""Of 8×8 pixels a token, quick to compute."""


def main() -> None:
    """Of a clip whose parts have so many seconds."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bsq_model.published.long_clip",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", choices=[*CONFIGS, "infinity"], help="a golden case's family, at a small size"
    )
    parser.add_argument("size", help="height x width")
    parser.add_argument("seconds", nargs="+", type=int, help="of each part of the clip, 24 frames a second")
    asked = parser.parse_args()
    geometry = (_SMALL.get(asked.model) or config_of(asked.model)).geometry
    if geometry.most_frames is not None:
        parser.error(f"{asked.model} has no long clips: most_frames is {geometry.most_frames}")
    height, width = map(int, asked.size.split("x"))
    torch.set_num_threads(1)
    tokenizer, step = PublishedTokenizer(_SMALL[asked.model]), geometry.frames_per_token
    parts = [(seconds, seconds * _FPS // step) for seconds in asked.seconds]
    stream = tokenizer.stream_encoder()
    codes = [stream.push(torch.zeros(geometry.least_frames, height, width, 3, dtype=torch.uint8))]
    for seconds, num_rows in parts:
        codes += [stream.push(_noise(step, height, width)) for _ in range(num_rows)]
        _tell("encoding", seconds)
    del stream
    with torch.inference_mode():
        chunks = decoded_chunks(tokenizer.steps, tokenizer.quantizer, torch.cat(codes))
        next(chunks)
        for seconds, num_rows in parts:
            for _ in range(num_rows):
                next(chunks)
            _tell("decoding", seconds)


def _noise(num_frames: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8)


def _tell(what: str, seconds: int) -> None:
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"what": what, "seconds": seconds, "peak_mib": peak_mib, "cpu_s": time.process_time()}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
