"""Tokens that bfloat16 changes in the golden cases, whose small networks are random.

python -m benchmarks.published.flips
"""

import copy

import torch

from tests.bsq_model.published.golden import CONFIGS, case, codes_of, golden, items


def main() -> None:
    print("| | tokens changed | digits, by one level | largest difference of a pixel in [−1, 1] |")
    print("|---|---|---|---|")
    for name, config in CONFIGS.items():
        tokenizer = copy.deepcopy(golden(name))
        tokenizer.to(device="cpu", dtype=torch.bfloat16)
        clips = [case(name)[f"{item}.input"] for item in items(name, "indices")]
        pairs = zip(tokenizer.encode(clips), golden(name).encode(clips), strict=True)
        moved = torch.cat([(codes.long() - exact.long()).abs().flatten(0, 2) for codes, exact in pairs])
        changed, num_tokens = int(moved.any(-1).sum()), len(moved)
        codes = [codes_of(case(name)[f"{item}.indices"], config) for item in items(name, "decoded")]
        pixels = zip(tokenizer.decode_pixels(codes), golden(name).decode_pixels(codes), strict=True)
        worst = max(float((ours - exact).abs().max()) for ours, exact in pixels)
        share = f"{changed} of {num_tokens} ({changed / num_tokens:.0%})"
        by_one = f"{int((moved > 0).sum())}, {int((moved == 1).sum())}"
        print(f"| {name} | {share} | {by_one} | {worst:.2f} |")


if __name__ == "__main__":
    main()
