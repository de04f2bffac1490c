"""The checks: each raises BrokenContractError with how its promise is broken.

Axes: T frames, H and W pixels, N tokens, D dimensions of a code.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import torch
from torch import Tensor

from bitmill.bsq_model import contract
from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.contract import DecodesPyramids, Streams
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.saving import tokenizer_files
from bitmill.schemas.dataset.packing import pack_codes, unpack_codes
from bitmill.schemas.errors import BrokenContractError, UsageError
from bitmill.testing.subject import DoesNotApplyError, Subject, called, weights_of


def check_members(subject: Subject) -> None:
    """Making the subject has looked at them already."""
    if subject.tokenizer.geometry != subject.geometry:
        raise BrokenContractError("geometry is not constant")


def check_lengths(subject: Subject) -> None:
    for length in subject.lengths:
        _check_shapes(subject, subject.clip(length))


def check_sizes(subject: Subject) -> None:
    for size in subject.sizes:
        _check_shapes(subject, subject.clip(subject.lengths[0], size))


def _check_shapes(subject: Subject, clip_THWC: Tensor) -> None:
    geometry, (num_frames, height, width) = subject.geometry, clip_THWC.shape[:3]
    grid = subject.grid_of(clip_THWC)
    tokens = grid if geometry.layout == "grid" else (geometry.num_tokens(grid),)
    expected = [*tokens, geometry.code.dimensions]
    codes = subject.codes_of(clip_THWC)
    if list(codes.shape) != expected:
        raise BrokenContractError(
            f"codes of {num_frames} frames of {height}×{width} pixels are {list(codes.shape)}, not {expected}"
        )
    contract.check_frames(subject.frames_of(codes, grid), clip_THWC.shape)


def check_scales(subject: Subject) -> None:
    tokenizer, geometry = subject.tokenizer, subject.geometry
    if not isinstance(tokenizer, DecodesPyramids) or geometry.layout != "pyramid":
        raise DoesNotApplyError
    for size in subject.sizes:
        clip = subject.clip(size=size)
        codes_ND, grid = subject.codes_of(clip), subject.grid_of(clip)
        for end in accumulate(map(prod, geometry.scales(grid))):
            (pixels,) = called(
                lambda codes, grid=grid: tokenizer.decode_pyramids(codes, [grid]),
                [codes_ND[:end]],
                "decode_pyramids",
            )
            contract.check_pixels(pixels, clip.shape)


def check_codes(subject: Subject) -> None:
    noise, code = subject.clip(), subject.geometry.code
    for clip in (noise, torch.zeros_like(noise), torch.full_like(noise, 255)):
        codes = subject.codes_of(clip)
        contract.check_codes(codes, subject.geometry, clip.shape[:3])
        codes_ND = codes.reshape(-1, code.dimensions).numpy()
        stored = unpack_codes(pack_codes(codes_ND, code), len(codes_ND), code)
        if not bool((stored == codes_ND).all()):
            raise BrokenContractError("codes are not the same after they were stored")


def check_determinism(subject: Subject) -> None:
    clip = subject.clip()
    codes, grid = subject.codes_of(clip), subject.grid_of(clip)
    given = clip.clone()
    with torch.inference_mode():
        subject.tokenizer.encode([given])
    if not torch.equal(given, clip):
        raise BrokenContractError("encode changes the frames that it is given")
    subject.expect_same(subject.codes_of(clip), codes, "encoded twice, a clip has different codes")
    once, twice = (subject.frames_of(codes, grid) for _ in range(2))
    subject.expect_same(once, twice, "decoded twice, codes give different frames")


def check_batch(subject: Subject) -> None:
    clips = [subject.clip(length, seed=seed) for seed, length in enumerate([*subject.lengths, None])]
    alone = [subject.codes_of(clip) for clip in clips]
    for step in (1, -1):
        for codes, its_own in zip(subject.encode(clips[::step]), alone[::step], strict=True):
            subject.expect_same(codes, its_own, "codes of a clip are others in a batch than alone")
    for grey in (0, 255):
        codes, _ = subject.encode([clips[-1], torch.full_like(clips[-1], grey)])
        subject.expect_same(
            codes, alone[-1], f"codes of a clip are others beside a clip of grey level {grey}"
        )


def check_causal(subject: Subject) -> None:
    clip, codes = _grid_clip(subject)
    for rows in sorted({1, len(codes) // 2, len(codes) - 1} - {0, len(codes)}):
        changed, num_frames = clip.clone(), subject.geometry.frames_of_rows(rows)
        changed[num_frames:] = 255 - changed[num_frames:]
        what = f"codes change when frames from {num_frames} on, which are later, change"
        subject.expect_same(subject.codes_of(changed)[:rows], codes[:rows], what)


def check_prefix(subject: Subject) -> None:
    clip, codes = _grid_clip(subject)
    for length in subject.lengths[:-1]:
        short = subject.codes_of(clip[:length])
        what = f"codes of {length} frames are not those at the start of {len(clip)} frames"
        subject.expect_same(short, codes[: subject.geometry.token_rows(length)], what)


def check_streams(subject: Subject) -> None:
    if not isinstance(subject.tokenizer, Streams):
        raise BrokenContractError("it has no stream_encoder")
    first, _ = _grid_clip(subject)
    clips = [first, subject.clip(seed=1)]
    expected = [subject.codes_of(clip) for clip in clips]
    for step in sorted({subject.geometry.frames_per_token, max(1, len(first) - subject.lengths[0])}):
        for codes, whole in zip(_streamed(subject, subject.tokenizer, clips, step), expected, strict=True):
            what = f"chunks of {step} frames, of two clips in turn, have other codes than whole clips"
            subject.expect_same(codes, whole, what)


def _streamed(subject: Subject, tokenizer: Streams, clips: Sequence[Tensor], step: int) -> list[Tensor]:
    streams, parts = [tokenizer.stream_encoder() for _ in clips], [list[Tensor]() for _ in clips]
    at, num_frames = 0, len(clips[0])
    with torch.inference_mode():
        for end in [*range(subject.lengths[0], num_frames, step), num_frames]:
            for stream, clip, codes in zip(streams, clips, parts, strict=True):
                codes.append(stream.push(clip[at:end]).cpu())
            at = end
    return [torch.cat(codes) for codes in parts]


def _grid_clip(subject: Subject) -> tuple[Tensor, Tensor]:
    """A longest clip and its codes; a pyramid has one number of rows, of which none is earlier."""
    if subject.geometry.layout != "grid":
        raise DoesNotApplyError
    clip = subject.clip()
    return clip, subject.codes_of(clip)


def check_finite(subject: Subject) -> None:
    tokenizer = subject.make()
    with torch.no_grad():
        for weight in weights_of(tokenizer):
            weight.fill_(torch.nan)
    try:
        with torch.inference_mode():
            tokenizer.encode([subject.clip()])
    except UsageError:
        return
    raise BrokenContractError(
        "with weights that are NaN, encode returns codes, where it must raise a UsageError"
    )


def check_dtype(subject: Subject) -> None:
    tokenizer = subject.make()
    tokenizer.to(device="cpu", dtype=torch.float32)
    clip = subject.clip()
    codes = called(tokenizer.encode, [clip], "encode")[0]
    subject.expect_same(codes, subject.codes_of(clip), "codes change when it is moved to the CPU in float32")
    try:
        tokenizer.to(device="cpu", dtype=torch.bfloat16)
    except UsageError:
        return
    if tokenizer.fingerprint != subject.tokenizer.fingerprint:
        raise BrokenContractError("the fingerprint changes in bfloat16; it is that of the float32 weights")


def check_made_again(subject: Subject) -> None:
    tokenizer, clip = subject.tokenizer, subject.clip()
    with torch.random.fork_rng(devices=[]):
        # Weights that are drawn by torch's common generator would be others.
        torch.manual_seed(1)
        is_own = isinstance(tokenizer, BSQTokenizer)
        again = load_files(tokenizer_files(tokenizer)) if is_own else subject.make()
    if again.fingerprint != tokenizer.fingerprint:
        raise BrokenContractError(
            f"made again, its fingerprint is {again.fingerprint}, not {tokenizer.fingerprint}"
        )
    (codes,) = called(again.encode, [clip], "encode")
    subject.expect_same(
        codes, subject.codes_of(clip), "made again, it has the same fingerprint and other codes"
    )


def check_fingerprint(subject: Subject) -> None:
    before = subject.tokenizer.fingerprint
    if subject.other is not None:
        if subject.other().fingerprint == before:
            raise BrokenContractError("with other weights the fingerprint is the same")
        return
    tokenizer = subject.make()
    weights = weights_of(tokenizer)
    for weight in (weights[0], weights[-1]):
        with torch.no_grad():
            weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
        if tokenizer.fingerprint == before:
            raise BrokenContractError("the fingerprint is the same after a weight has changed")
        before = tokenizer.fingerprint
