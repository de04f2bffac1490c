"""Converts VidTok's YAML to our config; admits the keys of the published FSQ models and no others."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.vidtok_config import VidTokConfig
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel

_TARGET = "vidtok.models.autoencoder"
_VERSIONS: dict[str, Literal["1.0", "1.1"]] = {
    f"{_TARGET}.AutoencodingEngine": "1.0",
    f"{_TARGET}_v1_1.AutoencodingEngine": "1.1",
}
_SAME_PARAMS = "${model.params.encoder_config.params}"


class _Params(StrictModel):
    """Of encoder and decoder."""

    double_z: Literal[False]
    z_channels: int
    in_channels: Literal[3]
    out_ch: Literal[3]
    ch: int
    ch_mult: tuple[int, ...]
    time_downsample_factor: Literal[4, 8]
    tempo_ds: tuple[int, ...] | None = None
    tempo_us: tuple[int, ...] = (1, 2)
    num_res_blocks: int
    init_pad_mode: Literal["replicate"]
    norm_type: Literal["layernorm", "groupnorm"]
    interpolation_mode: Literal["trilinear"] | None = None
    dropout: float = 0.0
    use_checkpoint: bool = False
    fix_encoder: bool = False
    fix_decoder: bool = False


class _EncoderConfig(StrictModel):
    target: str
    params: _Params


class _DecoderConfig(StrictModel):
    target: str
    params: _Params | Literal["${model.params.encoder_config.params}"]


class _FSQParams(StrictModel):
    levels: Annotated[tuple[int, ...], Field(min_length=1)]
    entropy_loss_weight: float = 0.0
    entropy_loss_annealing_steps: int = 0
    entropy_loss_annealing_factor: float = 0.0
    commitment_loss_weight: float = 0.0


class _Regularizer(StrictModel):
    target: Literal["vidtok.modules.regularizers.FSQRegularizer"]
    params: _FSQParams


class _ModelParams(StrictModel):
    encoder_config: _EncoderConfig
    decoder_config: _DecoderConfig
    regularizer_config: _Regularizer
    is_causal: Literal[True] = True
    use_tiling: Literal[False] = False
    monitor: Any = None
    mode: Any = None
    ckpt_path: Any = None
    ignore_keys: Any = None
    ema_decay: Any = None
    loss_config: Any = None


class _Model(StrictModel):
    target: str
    params: _ModelParams
    base_learning_rate: Any = None


def vidtok_config(document: dict[str, Any], *, origin: str) -> VidTokConfig:
    """Return the config that a published YAML describes. Raises UsageError naming an unsupported key."""
    try:
        model = _Model.model_validate(document["model"])
        version = _VERSIONS.get(model.target)
        wrong = _unsupported(model, version)
        if version is None or wrong:
            raise UsageError(f"{origin} describes a model that cannot be imported: {'; '.join(wrong)}.")
        network = model.params.encoder_config.params
        return VidTokConfig(
            version=version,
            channels=network.ch,
            channel_multipliers=network.ch_mult,
            num_res_blocks=network.num_res_blocks,
            frames_per_token=network.time_downsample_factor,
            norm="layer" if network.norm_type == "layernorm" else "group",
            levels=model.params.regularizer_config.params.levels,
        )
    except ValidationError as error:
        raise UsageError(
            f"{origin} is no config of VidTok FSQ that can be imported: {describe_validation(error)}"
        ) from error


def _unsupported(model: _Model, version: Literal["1.0", "1.1"] | None) -> list[str]:
    if version is None:
        return [f"model.target is {model.target}"]
    params, network = model.params, model.params.encoder_config.params
    modules = "vidtok.modules.model_3dcausal" + ("" if version == "1.0" else "_v1_1")
    levels = range(len(network.ch_mult))
    num_steps = network.time_downsample_factor.bit_length() - 1
    # Without the keys the published code halves time twice, at the last levels before the deepest.
    halved = levels[-3:-1] if network.tempo_ds is None else network.tempo_ds
    checks: list[tuple[str, object, object]] = [
        ("encoder_config.target", params.encoder_config.target, f"{modules}.EncoderCausal3DPadding"),
        ("decoder_config.target", params.decoder_config.target, f"{modules}.DecoderCausal3DPadding"),
        ("z_channels", network.z_channels, len(params.regularizer_config.params.levels)),
        ("tempo_ds", sorted(halved), list(levels[-1 - num_steps : -1])),
        ("tempo_us", sorted(network.tempo_us), list(range(1, num_steps + 1))),
        ("interpolation_mode", network.interpolation_mode, None if version == "1.0" else "trilinear"),
    ]
    wrong = [f"{name} is {value}, not {wanted}" for name, value, wanted in checks if value != wanted]
    if params.decoder_config.params not in (_SAME_PARAMS, network):
        wrong.append("encoder_config.params and decoder_config.params differ")
    return wrong
