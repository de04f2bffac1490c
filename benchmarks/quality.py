"""The reviewers' ablation at toy scale: quantizers, backbones and attention, trained alike and compared.

Each variant is trained by ``bitmill train`` with the same data, steps, batch and loss weights, on photographs
(the last two on clips of four frames), then measured by ``bitmill evaluate`` on held-out media. 12 bits
a token, as a VQ codebook of 2^18 codes cannot be trained here. Prints a Markdown table; ``--out`` keeps runs
and reports.

    python -m examples.small_tokenizer.fetch_data small-data
    python benchmarks/quality.py small-data --out quality
"""

import argparse
import datetime
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

BITS = 12


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    commitment: float = 0.0
    num_frames: int = 1


_CNN = {"width": 12, "layers": 1, "heads": 1}
"""As many weights as the ViT of ``spec``, to a few percent."""

VARIANTS = (
    Variant("BSQ, ViT"),
    Variant("LFQ, ViT", {"quantizer": "lfq"}, commitment=0.25),
    Variant("VQ, ViT", {"quantizer": "vq"}, commitment=1.0),
    Variant("BSQ, CNN", {"backbone": "cnn", "encoder": _CNN, "decoder": _CNN}),
    Variant("BSQ, ViT, 4 frames, block-causal", {}, num_frames=4),
    Variant("BSQ, ViT, 4 frames, full attention", {"attention": "full"}, num_frames=4),
)


def main() -> None:
    """Train and measure every variant, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder that fetch_data made")
    parser.add_argument("--out", type=Path, default=Path("quality"))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    rows = [measure(variant, options.data, options.out, options.steps) for variant in VARIANTS]
    print(table(rows))
    machine = rows[0]["machine"]
    print(
        f"\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {machine['processor']}, {machine['cpus']} CPUs, "
        f"torch {machine['torch']}; {options.steps} steps"
    )


def measure(variant: Variant, data: Path, out: Path, steps: int) -> dict[str, Any]:
    """The report of one variant, trained unless an earlier run of the same settings is complete."""
    folder = out / variant.name.replace(", ", "-").replace(" ", "-").lower()
    folder.mkdir(parents=True, exist_ok=True)
    kind = "photos" if variant.num_frames == 1 else "video"
    file = folder / "train.yaml"
    file.write_text(yaml.safe_dump(spec(variant, data / kind / "train", folder / "run", steps)))
    bitmill("train", str(file))
    held_out = str(data / kind / "held-out")
    report = folder / "evaluation"
    more = ["--no-codecs", "--out", str(report)]
    if variant.num_frames > 1:
        more += ["--fps", "12", "--clip-frames", str(variant.num_frames)]
    bitmill("evaluate", str(folder / "run" / "tokenizer"), held_out, *more)
    return {"name": variant.name, **json.loads((report / "report.json").read_text())}


def spec(variant: Variant, source: Path, output: Path, steps: int) -> dict[str, Any]:
    """The training file of one variant: all but the model and the commitment are the same."""
    sizes = {"width": 96, "layers": 2, "heads": 2}
    clips = 32 // variant.num_frames
    return {
        "version": 1,
        "source": {"paths": str(source)},
        "output": str(output),
        "model": {
            "image_size_px": 64,
            "bits_per_token": BITS,
            "num_frames": variant.num_frames,
            "encoder": sizes,
            "decoder": sizes,
            "decoder_ffn_width": 384,
            **variant.model,
        },
        "steps": steps,
        "global_batch": clips,
        "data": {"crop_scale": [1.0, 2.0], "workers": 1, "fps": 12 if variant.num_frames > 1 else None},
        "loss": {
            "l2": 1.0,
            "lpips": 0.1,
            "commitment": variant.commitment,
            "entropy": {"ramp_steps": steps // 4},
            "gan": {"weight": 0},
        },
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 50, "final_share": 0.02, "ema": 0.99},
        "compute": {"precision": "bfloat16"},
        "checkpoint_every": steps,
    }


def bitmill(*arguments: str) -> None:
    """Run a command of bitmill; its refusal ends the benchmark."""
    done = subprocess.run([sys.executable, "-m", "jobs", *arguments], check=False)
    if done.returncode:
        sys.exit(f"bitmill {arguments[0]} ended with exit code {done.returncode}")


def table(rows: list[dict[str, Any]]) -> str:
    """The reports as a Markdown table."""
    lines = [
        "| variant | PSNR dB | SSIM | LPIPS | weakest bit | mean bit | code entropy, bits |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        quality, code = row["rows"][0], row["code"]
        lpips = f"{quality['lpips']:.4f}" if quality["lpips"] is not None else "–"
        lines.append(
            f"| {row['name']} | {quality['psnr_db']:.2f} | {quality['ssim']:.4f} | {lpips} | "
            f"{code['weakest_bit']:.3f} | {code['mean_bit']:.3f} | {code['code_entropy_bits']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
