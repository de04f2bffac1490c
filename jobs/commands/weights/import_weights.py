"""``bitmill weights import``: converts published weights to a tokenizer folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from bitmill.bsq_model import save_tokenizer
from bitmill.bsq_model.families import native_files
from bitmill.bsq_model.importing.bsq_vit_checkpoint import import_checkpoint
from bitmill.bsq_model.importing.config_files.bsq_vit import config_from_yaml
from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.bsq_model.importing.config_files.find_family import described_model
from bitmill.bsq_model.importing.published_models import PublishedModel, published_model
from bitmill.bsq_model.importing.published_weights import import_published
from bitmill.bsq_model.saving import write_model_files
from bitmill.jobs.console import Console
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.models.tokenizer_origin import ORIGIN_FILE, TokenizerOrigin
from bitmill.schemas.text_files import read_text


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The parsed command line."""

    files: list[Path]
    config: Path | None
    name: str | None
    out: Path
    ema: bool
    image_as_video: bool
    compared: bool


def import_weights(request: ImportRequest) -> None:
    """Write ``out`` and print a summary. Raises UsageError or FormatError before ``out`` is touched."""
    out = request.out
    if "://" in str(out) or ":/" in str(out):
        raise UsageError(f"{out} is a URL; import to a local folder, then copy it there.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputConflictError(f"{out} is not empty; choose a new or empty folder.")
    published = None if request.name is None else published_model(request.name)
    text = None if request.config is None else _read(request.config)
    described = None if text is None else described_model(text, origin=str(request.config))
    if published is not None:
        expected = DescribedModel(config=published.config, averaged=published.averaged)
        if text is not None and described != expected:
            raise UsageError(f"{request.config} does not describe {request.name}; leave one of both out.")
        _import_published(request, published)
    elif text is None:
        raise UsageError("Name the weights' config by --config, or a published model by --name.")
    elif described is not None:
        _import_published(request, described)
    else:
        _import_bsq_vit(request, text)


def _read(config: Path) -> str:
    try:
        return read_text(config.read_bytes(), what=f"The config {config}")
    except OSError as error:
        raise UsageError(f"The config {config} cannot be read: {error.strerror}.") from error


def _import_bsq_vit(request: ImportRequest, text: str) -> None:
    if len(request.files) != 1:
        raise UsageError(f"A BSQ-ViT has one file of weights, not {len(request.files)}.")
    if request.compared:
        raise UsageError("--compared is not for BSQ-ViT.")
    imported = import_checkpoint(
        request.files[0],
        config_from_yaml(text, origin=str(request.config)),
        prefer_ema=request.ema,
        image_as_video=request.image_as_video,
    )
    tokenizer = imported.tokenizer
    save_tokenizer(tokenizer, request.out)
    made = tokenizer.config
    weights = "averaged (EMA)" if imported.which == "ema" else "raw"
    console = Console(soft_wrap=True)
    console.print(
        f"{sum(p.numel() for p in tokenizer.parameters()):,} {weights} weights: frames of "
        f"{made.image_size_px}², {made.bits_per_token} bits per token, up to {made.num_frames} frames"
    )
    console.print(f"tokenizer  {tokenizer.fingerprint}  {request.out}")


def _import_published(request: ImportRequest, model: DescribedModel) -> None:
    if request.image_as_video:
        raise UsageError("--image-as-video is for BSQ-ViT.")
    if not request.ema and not model.averaged:
        raise UsageError(f"The {model.config.architecture} uses no averaged weights; leave --no-ema out.")
    imported = import_published(request.files, replace(model, averaged=model.averaged and request.ema))
    names = " and ".join(path.name for path in request.files)
    published = model if isinstance(model, PublishedModel) else None
    origin = TokenizerOrigin(
        origin=f"imported from {names}" + (f": {published.source}" if published else ""),
        licence=None if published is None else published.licence,
        compared=request.compared,
    )
    tokenizer = imported.tokenizer
    files = native_files(tokenizer) | {ORIGIN_FILE: origin.to_json()}
    write_model_files(files, request.out, what="tokenizer")
    geometry, console = model.config.geometry, Console(soft_wrap=True)
    code, (height, width) = geometry.code, geometry.patch_px
    codes = f"{code.bits_per_token} bits" if code.kind == "bits" else f"{code.num_codes:,} codes"
    kind = "" if not model.averaged else "averaged (EMA) " if request.ema else "raw "
    num_weights = sum(p.numel() for p in tokenizer.network.parameters())
    console.print(
        f"{num_weights:,} {kind}weights of {model.config.architecture}: "
        f"a token for {geometry.frames_per_token}×{height}×{width} frames and pixels, {codes}"
    )
    for kind, count in imported.left_out.items():
        console.print(f"left out   {counted(count, 'tensor')}: {kind}")
    if origin.note is not None:
        console.print(f"note       {origin.note}")
    console.print(f"tokenizer  {tokenizer.fingerprint}  {request.out}")
