"""A trained prior into the package: weights rounded to float16 and stored so, which makes them half as large.

python -m examples.token_models.bundle token-runs/prior/model
"""

import sys
from pathlib import Path

import torch

from bitmill.bsq_model.token_models.token_model_files import (
    load_token_model,
    save_token_model,
    token_model_fingerprint,
)

TARGET = Path(__file__).resolve().parents[2] / "bsq_model" / "bundled" / "small-1-prior"


def main() -> None:
    save_token_model(load_token_model(Path(sys.argv[1])), TARGET, dtype=torch.float16)
    print(f"{token_model_fingerprint(load_token_model(TARGET))}  {TARGET}")


if __name__ == "__main__":
    main()
