"""Writes a tokenizer as ``config.json`` and ``model.safetensors`` and reads it back; strict both ways.

The functions over bytes do the work, so that files of other stores can be passed as bytes; those over folders
only read and write. Reading a file executes nothing from it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from bitmill.bsq_model.acceleration.huge_pages import copies_on_huge_pages, put_on_huge_pages
from bitmill.bsq_model.acceleration.int8 import Int8Linear
from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.fingerprint import float32_weights
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.schemas.errors import FormatError, OutputConflictError, WrongArgumentError
from bitmill.schemas.models.bsq_vit_config import (
    CONFIG_FILE,
    TOKENIZER_FORMAT_VERSION,
    WEIGHTS_FILE,
    TokenizerConfig,
)
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.staged_file import write_staged
from bitmill.schemas.versioned import versioned_json

_NARROW_DTYPES = frozenset({torch.float16, torch.bfloat16})


def tokenizer_files(tokenizer: BSQTokenizer, *, dtype: torch.dtype = torch.float32) -> dict[str, bytes]:
    """Return the two files' bytes by name; equal tokenizers give equal bytes.

    ``dtype`` float16 or bfloat16 stores float32 weights at half the size, if they are already exactly
    representable (``round_weights``); read back, they are the same tokenizer with the same fingerprint.
    Raises ValueError if rounding would change a weight.
    """
    if any(isinstance(module, Int8Linear) for module in tokenizer.modules()):
        raise ValueError("a tokenizer in int8 cannot be saved; save the float32 tokenizer it was made from")
    return files_of(tokenizer.config, float32_weights(tokenizer), dtype=dtype)


def files_of(config: BaseModel, weights: Mapping[str, Tensor], *, dtype: torch.dtype) -> dict[str, bytes]:
    """Return the two files of a tokenizer of any family; see ``tokenizer_files``."""
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    check_finite_weights(weights, "the tokenizer to be saved")
    if dtype != torch.float32:
        weights = _stored_in(weights, dtype)
    return {
        CONFIG_FILE: (json.dumps(config.model_dump(mode="json"), indent=2) + "\n").encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }


def tokenizer_from_files(config_bytes: bytes, weights_bytes: bytes) -> BSQTokenizer:
    """Return the tokenizer in float32 on CPU, in eval mode.

    Weights that are all float16 or all bfloat16 are widened, which changes no value. Raises FormatError if
    the files are not exactly one valid tokenizer.
    """
    config = _config_from_json(config_bytes)
    with torch.device("meta"):
        tokenizer = BSQTokenizer(config)
    load_weights(tokenizer, weights_bytes)
    return tokenizer.eval()


def load_weights(module: nn.Module, weights_bytes: bytes) -> None:
    """Load the file's weights, in float32 on CPU, into a module that may be on the meta device.

    Raises FormatError if they are not exactly the module's, or not finite.
    """
    try:
        weights = safetensors.torch.load(weights_bytes)
    except SafetensorError as error:
        raise FormatError(f"{WEIGHTS_FILE} is damaged ({error}); copy it again from its source") from error
    weights = widened(weights)
    check_layout(weights, module.state_dict())
    check_finite_weights(weights, WEIGHTS_FILE)
    # Copied because the file's tensors are unaligned views of one buffer.
    module.load_state_dict(copies_on_huge_pages(weights), assign=True)


@torch.no_grad()
def round_weights(tokenizer: TrainableTokenizer, dtype: torch.dtype) -> None:
    """Round float32 weights in place to the nearest values of float16 or bfloat16; they stay float32.

    The result is another tokenizer with its own fingerprint, whose files may be stored in ``dtype``. Raises
    ValueError, before changing anything, if a weight is too large for ``dtype``.
    """
    rounded = {name: t.to(dtype).float() for name, t in float32_weights(tokenizer).items()}
    for name, tensor in rounded.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has values too large for {dtype}")
    tokenizer.load_state_dict(rounded)


def save_tokenizer(
    tokenizer: BSQTokenizer, folder: str | Path, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write both files, the config last. Saving the same tokenizer again is safe.

    ``dtype`` is that of ``tokenizer_files``. Raises OutputConflictError if another tokenizer is there.
    """
    write_model_files(tokenizer_files(tokenizer, dtype=dtype), _local(folder), what="tokenizer")


def write_model_files(files: Mapping[str, bytes], folder: Path, *, what: str) -> None:
    """Write the files, config.json last, each atomically; writing the same files again is safe.

    Raises OutputConflictError, before writing anything, if the folder contains another ``what`` or cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputConflictError(f"{folder} cannot be a folder: a file is there; choose another") from error
    for name, data in files.items():
        target = folder / name
        if target.exists() and target.read_bytes() != data:
            raise OutputConflictError(f"{target} belongs to another {what}; choose another folder")
    for name in sorted(files, key=lambda name: (name == CONFIG_FILE, name)):
        write_staged(folder / name, files[name])


def load_tokenizer(
    folder: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> BSQTokenizer:
    """Read the tokenizer that ``save_tokenizer`` wrote, in eval mode, with weights cast to ``dtype``.

    ``bitmill.load_tokenizer`` also reads it from a store.
    """
    folder = _local(folder)
    tokenizer = tokenizer_from_files(_read(folder / CONFIG_FILE), _read(folder / WEIGHTS_FILE))
    return cast_weights(tokenizer, device=device, dtype=dtype)


def cast_weights(tokenizer: BSQTokenizer, *, device: torch.device | str, dtype: torch.dtype) -> BSQTokenizer:
    """Move the tokenizer to a device and dtype, in place, with memory laid out for speed."""
    tokenizer.to(device, dtype)
    if torch.device(device).type == "cpu" and dtype != torch.float32:
        put_on_huge_pages(tokenizer)
    return tokenizer


def _local(folder: str | Path) -> Path:
    """Return the local folder of a path or a ``file://`` URI; bsq_model does not read remote stores."""
    scheme, mark, _ = str(folder).partition("://")
    if not mark:
        return Path(folder).expanduser()
    if scheme != "file":
        raise WrongArgumentError(
            f"{folder} is on a remote store: load it with bitmill.load_tokenizer; save it on this "
            "machine, and copy the folder there."
        )
    return Path(url2pathname(urlsplit(str(folder)).path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(
            f"cannot read {path} ({error.strerror}); a tokenizer is a folder with {CONFIG_FILE} "
            f"and {WEIGHTS_FILE}"
        ) from error


def _stored_in(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    if dtype not in _NARROW_DTYPES:
        raise ValueError(f"weights are stored as float32, float16 or bfloat16, not {dtype}")
    stored = {name: tensor.to(dtype) for name, tensor in weights.items()}
    inexact = [name for name in sorted(weights) if not torch.equal(stored[name].float(), weights[name])]
    if inexact:
        raise ValueError(
            f"{len(inexact)} tensors of the tokenizer ({inexact[0]} first) are not exactly {dtype}; round "
            "them with round_weights, or store them as float32"
        )
    return stored


def widened(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 tensors if all are float16 or all bfloat16, else the same, for ``check_layout``."""
    dtypes = {tensor.dtype for tensor in weights.values()}
    if len(dtypes) == 1 and dtypes <= _NARROW_DTYPES:
        return {name: tensor.float() for name, tensor in weights.items()}
    return weights


def _config_from_json(config_bytes: bytes) -> TokenizerConfig:
    raw = versioned_json(config_bytes, name=CONFIG_FILE, newest=TOKENIZER_FORMAT_VERSION)
    try:
        return TokenizerConfig.model_validate(raw)
    except ValidationError as error:
        raise FormatError(f"{CONFIG_FILE} is not a tokenizer config: {describe_validation(error)}") from error


def check_layout(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in sorted(expected.keys() - weights.keys())]
    problems += [f"{name} is unknown" for name in sorted(weights.keys() - expected.keys())]
    for name in sorted(expected.keys() & weights.keys()):
        have, want = weights[name], expected[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            problems.append(
                f"{name} is {have.dtype} {list(have.shape)} instead of {want.dtype} {list(want.shape)}"
            )
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise FormatError(
            f"{WEIGHTS_FILE} does not fit {CONFIG_FILE}: {'; '.join(problems[:3])}{more}; "
            "use the two files that were saved together"
        )


def check_finite_weights(weights: Mapping[str, Tensor], where: str) -> None:
    for name in sorted(weights):
        if not bool(torch.isfinite(weights[name]).all()):
            raise FormatError(
                f"{where} contains values that are not finite in {name}; use an earlier copy of the weights"
            )
