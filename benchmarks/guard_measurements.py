"""A few short measurements of one source tree, each beside a named peer; the guard runs it over two trees.

    PYTHONPATH=TREE python benchmarks/guard_measurements.py SECONDS

Prints JSON: by name, units a second of ours and of the peer, or why it cannot be measured there. It uses only
what older trees have, too; what a tree lacks is told as missing.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

_BITS = 18
_CLIPS = 1000
_BATCH = 64

Pair = tuple[Callable[[], Any], Callable[[], Any]]
"""Ours, and the peer; both do as many units."""


def unpack() -> Pair:
    """A clip's codes to int64, against a copy of the result."""
    from bitmill.pipeline.reading.kernels.unpack import unpack_into
    from bitmill.schemas.dataset.packing import pack_integers

    expected = np.random.default_rng(0).integers(0, 1 << _BITS, 65_536, dtype=np.int64)
    codes = np.frombuffer(pack_integers(expected, _BITS), np.uint8)
    out = np.empty_like(expected)
    return lambda: unpack_into(codes, out, _BITS), lambda: np.copyto(out, expected)


def pack() -> Pair:
    """Bits to codes, against NumPy's packing of the same bits in their own order."""
    from bitmill.schemas.dataset.packing import pack_bits

    bits = np.random.default_rng(0).random((65_536, _BITS)) < 0.5
    return lambda: pack_bits(bits), lambda: np.packbits(bits)


def resize() -> Pair:
    """A 720p picture to 256², against Pillow's own way: the whole picture at once, then the crop."""
    from PIL import Image

    from bitmill.pipeline.decode.pixels import resize as resizing

    # Trees from before frames were other than squares have it as ``to_square``.
    fit: Any = getattr(resizing, "fit", None)
    ours = partial(fit, size=(256, 256)) if fit else partial(vars(resizing)["to_square"], size_px=256)
    picture = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)

    def by_pillow() -> Any:
        whole = Image.fromarray(picture).resize((455, 256), Image.Resampling.LANCZOS)
        return np.array(whole.crop((100, 0, 356, 256)))

    return lambda: ours(picture), by_pillow


def encode() -> Pair:
    """An image by two layers of the base size, against the largest layer's matrix product."""
    import torch

    from bitmill.bsq_model.presets import preset_config, untrained_tokenizer

    base = preset_config("base")
    sizes = base.encoder.model_copy(update={"layers": 2})
    tokenizer = untrained_tokenizer(base.model_copy(update={"encoder": sizes, "decoder": sizes}))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    clip = torch.from_numpy(pixels)
    a, b = torch.randn(1024, sizes.width), torch.randn(sizes.width, 4 * sizes.width)
    out = torch.empty(1024, 4 * sizes.width)
    return lambda: tokenizer.encode([clip]), lambda: torch.mm(a, b, out=out)


def read() -> Pair:
    """A shuffled epoch of the training reader, against a memory map of uint32."""
    from benchmarks.reader.contender import load_contender
    from benchmarks.reader.corpus import make_corpus

    folder = Path(tempfile.mkdtemp())
    make_corpus(folder / "corpus.bin", _CLIPS)
    epochs: list[Callable[[], Any]] = []
    for name in ("ours", "uint32"):
        contender = load_contender(name)
        (folder / name).mkdir()
        contender.write(folder / "corpus.bin", folder / name)
        opened = contender(str(folder / name), batch_size=_BATCH, cache=folder)
        epochs.append(_epochs(opened))
    return epochs[0], epochs[1]


def _epochs(opened: Any) -> Callable[[], Any]:
    numbers = iter(range(1 << 30))
    return lambda: [len(batch) for batch in opened.batches(shuffled=True, epoch=next(numbers))]


MEASURED: dict[str, Callable[[], Pair]] = {
    "unpack": unpack,
    "pack": pack,
    "resize": resize,
    "encode": encode,
    "read": read,
}


def rate(work: Callable[[], Any], seconds: float) -> float:
    """Calls a second; the first call is not counted."""
    work()
    began = time.perf_counter()
    calls = 0
    while (spent := time.perf_counter() - began) < seconds or not calls:
        work()
        calls += 1
    return calls / spent


def find_rooms(tree: Path) -> None:
    """Give the four folders of an older tree, which imports them by bare names, their names of today."""
    if not (tree / "bitmill").exists():
        rooms = ModuleType("bitmill")
        rooms.__path__ = [str(tree)]
        sys.modules["bitmill"] = rooms


def main() -> None:
    seconds = float(sys.argv[1])
    find_rooms(Path(os.environ["PYTHONPATH"]))
    told: dict[str, Any] = {}
    for name, prepare in MEASURED.items():
        try:
            ours, peer = prepare()
        except (ImportError, AttributeError) as error:
            told[name] = {"missing": str(error)}
            continue
        told[name] = {"ours": rate(ours, seconds), "peer": rate(peer, seconds)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
