"""Codes clips' bits to a stream and back: connects the byte layout and the coder.

Axes: T frames, h and w tokens, L bits of a token.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bitmill.bsq_model.coding.clip_codec import Bits, CodedClip, decode_clips, encode_clips
from bitmill.bsq_model.coding.order0 import order0_model
from bitmill.bsq_model.coding.prior_numerics import one_thread
from bitmill.bsq_model.coding.symbol_model import CodingModel
from bitmill.schemas.errors import FormatError, NumericsMismatchError, UsageError
from bitmill.schemas.stream.compressed import Chunk, CompressedStream, chunk_bytes, stream_bytes
from bitmill.schemas.stream.stream_header import ClipPlace, PriorMark, StreamHeader

OnFrames = Callable[[int], None]

_FINGERPRINT = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class LoadedPrior:
    """A prior ready for coding, and the mark that streams store of it."""

    model: CodingModel
    mark: PriorMark
    tokenizer_fingerprint: str
    """Fingerprint of the tokenizer whose tokens it was trained on."""


@dataclass(frozen=True, kw_only=True)
class RestoredClip:
    """One clip of a stream: complete, or, with ``salvage``, its frames before the damage."""

    index: int
    bits_ThwL: Bits
    row: bytes
    """See Chunk."""
    num_frames: int
    """The number in the header; larger than that of ``bits_ThwL`` if frames are lost."""

    @property
    def complete(self) -> bool:
        """Whether no frame is lost."""
        return len(self.bits_ThwL) == self.num_frames


def compress_clips(
    header: StreamHeader,
    clips: Sequence[Bits],
    prior: LoadedPrior | None,
    *,
    rows: Sequence[bytes] | None = None,
    on_frames: OnFrames = lambda _: None,
) -> bytes:
    """Return a whole stream; fills in the fields of ``header`` that clips and prior determine.

    Raises FormatError if the header's tokenizer fingerprint is malformed, UsageError as ``check_prior``.
    """
    if not _FINGERPRINT.fullmatch(header.tokenizer_fingerprint):
        raise FormatError(
            f"The tokens name the tokenizer {header.tokenizer_fingerprint!r}, which is not a fingerprint."
        )
    check_prior(prior, header.tokenizer_fingerprint)
    model = _model(header.bits_per_token, prior)
    header = replace(header, group_bits=model.group_bits, prior=prior.mark if prior else None)
    with one_thread():
        coded = encode_clips(model, clips, header.lanes, on_frames=on_frames)
    places = [
        ClipPlace(num_frames=frames, height=height, width=width, chunk_bytes=0)
        for frames, height, width in (clip.shape for clip in coded)
    ]
    chunks = [
        chunk_bytes(
            header,
            index,
            row=rows[index] if rows is not None else b"",
            frame_checksums=clip.checksums,
            payload=clip.data or b"",
        )
        for index, clip in enumerate(coded)
    ]
    return stream_bytes(replace(header, clips=tuple(places)), chunks)


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
            [_coded(place.shape, chunk) for place, chunk in zip(header.clips, chunks, strict=True)],
            header.bits_per_token,
            header.lanes,
            on_frames=on_frames,
        )
        for index, (found, chunk) in enumerate(zip(decoded, chunks, strict=True)):
            place = header.clips[index]
            if not found.complete and chunk is not None and chunk.intact:
                raise _undecodable(header, prior, origin, index, len(found.bits_ThwL))
            yield RestoredClip(
                index=index,
                bits_ThwL=found.bits_ThwL,
                row=chunk.row if chunk is not None else b"",
                num_frames=place.num_frames,
            )


def check_prior(prior: LoadedPrior | None, tokenizer_fingerprint: str) -> None:
    """Raise UsageError if the prior is for the tokens of another tokenizer."""
    if prior is not None and prior.tokenizer_fingerprint != tokenizer_fingerprint:
        raise UsageError(
            f"The prior was trained on tokens of tokenizer {prior.tokenizer_fingerprint}, these are of "
            f"{tokenizer_fingerprint}. Pass a prior for that tokenizer, or --prior none."
        )


def _checked_model(header: StreamHeader, prior: LoadedPrior | None, origin: str) -> CodingModel:
    if header.prior is None:
        return order0_model(header.bits_per_token, header.group_bits)
    wanted = header.prior.fingerprint
    if prior is None:
        raise UsageError(f"{origin} was coded with the prior {wanted}; pass it with --prior.")
    if prior.mark.fingerprint != wanted:
        raise UsageError(
            f"{origin} was coded with the prior {wanted}, not with {prior.mark.fingerprint}; pass the first "
            "with --prior."
        )
    check_prior(prior, header.tokenizer_fingerprint)
    if prior.model.group_bits != header.group_bits:
        raise FormatError(f"{origin} has groups of {header.group_bits} bits, its prior of another size.")
    return prior.model


def _model(bits_per_token: int, prior: LoadedPrior | None) -> CodingModel:
    return prior.model if prior is not None else order0_model(bits_per_token)


def _coded(shape: tuple[int, int, int], chunk: Chunk | None) -> CodedClip:
    if chunk is None:
        return CodedClip(shape=shape, checksums=(), data=None)
    return CodedClip(shape=shape, checksums=chunk.frame_checksums, data=chunk.payload)


def _refuse_damage(header: StreamHeader, chunks: Sequence[Chunk | None], origin: str) -> None:
    damaged = [index for index, chunk in enumerate(chunks) if chunk is None or not chunk.intact]
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise FormatError(
            f"{origin} is damaged: clip {damaged[0] + 1} of {len(header.clips)}{more}. Copy it again, or add "
            "--salvage to restore what is undamaged."
        )


def _undecodable(
    header: StreamHeader, prior: LoadedPrior | None, origin: str, index: int, frame: int
) -> FormatError | NumericsMismatchError:
    where = f"frame {frame + 1} of clip {index + 1}"
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
