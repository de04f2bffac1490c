"""Initial weights of training: random, or copied from another tokenizer."""

import torch

from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.causal_conv.files import untrained_causal_conv
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.bsq_model.resolution import resize_tokenizer
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import TrainableConfig
from bitmill.schemas.models.causal_conv_config import CausalConvConfig

_FREE_FIELDS = {"image_size_px", "num_frames", "positions", "format_version"}


def start_tokenizer(
    config: TrainableConfig, *, seed: int, start: TrainableTokenizer | None
) -> TrainableTokenizer:
    """Return a float32 tokenizer of ``config`` with weights from ``seed``, or with those of ``start``.

    A BSQ-ViT may differ from ``start`` in the number of frames (see ``with_num_frames``) and in its frame
    sizes (positions are interpolated). Raises UsageError naming any other field that differs.
    """
    if start is None:
        if isinstance(config, CausalConvConfig):
            return untrained_causal_conv(config, seed=seed)
        return untrained_tokenizer(config, seed=seed)
    ours, theirs = config.model_dump(), start.config.model_dump()
    differing = [
        f"{name} is {theirs.get(name)} there and {ours.get(name)} here"
        for name in sorted({*ours, *theirs} - _FREE_FIELDS)
        if ours.get(name) != theirs.get(name)
    ]
    if differing:
        raise UsageError(f"The tokenizer of start_from does not fit the model: {'; '.join(differing)}.")
    if isinstance(config, CausalConvConfig) or not isinstance(start, BSQTokenizer):
        return start.requires_grad_(True)
    return with_num_frames(resize_tokenizer(start, config.image_size_px), config.num_frames)


@torch.no_grad()
def with_num_frames(tokenizer: BSQTokenizer, num_frames: int) -> BSQTokenizer:
    """Return the same weights for clips of up to ``num_frames`` frames; new temporal positions are zero."""
    config = tokenizer.config.model_copy(update={"num_frames": num_frames})
    weights = dict(tokenizer.state_dict())
    with torch.device("meta"):
        empty = BSQTokenizer(config)
    for name, parameter in empty.named_parameters():
        if name.endswith("temporal_positions"):
            positions = torch.zeros(parameter.shape)
            if name in weights:
                kept = min(num_frames, len(weights[name]))
                positions[:kept] = weights[name][:kept]
            weights[name] = positions
    wanted = empty.state_dict().keys()
    weights = {name: tensor.clone() for name, tensor in weights.items() if name in wanted}
    empty.load_state_dict(weights, assign=True)
    return empty.requires_grad_(True).eval()
