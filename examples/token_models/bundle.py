"""A trained prior into the package: weights rounded to float16 and stored so, which makes them half as large.

python -m examples.token_models.bundle small-1 token-runs/prior/model
"""

import sys
from pathlib import Path

import torch

from bitmill.bsq_model.token_models.token_model_files import (
    load_token_model,
    save_token_model,
    token_model_fingerprint,
)

BUNDLED = Path(__file__).resolve().parents[2] / "bsq_model" / "bundled"


def main() -> None:
    target = BUNDLED / f"{sys.argv[1]}-prior"
    save_token_model(load_token_model(Path(sys.argv[2])), target, dtype=torch.float16)
    print(f"{token_model_fingerprint(load_token_model(target))}  {target}")


if __name__ == "__main__":
    main()
