"""The job file of ``bitmill tokenize``. Unknown keys are rejected."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from bitmill.schemas.errors import BadJobError
from bitmill.schemas.requests.frames import FrameSpec
from bitmill.schemas.requests.spec_files import make_spec, yaml_mapping
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel

JOB_SPEC_VERSION = 1

Device = Literal["cpu", "cuda"]
"""The device of a job, after ``device: auto`` is resolved."""

ShardVersion = Literal[1, 2]
"""The version of the token shard (docs/format.md)."""

MIB = 1 << 20
GIB = 1 << 30


MOST_SEED = (1 << 64) - 1
"""Of torch's generators."""

Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]

MOST_CLIP_FRAMES = 65536


class SourceSpec(StrictModel):
    """The media to tokenize: exactly one of ``paths`` and ``manifest``."""

    paths: list[str] | None = None
    """Folders (recursive), globs, braces and single files, on any store that fsspec supports. A tar is one
    source with many items."""
    manifest: str | None = None
    """A Parquet, CSV or JSONL table with a column ``uri`` and optionally ``start``, ``end`` (seconds),
    ``caption`` and others, which are stored as metadata."""

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


class TokenizerSpec(StrictModel, BaseModel):
    """Which tokenizer: a bundled one, a saved folder, or a preset with random weights (for trials only)."""

    bundled: str | None = None
    """Name of a trained tokenizer in the package: ``small-1`` or ``small``."""
    path: str | None = None
    """Folder with config.json and model.safetensors, on any store."""
    preset: str | None = None
    """Name of a built-in config; its weights are random, drawn from ``seed``."""
    bits_per_token: Annotated[int, Field(ge=1, le=64)] | None = None
    """L of a preset; None uses the preset's own."""
    seed: Seed = 0
    """Of a preset's random weights."""
    plugin: str | None = None
    """Name of a tokenizer that an installed package offers (docs/plugins.md)."""
    options: dict[str, Any] = {}
    """What the plugin is made with: a JSON object."""

    @field_validator("options")
    @classmethod
    def _options_are_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise ValueError("options must be JSON: text, numbers, lists, mappings by text (quote a date)")
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(name is not None for name in (self.bundled, self.path, self.preset, self.plugin)) != 1:
            raise ValueError("give one of bundled, path, preset and plugin")
        if self.plugin is None and self.options:
            raise ValueError("options belong to a plugin")
        if self.preset is None and self.bits_per_token is not None:
            raise ValueError("bits_per_token belongs to a preset; a trained tokenizer has its own")
        return self


class SamplingSpec(StrictModel):
    """Which frames of an item become which clips."""

    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    """Frames per second, sampled by presentation time; None takes every frame of the source once."""
    clip_frames: Annotated[int, Field(ge=1, le=MOST_CLIP_FRAMES)] | None = None
    """T: frames of a full clip; the last clip of an item may be shorter. None uses the tokenizer's
    number of frames."""
    min_frames: Annotated[int, Field(ge=1)] = 1
    """A last clip with fewer frames is dropped; an image counts as one frame and is always kept."""
    tail: Literal["pad", "drop"] = "pad"
    """A last clip of a length that the tokenizer does not take is padded by its last frame to the next such
    length, or cut to the one before; images are always padded."""
    seek: bool = False
    """With ``fps``: decode only what the sampled frames need, where the packets prove that they are the same
    frames (docs/decoding.md). Damage in what is skipped is not noticed."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.clip_frames is not None and self.min_frames > self.clip_frames:
            raise ValueError(f"min_frames {self.min_frames} is more than clip_frames {self.clip_frames}")
        if self.seek and self.fps is None:
            raise ValueError("seek skips frames between sampled ones: set fps, too")
        return self

    @property
    def num_clip_frames(self) -> int:
        """T after ``with_clip_frames`` has resolved it; 16 where no tokenizer is known."""
        return 16 if self.clip_frames is None else self.clip_frames

    def rule(self) -> dict[str, Any]:
        """Return the fields that determine a clip's frames; they are part of every clip id."""
        rule: dict[str, Any] = {"fps": self.fps, "clip_frames": self.num_clip_frames}
        return rule if self.tail == "pad" else rule | {"tail": self.tail}


class LimitsSpec(StrictModel):
    """Limits per source file; an item that exceeds one is given up, the job continues."""

    item_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    """Longest time that a decoder may take for its next clip."""
    item_memory_bytes: Annotated[int, Field(ge=64 * MIB)] = 4 * GIB
    """Memory that decoding one item may use beyond the idle decoder process."""
    staging_bytes: Annotated[int, Field(gt=0)] | None = None
    """Total size of copies of remote objects per machine (docs/operations.md); None uses the free disk."""
    max_pixels: Annotated[int, Field(gt=0)] = 64 * MIB
    """Most pixels of one source frame or picture (8192×8192)."""
    max_frames: Annotated[int, Field(gt=0)] = 10_000_000
    """Most sampled frames of one item."""


class ShardingSpec(StrictModel):
    """How the plan is divided into shards; small ones lose less to preemption, large ones are fewer."""

    max_bytes: Annotated[int, Field(gt=0)] = 512 * MIB
    """Most source bytes per shard (a larger source is a shard by itself); consecutive spans of one object
    count its bytes once."""
    max_sources: Annotated[int, Field(gt=0)] = 4096
    """Most sources per shard."""
    split_s: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Longer videos are planned in spans of this many seconds, each a separate source."""


class StorageSpec(StrictModel):
    """How codes are stored in a token shard."""

    codes_compression: Literal["none", "zstd"] = "none"
    """Codes of a good tokenizer are nearly random; with ``none`` a clip is one byte range of the file."""
    row_group_bytes: Annotated[int, Field(ge=1024, le=GIB)] = 4 * MIB
    """Bytes of codes per row group, the unit of reading."""
    shard_version: ShardVersion | None = None
    """None keeps an existing dataset's; a new dataset gets the newest. Version 1 is for readers before
    bitmill 0.2, and for BSQ-ViT alone."""


class ComputeSpec(StrictModel):
    """Compute settings. Fields after ``batch_frames`` never affect output bytes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda if the cluster has GPUs, else cpu. The resolved device is part of the fingerprint."""
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    """The model's dtype; part of the fingerprint, because it changes the bits (docs/model.md)."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Torch threads per CPU actor; part of the fingerprint, so that bytes do not depend on the machine."""
    decoder: Literal["auto", "pyav", "decord"] = "auto"
    """auto uses the faster one where both are proven to give the same pixels (PyAV, as measured); decord uses
    decord if the packets show that it is safe, else PyAV. The ledger records which one decoded."""
    batch_frames: Annotated[int, Field(ge=1)] = 64
    """Frames per model call, of one clip or several."""
    actors: Annotated[int, Field(ge=1)] | None = None
    """Tokenizer actors; None scales with the cluster: as many as its GPUs can take, or one per two CPUs if it
    has no GPUs."""
    gpus_per_actor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a GPU per actor; 0.5 puts two on each."""
    decoders: Annotated[int, Field(ge=1)] | None = None
    """Most items decoded concurrently per actor; fewer where decoding is quick enough. None divides the
    cluster's CPUs, and lets an actor that waits use up to four shares, with at most as many clips in flight
    as fit in half of Ray's object stores."""
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """On SIGTERM, running shards have this many seconds to finish before they are abandoned."""


class JobSpec(StrictModel):
    """A tokenization job. ``schemas/job.example.yaml`` explains every key."""

    version: Literal[1]
    """Of this kind of file."""
    source: SourceSpec
    output: str
    """Folder of the dataset, on any store: new, empty, or of this job."""
    tokenizer: TokenizerSpec
    sampling: SamplingSpec = SamplingSpec()
    frames: FrameSpec = FrameSpec()
    limits: LimitsSpec = LimitsSpec()
    sharding: ShardingSpec = ShardingSpec()
    storage: StorageSpec = StorageSpec()
    compute: ComputeSpec = ComputeSpec()
    max_failures: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of items that may fail before the job stops with exit code 4; None never stops. A tar's items are
    counted when its shard is done, relative to the number of items known then."""

    @model_validator(mode="after")
    def _decord_gives_rgb(self) -> Self:
        if self.compute.decoder == "decord" and self.frames.pixel_rule not in (None, 1):
            raise ValueError(
                f"decord returns RGB, which only pixel rule 1 supports, not frames.pixel_rule "
                f"{self.frames.pixel_rule}: leave that out, or use compute.decoder auto"
            )
        return self


def load_job(text: str, *, origin: str, overrides: dict[str, Any] | None = None) -> JobSpec:
    """Parse a job from YAML text.

    ``origin`` names the text in errors; ``overrides`` maps dotted keys (``sampling.fps``) to values that
    replace the file's. Raises BadJobError naming every wrong key.
    """
    document = yaml_mapping(
        text, origin=origin, expected="of job keys (see schemas/job.example.yaml)", error_type=BadJobError
    )
    return make_job(document, origin=origin, overrides=overrides)


def make_job(document: dict[str, Any], *, origin: str, overrides: dict[str, Any] | None = None) -> JobSpec:
    """Validate a job given as nested mappings; arguments and errors as for ``load_job``."""
    return make_spec(
        JobSpec,
        document,
        origin=origin,
        overrides=overrides,
        newest=JOB_SPEC_VERSION,
        error_type=BadJobError,
    )


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
