"""The training file of a token model."""

from typing import Annotated, Any, Literal

from pydantic import Field

from bitmill.schemas.ids import content_id
from bitmill.schemas.models.token_model_config import MaskedLMSizes, PriorSizes
from bitmill.schemas.requests.job import Seed
from bitmill.schemas.requests.spec_files import make_spec, yaml_mapping
from bitmill.schemas.requests.training import Decay, Factor, OptimizerSpec, Weight
from bitmill.schemas.strict_model import StrictModel
from bitmill.schemas.yaml_text import parse_yaml

TOKEN_TRAIN_SPEC_VERSION = 1

Count = Annotated[int, Field(ge=1)]


class TokenDataSpec(StrictModel):
    """One source of training examples: datasets of one tokenizer, cut into windows of equal length."""

    dataset: list[str] | str
    """Folder or URI of a dataset that ``bitmill tokenize`` wrote, or several."""
    frames: Count
    """Frames per example; shorter clips are skipped."""
    stride: Count | None = None
    """Frames from one window's start to the next; None: half a window, so that they overlap."""
    batch: Count
    """Examples per step."""
    share: Factor = 1.0
    """Share of the steps, relative to the other entries."""


class TokenOptimizerSpec(OptimizerSpec):
    """Like ``OptimizerSpec``, with defaults for language models."""

    learning_rate: Factor | None = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    weight_decay: Weight = 0.05
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.05


class TokenComputeSpec(StrictModel):
    """Compute settings; training runs in one process on one device."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count | None = None
    """Torch threads on CPU; None uses all."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; weights, logits and optimizer stay float32."""


class TokenTrainSpec(StrictModel):
    """A whole training run."""

    version: Literal[1]
    model: Annotated[PriorSizes | MaskedLMSizes, Field(discriminator="kind")]
    data: Annotated[list[TokenDataSpec], Field(min_length=1)]
    held_out: list[str]
    """Shell patterns of sources that are used for evaluation, not training; ``*`` also matches slashes."""
    output: str
    """Folder of the run: new, empty, or of this run."""
    seed: Seed = 0
    steps: Count
    optimizer: TokenOptimizerSpec = TokenOptimizerSpec()
    compute: TokenComputeSpec = TokenComputeSpec()
    log_every: Count = 50
    validate_every: Count = 500
    validation_batches: Count = 16
    """Held-out batches that are evaluated per entry of ``data``, the same ones each time."""
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 2

    @property
    def peak_learning_rate(self) -> float:
        """The given rate, or the default."""
        return self.optimizer.learning_rate or 1e-3


_FREE_FIELDS = {
    "output": True,
    "log_every": True,
    "validate_every": True,
    "validation_batches": True,
    "checkpoint_every": True,
    "keep_checkpoints": True,
    "compute": {"threads", "device"},
}


def fixed_token_fields(spec: TokenTrainSpec) -> dict[str, Any]:
    """Return the fields that determine the result, nested as in the file; resuming needs equal ones."""
    return spec.model_dump(mode="json", exclude=_FREE_FIELDS)


def token_run_id(spec: TokenTrainSpec) -> str:
    """Return the content id over ``fixed_token_fields``."""
    return content_id("token-train", fixed_token_fields(spec))


def trains_token_model(text: str) -> bool:
    """Whether a training file is for a token model (its model has a ``kind``) rather than a tokenizer."""
    try:
        document: Any = parse_yaml(text)
    except ValueError:
        return False
    model: Any = document.get("model") if isinstance(document, dict) else None
    return isinstance(model, dict) and "kind" in model


def load_token_train_spec(
    text: str, *, origin: str, overrides: dict[str, Any] | None = None
) -> TokenTrainSpec:
    """Parse a training file; ``origin`` names it in errors, ``overrides`` maps dotted keys to new values.

    Raises UsageError naming every wrong key.
    """
    document = yaml_mapping(text, origin=origin, expected="of training keys (see docs/training.md)")
    return make_spec(
        TokenTrainSpec, document, origin=origin, overrides=overrides, newest=TOKEN_TRAIN_SPEC_VERSION
    )
