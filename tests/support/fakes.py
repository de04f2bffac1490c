"""Shipped fakes: an encoder whose bits follow from the pixels alone, and items that decode to given clips."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import Crop, DecodedClip, ItemEnd, ItemEvent, MediaFacts
from bitmill.pipeline.shard.encoder import Codes, Frames, PendingCodes, ReadyCodes
from bitmill.pipeline.shard.shard_loop import ShardContext
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import JobSpec, ShardVersion

Bits = npt.NDArray[np.bool_]


class HashEncoder:
    """A ClipEncoder: each frame's bits are drawn from its own pixels, so batches cannot matter."""

    def __init__(self, *, grid_size: int = 2, bits_per_token: int = 18) -> None:
        self.grid_size = grid_size
        self.bits_per_token = bits_per_token
        self.batches: list[list[int]] = []

    def begin(self, clips: Sequence[Frames]) -> PendingCodes:
        return ReadyCodes(self.encode(clips))

    def encode(self, clips: Sequence[Frames]) -> list[Bits]:
        self.batches.append([len(clip) for clip in clips])
        return [np.stack([self._frame_bits(frame) for frame in clip]) for clip in clips]

    def _frame_bits(self, frame: Frames) -> Bits:
        seed = int.from_bytes(hashlib.sha256(frame.tobytes()).digest()[:8], "little")
        shape = (self.grid_size, self.grid_size, self.bits_per_token)
        return np.random.default_rng(seed).random(shape) < 0.5


class CodeEncoder:
    """A ClipEncoder of any geometry: each token row's codes are drawn from the pixels of its frames."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry

    def begin(self, clips: Sequence[Frames]) -> PendingCodes:
        return ReadyCodes([self._codes(clip) for clip in clips])

    def _codes(self, clip_THWC: Frames) -> Codes:
        geometry, code = self._geometry, self._geometry.code
        assert geometry.is_legal(len(clip_THWC))
        grid = geometry.token_rows(len(clip_THWC)), *geometry.grid(*clip_THWC.shape[1:3])
        rows = grid if geometry.layout == "grid" else (1, geometry.num_tokens(grid))
        codes = np.empty((*rows, code.dimensions), np.bool_ if code.kind == "bits" else np.int64)
        largest = np.array([base - 1 for base in code.bases], np.int64)
        for row in range(len(codes)):
            frames = clip_THWC[: geometry.frames_of_rows(row + 1)]
            seed = int.from_bytes(hashlib.sha256(frames.tobytes()).digest()[:8], "little")
            drawn = np.random.default_rng(seed).integers(0, largest, codes.shape[1:], endpoint=True)
            codes[row] = drawn
        return codes if geometry.layout == "grid" else codes[0]


class SlowEncoder(HashEncoder):
    """The same bits as an accelerator gives them: none is there before it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def begin(self, clips: Sequence[Frames]) -> PendingCodes:
        number = len(self.batches)
        self.events.append(f"begin {number}")
        return _SlowBits(self, number, self.encode(clips))


class _SlowBits:
    gpu_s = 0.25

    def __init__(self, encoder: SlowEncoder, number: int, bits: list[Bits]) -> None:
        self._encoder, self._number, self._bits = encoder, number, bits

    def ready(self) -> bool:
        return False

    def wait(self) -> list[Bits]:
        self._encoder.events.append(f"wait {self._number}")
        return self._bits


def make_source(number: int, *, size_bytes: int = 1000, metadata: str | None = None) -> PlannedSource:
    return PlannedSource(
        uri=f"/media/{number:04d}.mp4", size_bytes=size_bytes, version=f"v{number}", metadata=metadata
    )


def make_clip(
    seed: int, *, num_frames: int = 4, start_ns: int = 0, size_px: int | tuple[int, int] = 16
) -> DecodedClip:
    """A clip of noise, square or of a size (height, width)."""
    size = (size_px, size_px) if isinstance(size_px, int) else size_px
    scaled_width = max(size[1], size[0] * 16 // 9)
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, *size, 3), dtype=np.uint8)
    times = start_ns + np.arange(num_frames, dtype=np.int64) * 125_000_000
    return DecodedClip(
        frames_THWC=frames,
        frame_pts_ns=times,
        start_ns=start_ns,
        end_ns=start_ns + num_frames * 125_000_000,
        fps=8.0,
        source_height=720,
        source_width=1280,
        crop=Crop(
            scaled_height=size[0], scaled_width=scaled_width, top=0, left=(scaled_width - size[1]) // 2
        ),
    )


def make_item(
    seed: int,
    clip_lengths: Sequence[int],
    *,
    reason: Reason | None = None,
    size_px: int | tuple[int, int] = 16,
) -> Iterator[ItemEvent]:
    """Events of an item with clips of the given lengths, one after another in time."""
    start_ns = 0
    for place, length in enumerate(clip_lengths):
        clip = make_clip(seed * 1000 + place, num_frames=length, start_ns=start_ns, size_px=size_px)
        start_ns = clip.end_ns
        yield clip
    facts = MediaFacts(media="video", container="mov", codec="h264", decoder="pyav", height=720, width=1280)
    yield ItemEnd(
        facts=facts,
        reason=reason,
        detail=None if reason is None else "made to fail",
        num_source_frames=sum(clip_lengths),
    )


def make_job(**changes: object) -> JobSpec:
    document = {
        "version": 1,
        "source": {"paths": ["/media"]},
        "output": "/tokens",
        "tokenizer": {"preset": "tiny"},
        **changes,
    }
    return JobSpec.model_validate(document)


def make_context(
    job: JobSpec | None = None,
    *,
    bits_per_token: int = 18,
    shard_version: ShardVersion = 2,
    geometry: Geometry | None = None,
) -> ShardContext:
    return ShardContext(
        job=job or make_job(),
        job_fingerprint="j" * 32,
        tokenizer_fingerprint="t" * 32,
        geometry=geometry or Geometry(patch_px=(8, 8), code=Code.of_bits(bits_per_token)),
        sizes=squares(16),
        pixel_rule=1,
        shard_version=shard_version,
    )
