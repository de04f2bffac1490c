"""The training file of a tokenizer. Unknown keys are rejected.

Defaults are those of the paper (arXiv 2406.07548) where it states one.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bitmill.schemas.ids import content_id
from bitmill.schemas.models.any_tokenizer_config import AnyTrainableConfig
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.requests.job import Seed, SourceSpec
from bitmill.schemas.requests.spec_files import make_spec, yaml_mapping
from bitmill.schemas.requests.training_data import DataSpec
from bitmill.schemas.strict_model import StrictModel

TRAIN_SPEC_VERSION = 1

_USUAL_SIZE_PX = (128, 128)

LPIPS_LEAST_PX = {"lpips-alexnet": 31, "lpips-vgg16": 16}
"""The smallest frames that each network of ``loss.lpips_network`` takes."""
_FRAME_DISCRIMINATOR_LEAST_PX, _CLIP_DISCRIMINATOR_LEAST_PX = 4, 16

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class EntropySpec(StrictModel):
    """The entropy penalty ``weight·(E_u[H(q)] − γ·H(E_u[q]))``, in nats per token, with its ramp."""

    weight: Weight = 0.1
    gamma: Weight = 1.0
    """γ: weight of the uniform use of all codes relative to the confidence of each token."""
    inv_temperature: Factor = 1.0
    """τ of the soft assignment."""
    group_bits: Annotated[int, Field(ge=1, le=12)] = 1
    """g: bits whose joint distribution is kept uniform; 1 treats each bit separately."""
    ramp_from: Weight = 3.0
    """The weight starts at this multiple and falls linearly to 1."""
    ramp_steps: Annotated[int, Field(ge=0)] = 2000


class GanSpec(StrictModel):
    """Non-saturating GAN loss with a StyleGAN2-like discriminator; disabled at weight 0."""

    weight: Weight = 0.1
    start_step: Annotated[int, Field(ge=0)] = 0
    """Adversarial training starts at this step."""
    base_channels: Count = 32
    """Channels of the discriminator at full resolution; they double at each halving."""
    max_channels: Count = 512
    learning_rate: Factor | None = None
    """Peak rate of the discriminator; None uses the tokenizer's."""
    r1_weight: Weight = 10.0
    """γ of the R1 penalty γ/2·E‖∇D(x)‖²."""
    r1_every: Count = 16
    """Steps between R1 penalties; each is multiplied by this number."""


class LossSpec(StrictModel):
    """Weights of the loss terms."""

    l1: Weight = 1.0
    """Mean absolute error of pixels in [−1, 1]; with ``output: logit-laplace`` the log-likelihood instead."""
    l2: Weight = 0.0
    """Mean squared error of pixels."""
    lpips: Weight = 0.1
    """LPIPS v0.1; needs its network (``bitmill weights fetch lpips-alexnet``)."""
    lpips_network: Literal["lpips-alexnet", "lpips-vgg16"] = "lpips-alexnet"
    commitment: Weight = 0.0
    """Distance of latents to their codes (VQ: codebook and commitment terms; must be above 0)."""
    entropy: EntropySpec = EntropySpec()
    gan: GanSpec = GanSpec()


class OptimizerSpec(StrictModel):
    """Optimizer, linear warm-up, cosine decay."""

    name: Literal["adamw", "muon"] = "adamw"
    """muon: Muon for the matrices inside transformer blocks, AdamW for the rest."""
    muon_scale: Factor = 1.0
    """Learning rate of Muon's matrices, in multiples of AdamW's."""
    learning_rate: Factor | None = None
    """Peak rate; None uses the paper's 4e-7 × global batch."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    weight_decay: Weight = 1e-4
    """On matrices only, not on biases, norms or positions."""
    warmup_steps: Annotated[int, Field(ge=0)] = 5000
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Final learning rate as a share of the peak."""
    clip_norm: Factor | None = 1.0
    """Largest global gradient norm; None disables clipping."""
    ema: Decay = 0.999
    """Decay of the moving average of weights, which is the resulting tokenizer; at step s at most (1 + s)/(10
    + s), so that the initial weights are forgotten. 0 uses the last weights."""


class ValidationSpec(StrictModel):
    """Held-out media for validation during training: centre crops reconstructed by the averaged weights."""

    source: SourceSpec
    items: Count = 32
    """Number of sources, spread evenly over the listing."""


class ComputeSpec(StrictModel):
    """Compute settings of training."""

    processes: Count = 1
    """Processes of data-parallel training (Ray Train), one accelerator each; must divide global_batch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count | None = None
    """Torch threads per process on CPU; None uses the CPUs divided by the processes."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; weights, latents, losses and optimizer stay float32."""
    accumulate: Count = 1
    """Gradient accumulation: micro-batches per process and step."""
    checkpoint_blocks: bool = False
    """Activation checkpointing: recompute each block in the backward pass; less memory, a third more work."""
    compile: bool = False
    """torch.compile of encoder and decoder (CUDA)."""


class TrainSpec(StrictModel):
    """A whole training run."""

    version: Literal[1]
    source: SourceSpec
    output: str
    """Folder of the run, on a disk that all processes can access: new, empty, or of this run."""
    model: AnyTrainableConfig
    start_from: str | None = None
    """Folder or bundled name of the tokenizer whose weights training starts from: the same model, an image
    tokenizer for a video model (temporal positions start at zero), or one of another size (positions
    interpolated)."""
    freeze_encoder: bool = False
    """Train the decoder alone, with the encoder of ``start_from``: tokens stay the same."""
    seed: Seed = 0
    steps: Count
    global_batch: Count
    """Clips per step, over all processes."""
    data: DataSpec = DataSpec()
    loss: LossSpec = LossSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    validation: ValidationSpec | None = None
    compute: ComputeSpec = ComputeSpec()
    log_every: Count = 50
    validate_every: Count = 1000
    """Steps between validations, each with a grid of pictures."""
    checkpoint_every: Count = 1000
    keep_checkpoints: Count = 2

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        pieces = self.compute.processes * self.compute.accumulate
        for name, count in (("global_batch", self.global_batch), ("data.image_batch", self.data.image_batch)):
            if (count or 0) % pieces:
                raise ValueError(
                    f"{name} {count} is not divisible by compute.processes × compute.accumulate ({pieces})"
                )
        return self

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        num_bits = self.model.geometry.code.dimensions
        if self.model.quantizer != "fsq" and num_bits % self.loss.entropy.group_bits:
            raise ValueError(
                f"loss.entropy.group_bits {self.loss.entropy.group_bits} does not divide "
                f"model.bits_per_token {num_bits}"
            )
        return self

    @model_validator(mode="after")
    def _shapes_fit_the_model(self) -> Self:
        if isinstance(self.model, TokenizerConfig):
            if self.model.positions != "fixed":
                raise ValueError(
                    f"model.positions {self.model.positions} is for trained tokenizers: leave it out, to "
                    f"train those of frames of {self.model.image_size_px}²"
                )
            if self.data.sizes is not None or self.data.clip_frames is not None:
                raise ValueError(
                    "data.sizes and data.clip_frames are for causal-conv; a BSQ-ViT has model.image_size_px "
                    "and model.num_frames"
                )
            return self
        geometry = self.model.geometry
        down, across = geometry.multiple_px
        for height, width in self.sizes:
            if height % down or width % across:
                raise ValueError(f"data.sizes: {height}×{width} is no multiple of {down}×{across}")
        if not geometry.is_legal(self.clip_frames):
            raise ValueError(
                f"data.clip_frames {self.clip_frames} is not {geometry.least_frames} + "
                f"k·{geometry.frames_per_token}"
            )
        return self

    @model_validator(mode="after")
    def _frames_fit_the_losses(self) -> Self:
        least_px = LPIPS_LEAST_PX[self.loss.lpips_network]
        self._check_side(least_px, self.loss.lpips, f"loss.lpips: {self.loss.lpips_network}")
        of_frames = isinstance(self.model, TokenizerConfig)
        least_px = _FRAME_DISCRIMINATOR_LEAST_PX if of_frames else _CLIP_DISCRIMINATOR_LEAST_PX
        self._check_side(least_px, self.loss.gan.weight, "loss.gan.weight: the discriminator")
        return self

    def _check_side(self, least_px: int, weight: float, what: str) -> None:
        side = min(map(min, self.sizes))
        if weight and side < least_px:
            raise ValueError(f"{what} needs frames of {least_px} pixels or more, not {side}; set it to 0")

    @model_validator(mode="after")
    def _codebook_learns(self) -> Self:
        if self.model.quantizer == "vq" and not self.loss.commitment:
            raise ValueError("model.quantizer vq learns its codebook by loss.commitment: set it to 1")
        return self

    @model_validator(mode="after")
    def _frozen_is_trained(self) -> Self:
        if self.freeze_encoder and self.start_from is None:
            raise ValueError("freeze_encoder needs start_from, the tokenizer whose encoder is kept")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit what older releases do not know at its default, so that their runs can be resumed."""
        document: dict[str, Any] = handler(self)
        if not self.freeze_encoder:
            document.pop("freeze_encoder", None)
        return document

    @property
    def sizes(self) -> tuple[SizePx, ...]:
        """Sizes of the training frames, (height, width)."""
        if isinstance(self.model, TokenizerConfig):
            return ((self.model.image_size_px, self.model.image_size_px),)
        return self.data.sizes or (_USUAL_SIZE_PX,)

    @property
    def clip_frames(self) -> int:
        """Frames of a training clip."""
        if isinstance(self.model, TokenizerConfig):
            return self.model.num_frames
        return self.data.clip_frames or self.model.geometry.usual_frames

    @property
    def least_frames(self) -> int:
        """Frames that a video must have; a shorter clip than ``clip_frames`` is padded."""
        return self.clip_frames if isinstance(self.model, TokenizerConfig) else 1

    @property
    def pixel_rule(self) -> Literal[1, 2]:
        """The rule by which frames of videos become RGB (docs/decoding.md)."""
        return 1 if isinstance(self.model, TokenizerConfig) else 2

    @property
    def peak_learning_rate(self) -> float:
        """The given rate, or the paper's 4e-7 per clip of the global batch."""
        return self.optimizer.learning_rate or 4e-7 * self.global_batch


_FREE_FIELDS = {
    "output": True,
    "log_every": True,
    "validate_every": True,
    "checkpoint_every": True,
    "keep_checkpoints": True,
    "validation": True,
    "data": {"workers", "cache_bytes", "item_timeout_s", "item_memory_bytes"},
    "compute": {"processes", "threads", "accumulate", "checkpoint_blocks", "compile", "device"},
}
"""Fields that may change when a run resumes; they affect the result only by rounding."""


def fixed_fields(spec: TrainSpec) -> dict[str, Any]:
    """Return the fields that determine the result, nested as in the file; resuming needs equal ones."""
    return spec.model_dump(mode="json", exclude=_FREE_FIELDS)


def run_id(spec: TrainSpec) -> str:
    """Return the content id over ``fixed_fields``."""
    return content_id("train", fixed_fields(spec))


def load_train_spec(text: str, *, origin: str, overrides: dict[str, Any] | None = None) -> TrainSpec:
    """Parse a training file; ``origin`` names it in errors, ``overrides`` maps dotted keys to new values.

    Raises UsageError naming every wrong key.
    """
    document = yaml_mapping(text, origin=origin, expected="(see schemas/train.example.yaml)")
    return make_spec(TrainSpec, document, origin=origin, overrides=overrides, newest=TRAIN_SPEC_VERSION)
