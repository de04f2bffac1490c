"""Pictures at base size: encoding, and encoding with decoding, against the textbook and public tokenizers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.encoding.floor import EncoderProducts, MatrixProducts, encoder_operations
from benchmarks.encoding.models import make_way, tokenizer_of
from benchmarks.encoding.peers import diffusers_peers
from benchmarks.encoding.pictures import synthetic_clip
from benchmarks.encoding.rounds import interleaved
from benchmarks.encoding.textbook import TextbookDecoder
from benchmarks.repeated import ratio
from bitmill.bsq_model import BSQTokenizer


def measure_images(device: torch.device, dtype: torch.dtype, *, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds a batch of each peer, the differing bits, and the share of the machine's own matrix rate."""
    tokenizer = tokenizer_of("base", num_frames=16)
    ours = tokenizer.encode(_images(tokenizer, 1))[0].flatten()
    tokenizer.to(device, dtype)
    encode, both = _ways(tokenizer, device, dtype, batch)
    matrix = MatrixProducts(tokenizer.config, device, dtype, rows=1024 * batch)
    ways = {**encode, "products": matrix}
    if device.type == "cpu":
        # A GPU's encoder is made of other products: all heads at once, and no scores in memory.
        ways["products alone"] = EncoderProducts(tokenizer, dtype, batch=batch)
    encoding = interleaved(ways, rounds=rounds, device=device)
    products, products_alone = encoding.pop("products"), encoding.pop("products alone", None)
    reconstruction = interleaved(both, rounds=rounds, device=device)
    operations = batch * encoder_operations(tokenizer.config, 1)
    return {
        "batch": batch,
        "matrix_rate": matrix.rate(products),
        "share_of_floor": matrix.share(operations, encoding["bitmill"], products),
        "share_of_floor_of_its_products": products_alone
        and matrix.share(operations, products_alone, products),
        "bits": len(ours),
        "differing_bits": int((ours != _textbook_bits(tokenizer)).sum()),
        "encode": encoding,
        "encode_and_decode": reconstruction,
    }


def _ways(
    tokenizer: BSQTokenizer, device: torch.device, dtype: torch.dtype, batch: int
) -> tuple[dict[str, Callable[[], Any]], dict[str, Callable[[], Any]]]:
    clips = [clip.to(device) for clip in _images(tokenizer, batch)]
    textbook, decoder = make_way("textbook", tokenizer), TextbookDecoder(tokenizer).to(device, dtype)
    encode: dict[str, Callable[[], Any]] = {
        "bitmill": lambda: tokenizer.encode(clips),
        "textbook": lambda: textbook(clips),
    }
    both: dict[str, Callable[[], Any]] = {
        "bitmill": lambda: tokenizer.decode(tokenizer.encode(clips)),
        "textbook": lambda: decoder(torch.cat(textbook(clips)) > 0),
    }
    pixels = (torch.cat(clips).permute(0, 3, 1, 2).float() / 127.5 - 1).to(dtype)
    inference = torch.inference_mode()
    for name, (to_latents, there_and_back) in diffusers_peers(device, dtype).items():
        encode[name] = inference(_bound(to_latents, pixels))
        both[name] = inference(_bound(there_and_back, pixels))
    return encode, both


def _bound(way: Callable[[Tensor], Any], pixels: Tensor) -> Callable[[], Any]:
    return lambda: way(pixels)


def _images(tokenizer: BSQTokenizer, batch: int) -> list[Tensor]:
    return [synthetic_clip(1, tokenizer.config.image_size_px, seed) for seed in range(batch)]


def _textbook_bits(tokenizer: BSQTokenizer) -> Tensor:
    return make_way("textbook", tokenizer)(_images(tokenizer, 1))[0].flatten().cpu() > 0


def images_table(told: dict[str, Any]) -> str:
    """Markdown."""
    encoding, both, batch = told["encode"], told["encode_and_decode"], told["batch"]
    lines = [
        "| 256², base size | encode, images/s | ratio | encode and decode, images/s | ratio |",
        "|---|---|---|---|---|",
    ]
    for name in encoding:
        cells = [
            f"{batch / figure[name]['median']:.3g} ({batch / figure[name]['max']:.3g} to "
            f"{batch / figure[name]['min']:.3g}) | {ratio(figure[name], figure['bitmill']):.2f}×"
            for figure in (encoding, both)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    alone = told["share_of_floor_of_its_products"]
    between = "" if alone is None else f", and its products with nothing between them {alone:.3f}"
    lines.append(
        f"\nThe largest layer's matrix product runs at {told['matrix_rate'] / 1e9:,.0f} GFLOP/s; encoding "
        f"reaches {told['share_of_floor']:.3f} of that rate{between}. {told['differing_bits']} of "
        f"{told['bits']:,} bits differ from the textbook's (ours in float32 on CPU)."
    )
    return "\n".join(lines)
