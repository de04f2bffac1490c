"""The training file of a token model: what it refuses."""

import pytest
import yaml

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.token_training import load_token_train_spec

_DATA = {"dataset": "tokens", "frames": 4, "batch": 8}
_FILE = {
    "version": 1,
    "model": {"kind": "prior"},
    "data": [_DATA],
    "held_out": ["*"],
    "output": "run",
    "steps": 10,
}
_INF = float("inf")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"optimizer.betas": [0.9, 1.0]}, r"optimizer\.betas\.1 must be below 1"),
        ({"optimizer.learning_rate": _INF}, r"optimizer\.learning_rate must be finite"),
        ({"model.mlp_ratio": _INF}, r"model\.mlp_ratio must be finite"),
        ({"data": [{**_DATA, "share": _INF}]}, r"data\.0\.share must be finite"),
        ({"seed": 1 << 64}, "seed must be at most"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        load_token_train_spec(yaml.safe_dump(_FILE), origin="prior.yaml", overrides=changes)
