"""Pixels to bits and back: the BSQ-ViT tokenizer in pure torch; no storage, no cluster, no media files."""

from bsq_model.presets import PRESETS, make_preset, preset_config, untrained_tokenizer
from bsq_model.saving import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    fingerprint,
    load_tokenizer,
    round_weights,
    save_tokenizer,
    tokenizer_files,
    tokenizer_from_files,
)
from bsq_model.streaming import StreamDecoder, StreamEncoder
from bsq_model.tokenizer import BottleneckLosses, BSQTokenizer, TrainingOutput

__all__ = [
    "CONFIG_FILE",
    "PRESETS",
    "WEIGHTS_FILE",
    "BSQTokenizer",
    "BottleneckLosses",
    "StreamDecoder",
    "StreamEncoder",
    "TrainingOutput",
    "fingerprint",
    "load_tokenizer",
    "make_preset",
    "preset_config",
    "round_weights",
    "save_tokenizer",
    "tokenizer_files",
    "tokenizer_from_files",
    "untrained_tokenizer",
]
