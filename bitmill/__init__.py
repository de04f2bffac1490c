"""Turns image and video collections into training-ready tokens.

The names in ``__all__`` are the Python API, provisional until version 1.0. Each is imported on first use, so
that ``import bitmill`` is quick and a training process loads neither Ray nor a decoder.

The packages ``bitmill.schemas``, ``bitmill.bsq_model``, ``bitmill.pipeline`` and ``bitmill.jobs`` lie at the
top of the repository; the links next to this file make them importable (docs/adr/0012).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitmill.bsq_model.bottleneck.residual_bsq import inputs_of_scales, sums_of_scales
    from bitmill.jobs.api import audit, export, plan, tokenize
    from bitmill.pipeline.load_tokenizer import load_tokenizer
    from bitmill.pipeline.reading import (
        ClipFilter,
        Clips,
        DiskCache,
        FrameWindows,
        GridBuckets,
        Packing,
        Padding,
        Prefetch,
        TokenBatches,
        TokenDataset,
        TokenLoader,
        View,
        clip_ids_in,
    )
    from bitmill.schemas.dataset.packing import pack_bits, pack_integers, unpack_bits, unpack_integers
    from bitmill.schemas.errors import (
        BadJobError,
        BitmillError,
        BrokenContractError,
        FormatError,
        InfrastructureError,
        InterruptedJobError,
        MissingPluginError,
        OutputConflictError,
        TokenizerMismatchError,
        TooManyFailuresError,
        TransientError,
        UsageError,
        WrongArgumentError,
    )
    from bitmill.schemas.models.geometry import Code, Geometry
    from bitmill.schemas.models.tokenizer_origin import TokenizerOrigin

    open_dataset = TokenDataset

__all__ = [
    "BadJobError",
    "BitmillError",
    "BrokenContractError",
    "ClipFilter",
    "Clips",
    "Code",
    "DiskCache",
    "FormatError",
    "FrameWindows",
    "Geometry",
    "GridBuckets",
    "InfrastructureError",
    "InterruptedJobError",
    "MissingPluginError",
    "OutputConflictError",
    "Packing",
    "Padding",
    "Prefetch",
    "TokenBatches",
    "TokenDataset",
    "TokenLoader",
    "TokenizerMismatchError",
    "TokenizerOrigin",
    "TooManyFailuresError",
    "TransientError",
    "UsageError",
    "View",
    "WrongArgumentError",
    "audit",
    "clip_ids_in",
    "export",
    "inputs_of_scales",
    "load_tokenizer",
    "open_dataset",
    "pack_bits",
    "pack_integers",
    "plan",
    "sums_of_scales",
    "tokenize",
    "unpack_bits",
    "unpack_integers",
]

_OTHER_MODULES = {
    "bsq_model.bottleneck.residual_bsq": ("inputs_of_scales", "sums_of_scales"),
    "jobs.api": ("audit", "export", "plan", "tokenize"),
    "pipeline.load_tokenizer": ("load_tokenizer",),
    "schemas.models.geometry": ("Code", "Geometry"),
    "schemas.models.tokenizer_origin": ("TokenizerOrigin",),
    "schemas.dataset.packing": ("pack_bits", "pack_integers", "unpack_bits", "unpack_integers"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "open_dataset":
        return import_module("bitmill.pipeline.reading").TokenDataset
    for module, names in _OTHER_MODULES.items():
        if name in names:
            return getattr(import_module(f"bitmill.{module}"), name)
    module = "schemas.errors" if name.endswith("Error") else "pipeline.reading"
    return getattr(import_module(f"bitmill.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
