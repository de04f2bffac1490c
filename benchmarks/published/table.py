"""The table of docs/tokenizers.md: what each tokenizer makes of a second of video, and how fast it is here.

    python -m benchmarks.published.table [--measure] [--models Cosmos Open-MAGVIT2]

Tokens and bytes are computed from the geometry: 24 frames a second of 256×256 pixels (or the only size that
the tokenizer takes), in clips of the usual length. Frames per second are measured with random weights of the
published sizes, one clip after a small one, float32, one thread, by CPU time. Models whose networks differ
in the quantizer alone are measured once.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.published.models import clip_of
from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.importing.published_models import PUBLISHED_MODELS, PublishedModel
from bitmill.bsq_model.presets import PRESETS, make_preset
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.jobs.preparation.models.find_frame_sizes import largest_within
from bitmill.schemas.models.geometry import Geometry, Grid, SizePx

_FPS, _SIZE = 24, (256, 256)
_MEASURED_FRAMES = 5
"""At least: a lead frame and a row of tokens, where there are such."""

_COLUMNS = (
    *("`--name`", "bits", "token", "causal", "frames of a clip", "sides of frames", "licence of the weights"),
    *("tokens/s", "kB/s", "encode, decode, frames/s"),
)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A row of the table, but for what is measured."""

    name: str
    geometry: Geometry
    licence: str
    network: str
    """The same for models whose networks have the same sizes."""
    make: Callable[[], Tokenizer]

    @property
    def size(self) -> SizePx:
        """Of the frames that it is measured on, height and width."""
        return self.geometry.size_px or largest_within(self.geometry, _SIZE)

    def grid(self, num_frames: int) -> Grid:
        """Its tokens of a clip, t, h, w."""
        return self.geometry.token_rows(num_frames), *self.geometry.grid(*self.size)


def models() -> list[Model]:
    """BSQ-ViT at its published size, then all models that can be imported by name."""
    own = Model(
        name="base (BSQ-ViT)",
        geometry=PRESETS["base"].geometry,
        licence="–",
        network="bsq-vit",
        make=lambda: make_preset("base"),
    )
    return [own, *(_published(name, model) for name, model in PUBLISHED_MODELS.items())]


def _published(name: str, model: PublishedModel) -> Model:
    config = model.config
    sizes = config.model_dump(exclude={"levels", "bits_per_token"})
    return Model(
        name=name,
        geometry=config.geometry,
        licence=model.licence,
        network=str(sizes),
        make=lambda: PublishedTokenizer(config),
    )


def row(model: Model, rates: tuple[float, float] | None) -> str:
    """Of the Markdown table; ``rates`` are frames per second encoded and decoded."""
    geometry = model.geometry
    num_frames, bits = geometry.usual_frames, geometry.code.bits_per_token
    tokens = geometry.num_tokens(model.grid(num_frames)) * _FPS / num_frames
    cells = [
        f"`{model.name}`" if model.name in PUBLISHED_MODELS else model.name,
        str(bits),
        "×".join(map(str, (geometry.frames_per_token, *geometry.patch_px))),
        "–" if geometry.max_frames == 1 else "yes" if "causal" in geometry.promises else "no",
        _lengths(geometry),
        _sides(geometry),
        # "Apache-2.0 (of the code; …)" tells enough before the semicolon.
        model.licence.partition(";")[0] + (")" if ";" in model.licence else ""),
        f"{tokens:,.0f}",
        f"{tokens * bits / 8000:.1f}",
        "–" if rates is None else ", ".join(_rate(rate) for rate in rates),
    ]
    return f"| {' | '.join(cells)} |"


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"


def _lengths(geometry: Geometry) -> str:
    if geometry.max_frames == 1:
        return "1: images"
    step, least = geometry.frames_per_token, geometry.least_frames
    if step == 1:
        return f"{least} to {geometry.most_frames}" if geometry.most_frames else f"{least} or more"
    told = f"k·{step}" if least == step else f"{least} + k·{step}"
    return told if geometry.most_frames is None else f"{told}, at most {geometry.most_frames}"


def _sides(geometry: Geometry) -> str:
    if geometry.size_px is not None:
        return f"{geometry.size_px[0]}×{geometry.size_px[1]} alone"
    if geometry.schedules is not None:
        return f"{len(geometry.schedules)} sizes"
    return "multiples of " + "×".join(map(str, sorted(set(geometry.multiple_px))))


def measured(model: Model, num_frames: int = _MEASURED_FRAMES) -> tuple[float, float]:
    """Frames that it encodes and decodes in a second of CPU time."""
    torch.manual_seed(0)
    tokenizer, geometry = model.make(), model.geometry
    length = geometry.legal_at_least(num_frames) or geometry.most_frames or geometry.least_frames
    # Libraries' own memory comes with a first clip, a small one if there is a smaller size.
    small = geometry.size_px or largest_within(geometry, tuple(2 * side for side in geometry.multiple_px))
    warm_up = clip_of(geometry.least_frames, *small)
    codes = tokenizer.encode([warm_up])[0]
    grid = geometry.token_rows(len(warm_up)), *geometry.grid(*small)
    _decoded(tokenizer, codes, grid)
    clip = clip_of(length, *model.size)
    start = time.process_time()
    codes = tokenizer.encode([clip])[0]
    encoded = time.process_time()
    _decoded(tokenizer, codes, model.grid(length))
    return length / (encoded - start), length / (time.process_time() - encoded)


@torch.inference_mode()
def _decoded(tokenizer: Any, codes: Tensor, grid: Grid) -> Sequence[Tensor]:
    if tokenizer.geometry.layout == "pyramid":
        return tokenizer.decode_pyramids([codes], [grid])
    return tokenizer.decode([codes])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published.table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--measure", action="store_true", help="measure; else the last column stays empty")
    parser.add_argument("--models", nargs="+", default=[""], help="only those that have one of these words")
    parser.add_argument("--rounds", type=int, default=1, help="the quickest counts (default: %(default)s)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"float32, one thread; {machine.sentence(machine.describe(['torch']))}\n")
    print(f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|", flush=True)
    known: dict[str, tuple[float, float]] = {}
    for model in models():
        if not any(word in model.name for word in asked.models):
            continue
        if asked.measure and model.network not in known:
            rounds = [measured(model) for _ in range(asked.rounds)]
            known[model.network] = max(rates[0] for rates in rounds), max(rates[1] for rates in rounds)
        print(row(model, known.get(model.network)), flush=True)


if __name__ == "__main__":
    main()
