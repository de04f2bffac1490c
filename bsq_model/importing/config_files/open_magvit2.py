"""Converts Open-MAGVIT2's YAML to our config; admits the keys of the published image models and no others."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import MAX_INDEX_BITS
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel

_IMAGE_MODELS = ("Open_MAGVIT2.models.lfqgan.VQModel", "Open_MAGVIT2.models.lfqgan_pretrain.VQModel")
"""In the package ``src``, or that of a later release; the pretrained ones have the same network."""


class _Network(StrictModel):
    double_z: Literal[False]
    z_channels: int
    resolution: Any = None
    in_channels: Literal[3]
    out_ch: Literal[3]
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int


class _Arguments(StrictModel):
    ddconfig: _Network
    n_embed: int
    embed_dim: Annotated[int, Field(ge=1, le=MAX_INDEX_BITS)]
    use_ema: bool
    # Of training.
    lossconfig: Any = None
    sample_minimization_weight: Any = None
    batch_maximization_weight: Any = None
    image_key: Any = None
    monitor: Any = None
    ckpt_path: Any = None
    ignore_keys: Any = None
    learning_rate: Any = None
    resume_lr: Any = None
    warmup_epochs: Any = None
    scheduler_type: Any = None
    min_learning_rate: Any = None
    lr_drop_epoch: Any = None
    lr_drop_iter: Any = None
    lr_drop_rate: Any = None
    use_shared_epoch: Any = None
    sche_type: Any = None
    max_iter: Any = None
    wp_iter: Any = None
    wp: Any = None
    wp0: Any = None
    wpe: Any = None


def is_open_magvit2(class_path: str) -> bool:
    """Whether a YAML's ``model.class_path`` is of the project that publishes Open-MAGVIT2, of any model."""
    return any(part in class_path.split(".") for part in ("Open_MAGVIT2", "IBQ", "lfqgan"))


def open_magvit2_model(model: dict[str, Any], *, origin: str) -> DescribedModel:
    """Return what the ``model`` of a published YAML describes.

    Raises UsageError naming an unsupported key.
    """
    class_path = str(model.get("class_path"))
    if not class_path.endswith(_IMAGE_MODELS):
        raise UsageError(
            f"{origin} describes a model that cannot be imported: its class_path is {class_path}; of this "
            f"project, {' and '.join(_IMAGE_MODELS)} can be."
        )
    try:
        arguments = _Arguments.model_validate(model.get("init_args"))
        network, num_bits = arguments.ddconfig, arguments.embed_dim
        if num_bits != network.z_channels or arguments.n_embed != 2**num_bits:
            raise UsageError(
                f"{origin} describes a model that cannot be imported: LFQ has a channel for each bit, but "
                f"n_embed is {arguments.n_embed}, embed_dim {num_bits} and z_channels {network.z_channels}."
            )
        config = OpenMagvit2Config(
            channels=network.ch,
            channel_multipliers=network.ch_mult,
            num_res_blocks=network.num_res_blocks,
            bits_per_token=num_bits,
        )
    except ValidationError as error:
        raise UsageError(
            f"{origin} is no config of Open-MAGVIT2 that can be imported: {describe_validation(error)}"
        ) from error
    return DescribedModel(config=config, averaged=arguments.use_ema)
