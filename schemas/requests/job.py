"""The job file: what a person writes to have a collection tokenized. Unknown keys are rejected."""

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bitmill.schemas.errors import BadJobError
from bitmill.schemas.ids import content_id

JOB_SPEC_VERSION = 1

Device = Literal["cpu", "cuda"]
"""What a job runs on, once ``device: auto`` is decided."""

PixelRule = Literal[1, 2]
"""The arithmetic that makes pixels of a video's frames (docs/decoding.md)."""

NEWEST_PIXEL_RULE: PixelRule = 2

PIXEL_RULE_FIELD = "frames.pixel_rule"
"""Its name among ``fingerprint_fields``, where rule 1 is absent: datasets from before it had a number."""

MIB = 1 << 20
GIB = 1 << 30


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSpec(_Part):
    """Where the media is: exactly one of ``paths`` and ``manifest``."""

    paths: list[str] | None = None
    """Folders (taken with everything below them), globs, braces and single files, on any store fsspec knows.
    A tar is a source of many items."""
    manifest: str | None = None
    """A Parquet, CSV or JSONL table with a column ``uri`` and, if wanted, ``start``, ``end`` (seconds),
    ``caption`` and any others, which travel along as metadata."""

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.paths is None) == (self.manifest is None):
            raise ValueError("give either paths or manifest")
        if self.paths is not None and not self.paths:
            raise ValueError("paths is empty")
        return self


class TokenizerSpec(_Part):
    """Which tokenizer: a bundled one, a saved folder, or a preset with random weights (for trials only)."""

    bundled: str | None = None
    """Name of a trained tokenizer that comes with bitmill: ``small``."""
    path: str | None = None
    """Folder with config.json and model.safetensors, on any store."""
    preset: str | None = None
    """Name of a built-in size; its weights are random, drawn from ``seed``."""
    bits_per_token: Annotated[int, Field(ge=1, le=64)] | None = None
    """L for a preset, where the preset's own is not wanted."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(name is not None for name in (self.bundled, self.path, self.preset)) != 1:
            raise ValueError("give one of bundled, path and preset")
        if self.preset is None and self.bits_per_token is not None:
            raise ValueError("bits_per_token belongs to a preset; a trained tokenizer has its own")
        return self


class SamplingSpec(_Part):
    """Which frames of an item become which clips."""

    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    """Frames a second, sampled by presentation time; null takes each frame of the source once."""
    clip_frames: Annotated[int, Field(ge=1, le=65536)] | None = None
    """T: frames of a full clip; the last clip of an item may be shorter. Null takes as many as the tokenizer
    has positions for."""
    min_frames: Annotated[int, Field(ge=1)] = 1
    """A last clip with fewer frames is dropped; an image counts as one frame and is always kept."""

    @model_validator(mode="after")
    def _tail_fits(self) -> Self:
        if self.clip_frames is not None and self.min_frames > self.clip_frames:
            raise ValueError(f"min_frames {self.min_frames} is more than clip_frames {self.clip_frames}")
        return self

    @property
    def num_clip_frames(self) -> int:
        """T, once the tokenizer has been asked (``with_clip_frames``); 16 where there is none to ask."""
        return 16 if self.clip_frames is None else self.clip_frames

    def rule(self) -> dict[str, Any]:
        """The part that decides which frames a clip holds; it enters every clip id."""
        return {"fps": self.fps, "clip_frames": self.num_clip_frames}


class FrameSpec(_Part):
    """How a frame's pixels become the tokenizer's."""

    size_px: Annotated[int, Field(gt=0, le=8192)] | None = None
    """Side of the square: short side resized to it (Lanczos, antialiased), centre cropped. Null takes the
    tokenizer's own."""
    interpolate_positions: bool = False
    """Allow a ``size_px`` that the tokenizer was not made for: a copy of it with interpolated positions, a
    tokenizer of its own, makes the tokens and goes into the dataset."""
    pixel_rule: PixelRule | None = None
    """Null: a dataset goes on by its own; a new one takes the newest that its decoder allows."""


class LimitsSpec(_Part):
    """What one foreign file may cost; beyond it the item is given up, never the job."""

    item_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    """Longest time a decoder may take to its next clip."""
    item_memory_bytes: Annotated[int, Field(ge=64 * MIB)] = 4 * GIB
    """Memory that decoding one item may take on top of the idle decoder process."""
    staging_bytes: Annotated[int, Field(gt=0)] | None = None
    """Copies of remote objects on one machine, in sum (docs/operations.md); null takes what its disk has."""
    max_pixels: Annotated[int, Field(gt=0)] = 64 * MIB
    """Pixels of one source frame or picture (8192×8192)."""
    max_frames: Annotated[int, Field(gt=0)] = 10_000_000
    """Sampled frames taken from one item."""


class ShardingSpec(_Part):
    """How the plan is cut; smaller shards lose less to a preempted node, larger ones make fewer files."""

    max_bytes: Annotated[int, Field(gt=0)] = 512 * MIB
    """Source bytes in one shard (one larger source is a shard by itself); spans of one object that stand
    together count it once."""
    max_sources: Annotated[int, Field(gt=0)] = 4096
    split_s: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Videos that last longer are planned in spans of so many seconds, each a source by itself."""


class StorageSpec(_Part):
    """How codes are stored in a token shard."""

    codes_compression: Literal["none", "zstd"] = "none"
    """Codes of a good tokenizer are near random: ``none`` makes a clip one byte range of the file."""
    row_group_bytes: Annotated[int, Field(ge=1024, le=GIB)] = 4 * MIB
    """Codes in one row group, the unit of reading."""


class ComputeSpec(_Part):
    """What the job runs on. What follows ``batch_frames`` never touches a byte."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where the cluster has GPUs, else cpu. The resolved one enters the fingerprint."""
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    """What the model computes in; in the fingerprint, since each gives other bits (docs/model.md)."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Model threads of a CPU actor; in the fingerprint, so that bytes don't depend on the machine's size."""
    decoder: Literal["auto", "pyav", "decord"] = "auto"
    """auto takes the faster one where both are proven to give the same pixels (PyAV, as measured); decord
    means decord where a look at the packets says that it is safe, PyAV elsewhere. The ledger names it."""
    batch_frames: Annotated[int, Field(ge=1)] = 64
    """Frames given to the model at once, of one clip or several."""
    actors: Annotated[int, Field(ge=1)] | None = None
    """Tokenizer actors; null follows the cluster up and down: as many as its GPUs have room for, or one for
    each two CPUs where there are none."""
    gpus_per_actor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a GPU that an actor takes; 0.5 puts two on each."""
    decoders: Annotated[int, Field(ge=1)] | None = None
    """Items decoded at once for one actor; null divides the cluster's CPUs, with no more clips in flight
    than half of Ray's object stores hold."""
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """When asked to stop (SIGTERM), shards at work may take so long to finish before they are abandoned."""


class JobSpec(_Part):
    """A whole tokenization job. ``schemas/job.example.yaml`` explains every key."""

    version: Literal[1]
    source: SourceSpec
    output: str
    """Folder of the dataset, on any store; new, empty, or this very job's own."""
    tokenizer: TokenizerSpec
    sampling: SamplingSpec = SamplingSpec()
    frames: FrameSpec = FrameSpec()
    limits: LimitsSpec = LimitsSpec()
    sharding: ShardingSpec = ShardingSpec()
    storage: StorageSpec = StorageSpec()
    compute: ComputeSpec = ComputeSpec()
    max_failures: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of items that may fail before the job stops with exit code 4; null never stops. A tar's items are
    judged when its shard is done, by the number of items known then."""

    @model_validator(mode="after")
    def _decord_gives_rgb(self) -> Self:
        if self.compute.decoder == "decord" and self.frames.pixel_rule not in (None, 1):
            raise ValueError(
                f"decord gives RGB alone, of which only pixel rule 1 makes frames, not {PIXEL_RULE_FIELD} "
                f"{self.frames.pixel_rule}: leave that out, or take compute.decoder auto"
            )
        return self


def load_job(text: str, *, origin: str, overrides: dict[str, Any] | None = None) -> JobSpec:
    """Read a job from YAML text.

    ``origin`` names the text in errors; ``overrides`` maps dotted keys (``sampling.fps``) to values that win
    over the file's. Raises BadJobError with one line for each wrong key.
    """
    try:
        document: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise BadJobError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise BadJobError(f"{origin} must be a YAML mapping of job keys (see schemas/job.example.yaml).")
    return make_job({**document}, origin=origin, overrides=overrides)


def make_job(document: dict[str, Any], *, origin: str, overrides: dict[str, Any] | None = None) -> JobSpec:
    """Validate a job given as nested mappings; arguments and errors as for ``load_job``."""
    for dotted, value in (overrides or {}).items():
        set_dotted(document, dotted, value)
    version = document.get("version")
    if isinstance(version, int) and version > JOB_SPEC_VERSION:
        raise BadJobError(
            f"{origin} has version {version}; this bitmill knows up to {JOB_SPEC_VERSION}. Upgrade bitmill."
        )
    try:
        return JobSpec.model_validate(document)
    except ValidationError as error:
        raise BadJobError(f"{origin}: {describe_validation(error)}") from error


def with_clip_frames(job: JobSpec, clip_frames: int) -> JobSpec:
    """The job with these frames of a full clip, where it leaves them to the tokenizer.

    Raises BadJobError where its ``min_frames`` are more.
    """
    if job.sampling.clip_frames is not None:
        return job
    try:
        sampling = SamplingSpec.model_validate({**job.sampling.model_dump(), "clip_frames": clip_frames})
    except ValidationError as error:
        raise BadJobError(f"The job's sampling: {describe_validation(error)}") from error
    return job.model_copy(update={"sampling": sampling})


def describe_validation(error: ValidationError) -> str:
    """One sentence for each wrong key, by its dotted name; no input value longer than a word is echoed."""
    parts: list[str] = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "the document"
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {where!r}")
        elif item["type"] == "missing":
            parts.append(f"key {where!r} is missing")
        else:
            parts.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts) + "."


def set_dotted(document: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one key of nested mappings by its dotted name, in place; missing parents are made."""
    *parents, last = dotted.split(".")
    place = document
    for parent in parents:
        below = place.get(parent)
        place[parent] = dict(below) if isinstance(below, dict) else {}
        place = place[parent]
    place[last] = value


def fingerprint_fields(
    job: JobSpec, *, tokenizer_fingerprint: str, size_px: int, device: str, pixel_rule: PixelRule
) -> dict[str, Any]:
    """What decides a job's bytes, by dotted name: two runs with equal fields write equal shards."""
    fields = {
        "tokenizer": tokenizer_fingerprint,
        "sampling.fps": job.sampling.fps,
        "sampling.clip_frames": job.sampling.num_clip_frames,
        "sampling.min_frames": job.sampling.min_frames,
        "frames.size_px": size_px,
        "limits.max_pixels": job.limits.max_pixels,
        "limits.max_frames": job.limits.max_frames,
        "storage.codes_compression": job.storage.codes_compression,
        "storage.row_group_bytes": job.storage.row_group_bytes,
        "compute.device": device,
        "compute.dtype": job.compute.dtype,
        "compute.threads": job.compute.threads if device == "cpu" else None,
        "compute.decoder": job.compute.decoder,
        "compute.batch_frames": job.compute.batch_frames,
    }
    return fields if pixel_rule == 1 else fields | {PIXEL_RULE_FIELD: pixel_rule}


def job_fingerprint(fields: dict[str, Any]) -> str:
    """Content id over ``fingerprint_fields``; a part of every shard's name."""
    return content_id("job", fields)
