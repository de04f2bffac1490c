"""Codes clips' tokens to a stream and back: connects the byte layout and the coder.

Axes: t rows of h × w tokens, N all tokens of a pyramid, D dimensions of a code.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bitmill.bsq_model.coding.clip_codec import CodedClip, decode_clips, encode_clips
from bitmill.bsq_model.coding.order0 import order0_model
from bitmill.bsq_model.coding.prior_numerics import one_thread
from bitmill.bsq_model.coding.symbol_model import CodingModel
from bitmill.schemas.dataset.packing import Codes
from bitmill.schemas.errors import FormatError, NumericsMismatchError, UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.stream.compressed import Chunk, CompressedStream, chunk_bytes, stream_bytes
from bitmill.schemas.stream.stream_header import MOST_VALUES, ClipPlace, PriorMark, StreamHeader

OnFrames = Callable[[int], None]

_FINGERPRINT = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class LoadedPrior:
    """A prior ready for coding, and the mark that streams store of it."""

    model: CodingModel
    mark: PriorMark
    tokenizer_fingerprint: str
    """Fingerprint of the tokenizer whose tokens it was trained on."""
    levels: tuple[int, ...] | None = None
    """Of digits; None if it predicts bits."""


@dataclass(frozen=True, kw_only=True)
class StreamClip:
    """One clip to compress."""

    codes: Codes
    """[t, h, w, D], of a pyramid [N, D], as ``pack_codes`` takes them."""
    shape_thw: tuple[int, int, int]
    """Of a pyramid its full grid."""
    num_frames: int
    """Frames of the source."""
    row: bytes = b""
    """See Chunk."""


@dataclass(frozen=True, kw_only=True)
class RestoredClip:
    """One clip of a stream: complete, or, with ``salvage``, its token rows before the damage."""

    index: int
    codes: Codes
    """See StreamClip; of a pyramid all or none."""
    row: bytes
    """See Chunk."""
    place: ClipPlace
    complete: bool
    """Whether no token is lost."""


def compress_clips(
    header: StreamHeader,
    clips: Sequence[StreamClip],
    prior: LoadedPrior | None,
    *,
    on_frames: OnFrames = lambda _: None,
) -> bytes:
    """Return a whole stream; fills in the fields of ``header`` that clips and prior determine.

    Raises FormatError if the header's tokenizer fingerprint is malformed, UsageError as ``check_prior``.
    """
    if not _FINGERPRINT.fullmatch(header.tokenizer_fingerprint):
        raise FormatError(
            f"The tokens name the tokenizer {header.tokenizer_fingerprint!r}, which is not a fingerprint."
        )
    check_prior(prior, header.tokenizer_fingerprint, header.geometry)
    code = header.geometry.code
    model = prior.model if prior is not None else order0_model(code)
    places = [_place(clip) for clip in clips]
    shapes = [header.coded_shape(place) for place in places]
    header = replace(
        header,
        group_bits=model.group_bits,
        prior=prior.mark if prior else None,
        lanes=min([header.lanes, *(max(1, MOST_VALUES // _row_values(shape, code)) for shape in shapes)]),
    )
    tokens = [clip.codes.reshape(*shape, -1) for clip, shape in zip(clips, shapes, strict=True)]
    with one_thread():
        coded = encode_clips(model, tokens, code, header.lanes, on_frames=on_frames)
    chunks = [
        chunk_bytes(
            header, index, row=clips[index].row, row_checksums=clip.checksums, payload=clip.data or b""
        )
        for index, clip in enumerate(coded)
    ]
    return stream_bytes(replace(header, clips=tuple(places)), chunks)


def _place(clip: StreamClip) -> ClipPlace:
    num_rows, height, width = clip.shape_thw
    return ClipPlace(num_rows=num_rows, height=height, width=width, num_frames=clip.num_frames, chunk_bytes=0)


def _row_values(shape_thw: tuple[int, int, int], code: Code) -> int:
    return shape_thw[1] * shape_thw[2] * code.dimensions


def restore_clips(
    stream: CompressedStream,
    prior: LoadedPrior | None,
    *,
    origin: str,
    salvage: bool = False,
    on_frames: OnFrames = lambda _: None,
) -> Iterator[RestoredClip]:
    """Yield the clips of a stream, in order.

    Raises UsageError for another prior than the stream's, FormatError for damage, NumericsMismatchError if
    undamaged bytes do not decode. With ``salvage`` damage shortens clips instead.
    """
    header = stream.header
    model = _checked_model(header, prior, origin)
    chunks = stream.chunks()
    if not salvage:
        _refuse_damage(header, chunks, origin)
    with one_thread():
        decoded = decode_clips(
            model,
            [
                _coded(header.coded_shape(place), chunk)
                for place, chunk in zip(header.clips, chunks, strict=True)
            ],
            header.geometry.code,
            header.lanes,
            on_frames=on_frames,
        )
        for index, (found, chunk) in enumerate(zip(decoded, chunks, strict=True)):
            if not found.complete and chunk is not None and chunk.intact:
                raise _undecodable(header, prior, origin, index, len(found.codes_thwD))
            codes = found.codes_thwD
            yield RestoredClip(
                index=index,
                codes=codes if header.geometry.layout == "grid" else codes.reshape(-1, codes.shape[-1]),
                row=chunk.row if chunk is not None else b"",
                place=header.clips[index],
                complete=found.complete,
            )


def check_prior(prior: LoadedPrior | None, tokenizer_fingerprint: str, geometry: Geometry) -> None:
    """Raise UsageError if the prior is for the tokens of another tokenizer, or cannot be for these."""
    if prior is None:
        return
    code = geometry.code
    if code.kind == "index" or prior.levels != code.levels:
        what = "bits" if prior.levels is None else f"digits of {'×'.join(map(str, prior.levels))} values"
        raise UsageError(
            f"The prior predicts {what}, and these tokens are of kind {code.kind}. Pass --prior none."
        )
    if prior.tokenizer_fingerprint != tokenizer_fingerprint:
        raise UsageError(
            f"The prior was trained on tokens of tokenizer {prior.tokenizer_fingerprint}, these are of "
            f"{tokenizer_fingerprint}. Pass a prior for that tokenizer, or --prior none."
        )


def _checked_model(header: StreamHeader, prior: LoadedPrior | None, origin: str) -> CodingModel:
    if header.prior is None:
        return order0_model(header.geometry.code, header.group_bits)
    wanted = header.prior.fingerprint
    if prior is None:
        raise UsageError(f"{origin} was coded with the prior {wanted}; pass it with --prior.")
    if prior.mark.fingerprint != wanted:
        raise UsageError(
            f"{origin} was coded with the prior {wanted}, not with {prior.mark.fingerprint}; pass the first "
            "with --prior."
        )
    check_prior(prior, header.tokenizer_fingerprint, header.geometry)
    if prior.model.group_bits != header.group_bits:
        raise FormatError(f"{origin} has groups of {header.group_bits} bits, its prior of another size.")
    return prior.model


def _coded(shape: tuple[int, int, int], chunk: Chunk | None) -> CodedClip:
    if chunk is None:
        return CodedClip(shape=shape, checksums=(), data=None)
    return CodedClip(shape=shape, checksums=chunk.row_checksums, data=chunk.payload)


def _refuse_damage(header: StreamHeader, chunks: Sequence[Chunk | None], origin: str) -> None:
    damaged = [index for index, chunk in enumerate(chunks) if chunk is None or not chunk.intact]
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise FormatError(
            f"{origin} is damaged: clip {damaged[0] + 1} of {len(header.clips)}{more}. Copy it again, or add "
            "--salvage to restore what is undamaged."
        )


def _undecodable(
    header: StreamHeader, prior: LoadedPrior | None, origin: str, index: int, row: int
) -> FormatError | NumericsMismatchError:
    unit = "frame" if header.format_version == 1 else "row"
    where = f"{unit} {row + 1} of clip {index + 1}"
    if header.prior is None or prior is None:
        return FormatError(
            f"{origin} does not decode at {where}, though no byte is damaged: it was not written by "
            "bitmill compress."
        )
    return NumericsMismatchError(
        f"{origin} does not decode here, at {where}: the prior's floats round differently. The stream was "
        f"made with {header.prior.numerics}, {header.lanes} lanes; here is {prior.mark.numerics}. Decode it "
        "on the same kind of machine."
    )
