"""Tokens a second through the coder, in and out, with clips side by side: 1, 8, 32.

    python -m benchmarks.compression.speed --tokenizer small-1 --photos small-data/photos/held-out

Tokenizing is not in the times. Rounds alternate between the numbers of lanes, and the median counts.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.compression.media import load_items
from benchmarks.machine import describe, sentence
from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.coding.clip_codec import decode_clips, encode_clips
from bitmill.bsq_model.coding.order0 import order0_model
from bitmill.bsq_model.coding.prior_numerics import one_thread
from bitmill.bsq_model.coding.symbol_model import CodingModel
from bitmill.jobs.preparation.models.find_token_models import find_prior, load_prior
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec
from bitmill.schemas.dataset.packing import Codes
from bitmill.schemas.models.geometry import Code


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="small-1")
    parser.add_argument("--prior", help="a prior's folder")
    parser.add_argument("--photos", type=Path, help="a folder of images; default: random tokens")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    machine = describe(["torch", "constriction"])
    loaded = load_tokenizer_spec(tokenizer_spec(options.tokenizer))
    tokenizer = loaded.bsq_vit()
    clips = _clips(tokenizer, options.photos, max(options.lanes))
    code = tokenizer.geometry.code
    models = {"no prior": order0_model(code)}
    prior = load_prior(options.prior) if options.prior else find_prior(loaded.fingerprint)
    if prior is not None:
        models["prior"] = prior.model
    print("| coder | lanes | encode, tokens/s | decode, tokens/s | bits a token |")
    print("|---|---|---|---|---|")
    for name, model in models.items():
        for lanes, row in _measured(model, clips, code, options.lanes, options.rounds).items():
            encode, decode, bits = row
            print(f"| {name} | {lanes} | {encode:,.0f} | {decode:,.0f} | {bits:.2f} |")
    print(f"\n{sentence(machine)}; one thread")


def _clips(tokenizer: BSQTokenizer, photos: Path | None, count: int) -> list[Codes]:
    config = tokenizer.config
    if photos is None:
        shape = (count, 1, config.grid_size, config.grid_size, config.bits_per_token)
        return list(np.random.default_rng(0).random(shape) < 0.5)
    items = load_items(photos, config.image_size_px, most=count, fps=None, most_frames=1)
    return [tokenizer.encode([torch.from_numpy(item.frames_THWC)])[0].numpy() for item in items]


def _measured(
    model: CodingModel, clips: Sequence[Codes], code: Code, all_lanes: Sequence[int], rounds: int
) -> dict[int, tuple[float, float, float]]:
    """By lanes: tokens a second in and out, bits a token of the payload."""
    times: dict[int, list[tuple[float, float]]] = {lanes: [] for lanes in all_lanes}
    bits: dict[int, float] = {}
    for _ in range(rounds):
        for lanes in all_lanes:
            some = [clips[place % len(clips)] for place in range(lanes)]
            tokens = sum(clip[..., 0].size for clip in some)
            with one_thread():
                started = time.perf_counter()
                coded = encode_clips(model, some, code, lanes)
                middle = time.perf_counter()
                restored = list(decode_clips(model, coded, code, lanes))
                ended = time.perf_counter()
            if not all(np.array_equal(a.codes_thwD, b) for a, b in zip(restored, some, strict=True)):
                raise AssertionError("the bits that came back are others")
            times[lanes].append((tokens / (middle - started), tokens / (ended - middle)))
            bits[lanes] = sum(len(clip.data or b"") * 8 for clip in coded) / tokens
    return {
        lanes: (
            statistics.median(one[0] for one in found),
            statistics.median(one[1] for one in found),
            bits[lanes],
        )
        for lanes, found in times.items()
    }


if __name__ == "__main__":
    main()
