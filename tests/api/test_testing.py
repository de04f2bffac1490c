"""The conformance suite: tokenizers that keep their contract pass, and each fault is found and named."""

import hashlib
import subprocess
import sys

import pytest
import torch

from bitmill.bsq_model.plugins import PluginTokenizer
from bitmill.schemas.errors import BrokenContractError, WrongArgumentError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.testing import check_tokenizer, conformance_checks
from tests.bsq_model.small import IMAGE, SMALL, random_tokenizer
from tests.bsq_model.test_variants import VARIANTS
from tests.support.pyramid_tokenizers import TRANSPOSED, ColourPyramid
from tests.support.toy_plugins.bitmill_toys.image import ToyImage
from tests.support.toy_plugins.bitmill_toys.video import ToyStream, ToyVideo

NAMES = [check.name for check in conformance_checks()]
PROMISES = ["causal", "prefix", "streams"]
OF_PYRAMIDS = ["scales"]
OF_WEIGHTS = ["finite", "fingerprint"]


def _all_but(*left_out: str) -> list[str]:
    return [name for name in NAMES if name not in left_out]


@pytest.mark.parametrize("check", conformance_checks(), ids=str)
def test_the_toy_video_keeps_every_promise(check):
    assert check(ToyVideo) == (check.name not in OF_PYRAMIDS)
    assert check(lambda: ToyVideo(seed=3), sizes=[(16, 40)], lengths=(5, 21), other=ToyVideo) == (
        check.name not in OF_PYRAMIDS
    )


def test_the_toy_image_keeps_what_it_promises():
    assert check_tokenizer(ToyImage) == _all_but(*PROMISES, *OF_PYRAMIDS, *OF_WEIGHTS)


def test_a_plugin_as_bitmill_loads_it_is_checked_as_it_is():
    def load():
        return PluginTokenizer(ToyVideo(), name="toy-video", options={}, package=None)

    assert check_tokenizer(load) == _all_but(*OF_PYRAMIDS)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, IMAGE, *VARIANTS.values()], ids=["small", "image", *VARIANTS])
def test_every_variant_of_bsq_vit_conforms(config):
    torch.set_num_threads(1)
    named = check_tokenizer(lambda: random_tokenizer(config))
    assert named == _all_but(*OF_PYRAMIDS, *(set(PROMISES) - set(config.geometry.promises)))


class Pyramid(ToyImage):
    """Grids of 1×1 and 2×2 tokens, one after the other."""

    geometry = Geometry(
        layout="pyramid",
        patch_px=(16, 16),
        max_frames=1,
        size_px=(32, 32),
        schedules={"2x2": ((1, 1, 1), (1, 2, 2))},
        code=Code.of_index(1000),
        promises=("causal",),
    )

    def encode(self, clips):
        fine = [codes.flatten(0, 2) for codes in super().encode(clips)]
        return [torch.cat([codes[:1], codes]) for codes in fine]

    def decode(self, codes):
        return super().decode([codes_ND[1:].unflatten(0, (1, 2, 2)) for codes_ND in codes])


def test_a_pyramid_is_checked_token_by_token():
    assert check_tokenizer(ColourPyramid) == _all_but(*PROMISES, *OF_WEIGHTS)
    assert check_tokenizer(Pyramid) == _all_but(*PROMISES, *OF_WEIGHTS, "scales")


class OneGrid(ColourPyramid):
    """It takes each number of tokens for one grid."""

    def decode_pyramids(self, codes, grids):
        return super().decode_pyramids(codes, [(1, 2, 4) if grid == (1, 4, 2) else grid for grid in grids])


class WholeAlone(ColourPyramid):
    def decode_pyramids(self, codes, grids):
        assert all(len(one) == self.geometry.num_tokens(grid) for one, grid in zip(codes, grids, strict=True))
        return super().decode_pyramids(codes, grids)


class Untold(ToyImage):
    """A pyramid without ``decode_pyramids`` that needs it."""

    geometry = TRANSPOSED

    def encode(self, clips):
        return ColourPyramid().encode(clips)


# One fault each, in a tokenizer that keeps all else that it promises.


def _promising(*promises) -> Geometry:
    return ToyVideo.geometry.model_copy(update={"promises": promises})


class NoDecode:
    geometry, fingerprint, encode, to = ToyVideo.geometry, "0" * 32, None, None


class OddName(ToyVideo):
    fingerprint = "toy"


class ExtraRow(ToyVideo):
    geometry = _promising()

    def encode(self, clips):
        return [torch.cat([codes, codes[:1]]) for codes in super().encode(clips)]


class Turned(ToyVideo):
    def encode(self, clips):
        return [
            codes.transpose(1, 2) if codes.shape[1] > codes.shape[2] else codes
            for codes in super().encode(clips)
        ]


class ShortDecode(ToyVideo):
    def decode(self, codes):
        return [frames[:1] for frames in super().decode(codes)]


class TooLarge(ToyVideo):
    geometry = _promising()

    def encode(self, clips):
        return [codes + (codes == 7) for codes in super().encode(clips)]


class Narrow(ToyVideo):
    geometry = _promising()

    def encode(self, clips):
        return [codes.int() for codes in super().encode(clips)]


class Counting(ToyVideo):
    geometry = _promising()
    calls = 0

    def decode(self, codes):
        Counting.calls += 1
        return [frames + Counting.calls for frames in super().decode(codes)]


class Overwriting(ToyVideo):
    def encode(self, clips):
        codes = super().encode(clips)
        clips[0].zero_()
        return codes


class Crowded(ToyVideo):
    def encode(self, clips):
        return [codes ^ (len(clips) > 1) for codes in super().encode(clips)]


class Neighbour(ToyVideo):
    def encode(self, clips):
        dark = min(int(clip.sum()) for clip in clips) == 0
        return [
            codes ^ (dark and bool(clip.any()))
            for codes, clip in zip(super().encode(clips), clips, strict=True)
        ]


class LooksAhead(ToyVideo):
    geometry = _promising("causal")

    def encode(self, clips):
        last = [clip[-1:].expand_as(clip) ^ clip for clip in clips]
        return super().encode(last)


class KnowsItsLength(ToyVideo):
    geometry = _promising("causal", "prefix")

    def encode(self, clips):
        return [codes.roll(int(len(codes) > 2), 2) for codes in super().encode(clips)]


class ForgetfulStream(ToyVideo):
    def encode(self, clips):
        return [ToyStream(self).push(clip) for clip in clips]

    def stream_encoder(self):
        stream = ToyStream(self)
        push = stream.push
        stream.push = lambda frames: push(frames) ^ (len(frames) == 4)  # type: ignore[method-assign]
        return stream


class NoStream(ToyImage):
    geometry = ToyImage.geometry.model_copy(update={"promises": ("streams",)})


class HidesNan(ToyVideo):
    def encode(self, clips):
        self.weight.nan_to_num_(0)
        return super().encode(clips)


class Renamed(ToyVideo):
    @property
    def fingerprint(self):
        return hashlib.sha256(
            self.weight.float().numpy().tobytes() + str(self.weight.dtype).encode()
        ).hexdigest()[:32]

    def to(self, *, device, dtype):
        self.weight.data = self.weight.data.to(dtype)


class Drawn(ToyVideo):
    def __init__(self):
        super().__init__(seed=torch.initial_seed())


class Unnamed(ToyVideo):
    fingerprint = "0" * 32


class DrawnUnnamed(Drawn):
    fingerprint = "0" * 32


class FailsToEncode(ToyImage):
    def encode(self, clips):
        raise RuntimeError("no kernel image")


FAULTS = {
    NoDecode: (NAMES, "has no decode"),
    OddName: (NAMES, "not 32 hex digits"),
    ExtraRow: (
        ["lengths", "sizes", "codes"],
        r"lengths: codes of 1 frames of 16×16 pixels are \[2, 2, 2, 4\], not \[1, ",
    ),
    Turned: (["sizes"], r"sizes: codes of 1 frames of 24×8 pixels are \[1, 1, 3, 4\], not \[1, 3, 1, 4\]"),
    ShortDecode: (["lengths"], r"lengths: decoded frames are torch.uint8 \[1, 16, 16, 3\], not uint8 \[5, "),
    TooLarge: (["codes"], r"codes: a code lies outside \[0, 8 × 8 × 5 × 5\)"),
    Narrow: (["codes"], "codes: codes are torch.int32"),
    Counting: (["determinism"], "determinism: decoded twice, codes give different frames; .* in row 0"),
    Overwriting: (["determinism"], "determinism: encode changes the frames"),
    Crowded: (["batch"], "batch: codes of a clip are others in a batch than alone"),
    Neighbour: (["batch"], "batch: codes of a clip are others beside a clip of grey level 0"),
    LooksAhead: (["causal"], "causal: codes change when frames from 1 on, which are later, change; .* row 0"),
    KnowsItsLength: (["prefix"], "prefix: codes of 1 frames are not those at the start of 9 frames"),
    ForgetfulStream: (["streams"], "streams: chunks of 4 frames, of two clips in turn, have other codes"),
    NoStream: (["streams"], "streams: it has no stream_encoder"),
    HidesNan: (["finite"], "finite: with weights that are NaN, encode returns codes"),
    Renamed: (["dtype"], "dtype: the fingerprint changes in bfloat16"),
    Drawn: (["made-again"], "made-again: made again, its fingerprint is"),
    DrawnUnnamed: (
        ["made-again", "fingerprint"],
        "made-again: made again, it has the same fingerprint and other",
    ),
    Unnamed: (["fingerprint"], "fingerprint: the fingerprint is the same after a weight has changed"),
    OneGrid: (
        ["sizes", "scales"],
        r"sizes: decoded frames are torch.uint8 \[1, 16, 32, 3\], not uint8 \[1, 32",
    ),
    WholeAlone: (["scales"], "scales: AssertionError"),
    Untold: (
        ["lengths", "sizes", "determinism"],
        "lengths: UsageError: the pyramids of 2x4 and 4x2 have 11 tokens each, so that it needs",
    ),
    FailsToEncode: (
        ["lengths", "sizes", "codes", "determinism", "batch", "dtype", "made-again"],
        "lengths: RuntimeError: no kernel image",
    ),
}


def test_every_check_is_failed_by_some_fault():
    assert {name for names, _ in FAULTS.values() for name in names} == set(NAMES)


@pytest.mark.parametrize(("make", "found"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_fault_fails_the_checks_of_what_it_breaks_and_no_other(make, found):
    names, sentence = found
    failed = []
    for check in conformance_checks():
        try:
            check(make)
        except BrokenContractError:
            failed.append(check.name)
    assert failed == names
    with pytest.raises(BrokenContractError, match=sentence):
        check_tokenizer(make)


def test_other_weights_must_have_another_name():
    with pytest.raises(
        BrokenContractError, match="fingerprint: with other weights the fingerprint is the same"
    ):
        check_tokenizer(ToyVideo, other=ToyVideo)


def test_clips_that_its_geometry_does_not_allow_are_the_callers_fault():
    with pytest.raises(WrongArgumentError, match="4 frames are no length"):
        check_tokenizer(ToyVideo, lengths=[4])
    with pytest.raises(WrongArgumentError, match="8×12 pixels are no size"):
        check_tokenizer(ToyVideo, sizes=[(8, 12)])


@pytest.mark.slow
def test_it_needs_no_pytest():
    code = (
        "import sys, bitmill.testing; assert not {'pytest', '_pytest', 'ray', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
