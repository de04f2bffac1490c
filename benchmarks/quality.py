"""What a choice is worth: small tokenizers that differ in it, trained alike, measured on held-out media.

Three tables of variants, each trained by ``bitmill train`` with the same data, steps and batch, then measured
by ``bitmill evaluate``:

- ``ablation``, the reviewers' questions: quantizers, backbones and, on clips of four frames, attention.
  12 bits a token, as a VQ codebook of 2^18 codes cannot be trained here; both backbones have as many weights.
- ``causal-conv``: a ViT against convolutions at equal arithmetic (73 and 75 MFLOP for a frame of 64², encoder
  and decoder), BSQ against LFQ, VQ and FSQ at equal bits, and, on clips with four frames per token, causal
  rows against rows that also see the next one.
- ``recipe``, what the bundled tokenizer's first stage could have done otherwise, on frames of 64².

Prints a Markdown table; ``--out`` keeps runs and reports, and a second call goes on from them.

    python -m examples.small_tokenizer.fetch_data small-data
    python benchmarks/quality.py ablation small-data --out quality
"""

import argparse
import copy
import datetime
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

RECIPE = Path(__file__).resolve().parents[1] / "examples" / "small_tokenizer" / "image.yaml"


@dataclass(frozen=True)
class Variant:
    """One row of a table: what differs from the base, by dotted keys of the training file."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)


_CNN = {"width": 12, "layers": 1, "heads": 1}
"""As many weights as the ViT of ``_ABLATION``, to a few percent."""
_CLIPS = {"model.num_frames": 4, "data.fps": 12, "global_batch": 8}
_VIT = {"width": 96, "layers": 2, "heads": 2}

_ABLATION: dict[str, Any] = {
    "model": {
        "image_size_px": 64,
        "bits_per_token": 12,
        "num_frames": 1,
        "encoder": _VIT,
        "decoder": _VIT,
        "decoder_ffn_width": 384,
    },
    "global_batch": 32,
    "data": {"crop_scale": [1.0, 2.0], "workers": 1},
    "loss": {"l2": 1.0, "lpips": 0.1, "gan": {"weight": 0}},
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 50, "final_share": 0.02, "ema": 0.99},
    "compute": {"precision": "bfloat16"},
}

_LEVELS = {"widths": [32, 64], "blocks": [1, 2]}
_CAUSAL_CONV: dict[str, Any] = {
    "model": {
        "architecture": "causal-conv",
        "frames_per_token": 1,
        "bits_per_token": 12,
        "encoder": _LEVELS,
        "decoder": _LEVELS,
        "frame_width": 24,
    },
    "data.sizes": [[64, 64]],
    "data.clip_frames": 1,
}
_ROWS = {
    **_CAUSAL_CONV,
    "model.frames_per_token": 4,
    "data.clip_frames": 17,
    "data.fps": 12,
    "global_batch": 8,
}

TABLES: dict[str, tuple[Variant, ...]] = {
    "ablation": (
        Variant("BSQ, ViT"),
        # Commitment is a sum over a token's values: weighed as the customary 0.25 and 1 of their mean are.
        # LFQ's entropy is that of all its bits together, as its paper has it.
        Variant(
            "LFQ, ViT",
            {"model.quantizer": "lfq", "loss.commitment": 0.25 / 12, "loss.entropy.group_bits": 12},
        ),
        Variant("VQ, ViT", {"model.quantizer": "vq", "loss.commitment": 1 / 12}),
        Variant("BSQ, CNN", {"model.backbone": "cnn", "model.encoder": _CNN, "model.decoder": _CNN}),
        Variant("BSQ, ViT, 4 frames, block-causal", _CLIPS),
        Variant("BSQ, ViT, 4 frames, full attention", {**_CLIPS, "model.attention": "full"}),
    ),
    "causal-conv": (
        Variant("BSQ, ViT"),
        Variant("BSQ, causal-conv", _CAUSAL_CONV),
        Variant(
            "LFQ, causal-conv",
            {
                **_CAUSAL_CONV,
                "model.quantizer": "lfq",
                "loss.commitment": 0.25 / 12,
                "loss.entropy.group_bits": 12,
            },
        ),
        Variant("VQ, causal-conv", {**_CAUSAL_CONV, "model.quantizer": "vq", "loss.commitment": 1 / 12}),
        Variant(
            "FSQ, causal-conv",
            {
                **_CAUSAL_CONV,
                "model.quantizer": "fsq",
                "model.bits_per_token": None,
                "model.levels": [8, 8, 8, 8],
            },
        ),
        Variant("BSQ, causal-conv, 4 frames per token, causal", _ROWS),
        Variant("BSQ, causal-conv, 4 frames per token, not causal", {**_ROWS, "model.time": "both"}),
    ),
    "recipe": (
        Variant("as the recipe"),
        Variant("AdamW", {"optimizer.name": "adamw"}),
        Variant("half the rate", {"optimizer.learning_rate": 0.001}),
        Variant("4 + 4 layers", {"model.encoder.layers": 4, "model.decoder.layers": 4}),
        Variant(
            "width 128",
            {
                "model.encoder": {"width": 128, "layers": 3, "heads": 2},
                "model.decoder": {"width": 128, "layers": 5, "heads": 2},
            },
        ),
        Variant("without LPIPS", {"loss.lpips": 0.0}),
        Variant("LPIPS 0.3", {"loss.lpips": 0.3}),
        Variant("without squared error", {"loss.l2": 0.0}),
        Variant("a third of the entropy penalty", {"loss.entropy.weight": 0.033}),
        Variant("crops up to 2.5 frames", {"data.crop_scale": [1.0, 2.5]}),
        Variant("12 bits", {"model.bits_per_token": 12}),
        Variant("36 bits", {"model.bits_per_token": 36}),
    ),
}


def main() -> None:
    """Train and measure every variant of a table, then print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("data", type=Path, help="the folder that fetch_data made")
    parser.add_argument("--out", type=Path, default=Path("quality"))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    rows = [
        measure(variant, options.table, options.data, options.out / options.table, options.steps)
        for variant in TABLES[options.table]
    ]
    print(table(rows))
    machine = rows[0]["machine"]
    print(
        f"\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {machine['processor']}, {machine['cpus']} CPUs, "
        f"torch {machine['torch']}; {options.steps} steps"
    )


def measure(variant: Variant, table_name: str, data: Path, out: Path, steps: int) -> dict[str, Any]:
    """The report of one variant, trained unless an earlier run of the same settings is complete."""
    folder = out / variant.name.replace(", ", "-").replace(" ", "-").lower()
    folder.mkdir(parents=True, exist_ok=True)
    document = training_file(table_name, variant, data, folder / "run", steps)
    file = folder / "train.yaml"
    file.write_text(yaml.safe_dump(document))
    bitmill("train", str(file))
    num_frames = _clip_frames(document)
    report = folder / "evaluation"
    more = ["--codecs", "none", "--out", str(report)]
    if "sizes" in document["data"]:
        more += ["--size", str(document["data"]["sizes"][0][0])]
    if num_frames > 1:
        more += ["--fps", "12", "--clip-frames", str(num_frames)]
    bitmill("evaluate", str(folder / "run" / "tokenizer"), str(data / _kind(document) / "held-out"), *more)
    return {"name": variant.name, **json.loads((report / "report.json").read_text())}


def training_file(table_name: str, variant: Variant, data: Path, output: Path, steps: int) -> dict[str, Any]:
    """The training file of one variant: all but its changes is the same for a whole table."""
    if table_name == "recipe":
        document = yaml.safe_load(RECIPE.read_text())
        del document["validation"]
        document["model"]["image_size_px"] = 64
    else:
        document = copy.deepcopy(_ABLATION)
    document |= {"version": 1, "output": str(output), "steps": steps, "checkpoint_every": steps}
    document["loss"].setdefault("entropy", {})["ramp_steps"] = steps // 4
    for key, value in variant.changes.items():
        *path, last = key.split(".")
        part = document
        for name in path:
            part = part.setdefault(name, {})
        part[last] = copy.deepcopy(value)
    splits = ("train",) if _kind(document) == "video" else ("train", "validation")
    document["source"] = {"paths": [str(data / _kind(document) / split) for split in splits]}
    return document


def _kind(document: dict[str, Any]) -> str:
    return "video" if _clip_frames(document) > 1 else "photos"


def _clip_frames(document: dict[str, Any]) -> int:
    return document["data"].get("clip_frames") or document["model"]["num_frames"]


def bitmill(*arguments: str) -> None:
    """Run a command of bitmill; its refusal ends the benchmark."""
    done = subprocess.run([sys.executable, "-m", "bitmill.jobs", *arguments], check=False)
    if done.returncode:
        sys.exit(f"bitmill {arguments[0]} ended with exit code {done.returncode}")


def table(rows: list[dict[str, Any]]) -> str:
    """The reports as a Markdown table."""
    lines = [
        "| variant | bit/pixel | PSNR dB | SSIM | LPIPS | weakest bit | mean bit | code entropy, bits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        quality, code = row["rows"][0], row["code"]
        lpips = f"{quality['lpips']:.4f}" if quality["lpips"] is not None else "–"
        lines.append(
            f"| {row['name']} | {quality['bits_per_pixel']:.3f} | {quality['psnr_db']:.2f} | "
            f"{quality['ssim']:.4f} | {lpips} | {code['weakest_bit']:.3f} | {code['mean_bit']:.3f} | "
            f"{code['code_entropy_bits']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
