"""A tokenizer as two files, ``config.json`` and ``model.safetensors``, and back; strict in both directions.

Files of other stores are bytes here: the functions over bytes do the work, those over folders only read and
write. Nothing in a file can execute.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from bitmill.bsq_model.acceleration.huge_pages import copies_on_huge_pages, put_on_huge_pages
from bitmill.bsq_model.acceleration.int8 import Int8Linear
from bitmill.bsq_model.fingerprint import weights_fingerprint
from bitmill.bsq_model.tokenizer import BSQTokenizer
from bitmill.schemas.errors import FormatError, OutputConflictError, UsageError, WrongArgumentError
from bitmill.schemas.models.tokenizer_config import TOKENIZER_FORMAT_VERSION, TokenizerConfig
from bitmill.schemas.versioned import versioned_json

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_NARROW_DTYPES = frozenset({torch.float16, torch.bfloat16})


def fingerprint(tokenizer: BSQTokenizer) -> str:
    """32 hex digits that name config and float32 weights, wherever and in whatever dtype they now run."""
    if tokenizer.cast_from_fingerprint is not None:
        return tokenizer.cast_from_fingerprint
    return weights_fingerprint(tokenizer.config, _float32_weights(tokenizer))


def tokenizer_files(tokenizer: BSQTokenizer, *, dtype: torch.dtype = torch.float32) -> dict[str, bytes]:
    """The two files' bytes by name; equal tokenizers give equal bytes.

    ``dtype`` float16 or bfloat16 stores float32 weights that have exactly such values (``round_weights``) in
    half the bytes; read again they are the same tokenizer, with the same fingerprint. ValueError if rounding
    would change a weight.
    """
    if any(isinstance(module, Int8Linear) for module in tokenizer.modules()):
        raise ValueError("a tokenizer that computes in int8 has lost its weights; save what it was made of")
    weights = {name: tensor.contiguous() for name, tensor in _float32_weights(tokenizer).items()}
    check_finite_weights(weights, "the tokenizer to be saved")
    if dtype != torch.float32:
        weights = _stored_in(weights, dtype)
    config = json.dumps(tokenizer.config.model_dump(mode="json"), indent=2) + "\n"
    return {
        CONFIG_FILE: config.encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }


def tokenizer_from_files(config_bytes: bytes, weights_bytes: bytes) -> BSQTokenizer:
    """The tokenizer in float32 on CPU, in eval mode; FormatError where the files are not exactly one.

    Weights that are all float16 or all bfloat16 are widened, which changes no value.
    """
    config = _config_from_json(config_bytes)
    with torch.device("meta"):
        tokenizer = BSQTokenizer(config)
    try:
        weights = safetensors.torch.load(weights_bytes)
    except SafetensorError as error:
        raise FormatError(f"{WEIGHTS_FILE} is damaged ({error}); copy it anew from its origin") from error
    weights = widened(weights)
    check_layout(weights, tokenizer.state_dict())
    check_finite_weights(weights, WEIGHTS_FILE)
    # Copied: the file's tensors lie at odd addresses of one buffer.
    tokenizer.load_state_dict(copies_on_huge_pages(weights), assign=True)
    return tokenizer.eval()


@torch.no_grad()
def round_weights(tokenizer: BSQTokenizer, dtype: torch.dtype) -> None:
    """Round float32 weights in place to the nearest values of float16 or bfloat16; they stay float32.

    The result is another tokenizer with its own fingerprint, whose files may be stored in ``dtype``.
    ValueError, before anything has changed, where a weight is too large for ``dtype``.
    """
    rounded = {name: t.to(dtype).float() for name, t in _float32_weights(tokenizer).items()}
    for name, tensor in rounded.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has values that {dtype} cannot hold")
    tokenizer.load_state_dict(rounded)


def save_tokenizer(
    tokenizer: BSQTokenizer, folder: str | Path, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write both files, the config last; saving again is safe, over another tokenizer it is refused.

    ``dtype`` is that of ``tokenizer_files``.
    """
    write_model_files(tokenizer_files(tokenizer, dtype=dtype), _local(folder), what="tokenizer")


def write_model_files(files: Mapping[str, bytes], folder: Path, *, what: str) -> None:
    """Write weights, then config, each whole or not at all; the same again is safe.

    Raises OutputConflictError where another ``what`` lies there, before anything is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        target = folder / name
        if target.exists() and target.read_bytes() != data:
            raise OutputConflictError(f"{target} belongs to another {what}; choose another folder")
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        staged = folder / f".{name}.staged"
        staged.write_bytes(files[name])
        staged.replace(folder / name)


def load_tokenizer(
    folder: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> BSQTokenizer:
    """The tokenizer that ``save_tokenizer`` wrote, in eval mode, its weights cast to ``dtype``.

    ``bitmill.pipeline.load_tokenizer.load_tokenizer`` reads it from a store, too.
    """
    folder = _local(folder)
    tokenizer = tokenizer_from_files(_read(folder / CONFIG_FILE), _read(folder / WEIGHTS_FILE))
    return cast_weights(tokenizer, device=device, dtype=dtype)


def cast_weights(tokenizer: BSQTokenizer, *, device: torch.device | str, dtype: torch.dtype) -> BSQTokenizer:
    """The tokenizer itself, brought to a device and dtype, where it runs fast."""
    tokenizer.to(device, dtype)
    if torch.device(device).type == "cpu" and dtype != torch.float32:
        put_on_huge_pages(tokenizer)
    return tokenizer


def _local(folder: str | Path) -> Path:
    """The folder, by a path or a ``file://`` URI; this room knows no stores."""
    scheme, mark, _ = str(folder).partition("://")
    if not mark:
        return Path(folder).expanduser()
    if scheme != "file":
        raise WrongArgumentError(
            f"{folder} is on a store, which bitmill.bsq_model does not know: load it by "
            "bitmill.pipeline.load_tokenizer.load_tokenizer; save it here, and copy the folder there."
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


def _float32_weights(tokenizer: BSQTokenizer) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {name: tensor.cpu() for name, tensor in tokenizer.state_dict().items()}
    cast = sorted({str(t.dtype) for t in weights.values() if t.dtype != torch.float32})
    if cast:
        raise UsageError(
            f"the tokenizer's weights are {', '.join(cast)}, a tokenizer is float32: save it, or take its "
            "fingerprint, before it is cast"
        )
    return weights


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
    """Float32 where all tensors share one narrower dtype of ours; else as they are, for the layout check."""
    dtypes = {tensor.dtype for tensor in weights.values()}
    if len(dtypes) == 1 and dtypes <= _NARROW_DTYPES:
        return {name: tensor.float() for name, tensor in weights.items()}
    return weights


def _config_from_json(config_bytes: bytes) -> TokenizerConfig:
    raw = versioned_json(config_bytes, name=CONFIG_FILE, newest=TOKENIZER_FORMAT_VERSION)
    try:
        return TokenizerConfig.model_validate(raw)
    except ValidationError as error:
        raise FormatError(f"{CONFIG_FILE} is no tokenizer config: {error}") from error


def check_layout(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in sorted(expected.keys() - weights.keys())]
    problems += [f"{name} is unknown" for name in sorted(weights.keys() - expected.keys())]
    for name in sorted(expected.keys() & weights.keys()):
        have, want = weights[name], expected[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            problems.append(
                f"{name} is {have.dtype} {list(have.shape)} and not {want.dtype} {list(want.shape)}"
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
                f"{where} holds values that are not finite in {name}; use weights from before that"
            )
