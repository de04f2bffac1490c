"""Prepares a job's dataset folder: loads the tokenizer, then plans the sources or loads the stored plan."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitmill.jobs.preparation.append_and_retry import Growth, grow
from bitmill.jobs.preparation.models.find_frame_sizes import job_frame_sizes
from bitmill.jobs.preparation.models.job_tokenizer import job_tokenizer
from bitmill.jobs.preparation.models.loaded_tokenizer import LoadedTokenizer
from bitmill.jobs.preparation.same_job import check_same_job, source_fields
from bitmill.pipeline.dataset.dataset_folder import WEIGHTS_FILE as STORED_WEIGHTS_FILE
from bitmill.pipeline.dataset.dataset_folder import (
    check_other_plan,
    committed_shards,
    find_card,
    load_plan,
    numbered_part,
    save_tokenizer_files,
    write_plan,
)
from bitmill.pipeline.decode.video import decord_reader
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.planning.split_videos import split_long
from bitmill.pipeline.removing.removal_filter import NOTHING, Takedown
from bitmill.pipeline.removing.removal_records import KnownTakedown
from bitmill.pipeline.shard.shard_loop import ShardContext
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder, normalise, refuse_writing
from bitmill.schemas.dataset.card import DATASET_FILE, PLAN_FOLDER, TOKENIZER_FOLDER, DatasetCard, Totals
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.shard_totals import TOTALS_FILE
from bitmill.schemas.dataset.token_shard import TOKEN_SHARD_FORMAT_VERSION
from bitmill.schemas.errors import BadJobError, OutputConflictError
from bitmill.schemas.models.bsq_vit_config import WEIGHTS_FILE, TokenizerConfig
from bitmill.schemas.reports.status_file import STATUS_FILE
from bitmill.schemas.requests.frames import INTERPOLATED_POSITIONS, NEWEST_PIXEL_RULE, PixelRule
from bitmill.schemas.requests.job import Device, JobSpec, ShardVersion, with_clip_frames
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint

_GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "kfd", "dxg")
"""NVIDIA's drivers (Tegra's last), AMD's, and that of Windows' subsystem for Linux."""


@dataclass(frozen=True, kw_only=True)
class PreparedJob:
    """A dataset folder with a stored plan, and its remaining work."""

    job: JobSpec
    folder: Folder
    card: DatasetCard
    shards: tuple[PlannedShard, ...]
    committed: frozenset[str]
    tokenizer: LoadedTokenizer
    device: Device
    context: ShardContext
    takedown: Takedown = NOTHING
    """Sources removed from the dataset; actors check again before each shard."""
    notes: tuple[str, ...] = ()
    """Notes from planning for the user, one sentence each."""

    @property
    def remaining(self) -> list[PlannedShard]:
        """Planned shards that are not committed, in plan order."""
        return [shard for shard in self.shards if shard.shard_id not in self.committed]

    @property
    def finished(self) -> Totals | None:
        """The totals of a dataset that an earlier run completed, or None if work is left."""
        return None if self.remaining else self.card.totals


def prepare(
    job: JobSpec,
    *,
    cluster_has_gpus: Callable[[], bool],
    growth: Growth | None = None,
    claim: Callable[[Folder], None] | None = None,
) -> PreparedJob:
    """Check a job, then plan its dataset, or load the stored plan of an earlier run and grow it.

    ``cluster_has_gpus`` is called only for ``device: auto`` of a new dataset; ``claim`` is called with the
    output folder once it is known to belong to this job. Raises BadJobError (also OutputConflictError, naming
    each differing field) before anything is written.
    """
    refuse_writing(normalise(job.output))
    tokenizer = job_tokenizer(job)
    sizes = job_frame_sizes(job, tokenizer.geometry)
    folder = Folder(job.output)
    # Listed before the card is read: another driver may be writing the card and other files right now.
    names = _names_in(folder)
    card = find_card(folder)
    job = with_clip_frames(job, _clip_frames(card, tokenizer))
    device = _device(job, card, cluster_has_gpus)
    pixel_rule = _pixel_rule(job, card)
    shard_version = _shard_version(job, card, tokenizer)
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=tokenizer.fingerprint,
        size_px=sizes.largest[0] if job.frames.is_square else None,
        device=device,
        pixel_rule=pixel_rule,
        shard_version=shard_version,
        positions=_positions(job, tokenizer),
    )
    growth, notes = growth or Growth(), tuple[str, ...]()
    sources = source_fields(job.source)
    if card is None:
        if growth.retry_failed and not growth.append:
            raise BadJobError(f"There is no dataset at {folder.uri} whose failed items could be retried.")
        _check_unused(folder, names, tokenizer)
    else:
        check_same_job(folder, card, fields, sources, append=growth.append)
    if claim is not None:
        claim(folder)
    if card is None:
        card, shards = _plan_new(job, folder, tokenizer, fields)
    else:
        shards = load_plan(folder, card)
        grown = grow(folder, job, growth, card=card, shards=shards, source_fields=sources)
        card, shards, notes = grown.card, grown.shards, grown.notes
    folder.sweep_staging()
    return PreparedJob(
        job=job,
        folder=folder,
        card=card,
        shards=tuple(shards),
        committed=frozenset(committed_shards(folder) & {shard.shard_id for shard in shards}),
        tokenizer=tokenizer,
        device=device,
        context=ShardContext(
            job=job,
            job_fingerprint=card.job_fingerprint,
            tokenizer_fingerprint=tokenizer.fingerprint,
            geometry=tokenizer.geometry,
            sizes=sizes,
            pixel_rule=pixel_rule,
            shard_version=shard_version,
        ),
        takedown=KnownTakedown(folder).look(),
        notes=notes,
    )


def _clip_frames(card: DatasetCard | None, tokenizer: LoadedTokenizer) -> int:
    """Returns the default ``clip_frames``: an existing dataset's own, since earlier releases had another."""
    stored: int | None = card.fingerprint_fields.get("sampling.clip_frames") if card is not None else None
    return tokenizer.geometry.usual_frames if stored is None else stored


def _device(job: JobSpec, card: DatasetCard | None, cluster_has_gpus: Callable[[], bool]) -> Device:
    if job.compute.device != "auto":
        return job.compute.device
    if card is not None:
        return "cuda" if card.fingerprint_fields.get("compute.device") == "cuda" else "cpu"
    return "cuda" if cluster_has_gpus() else "cpu"


def _pixel_rule(job: JobSpec, card: DatasetCard | None) -> PixelRule:
    if job.frames.pixel_rule is not None:
        return job.frames.pixel_rule
    if job.compute.decoder == "decord":
        if not decord_reader.is_installed():
            raise BadJobError(f"{decord_reader.NOT_INSTALLED}.")
        return 1
    return NEWEST_PIXEL_RULE if card is None else card.pixel_rule


def _shard_version(job: JobSpec, card: DatasetCard | None, tokenizer: LoadedTokenizer) -> ShardVersion:
    stored = TOKEN_SHARD_FORMAT_VERSION if card is None else card.shard_version
    version = job.storage.shard_version or stored
    if version == 1 and not isinstance(tokenizer.config, TokenizerConfig):
        raise BadJobError("storage.shard_version 1 is for BSQ-ViT alone; leave it out.")
    return version


def _positions(job: JobSpec, tokenizer: LoadedTokenizer) -> str | None:
    config = tokenizer.config
    is_interpolating = isinstance(config, TokenizerConfig) and config.positions == "interpolate"
    return INTERPOLATED_POSITIONS if is_interpolating and not job.frames.is_square else None


def _plan_new(
    job: JobSpec, folder: Folder, tokenizer: LoadedTokenizer, fields: dict[str, Any]
) -> tuple[DatasetCard, list[PlannedShard]]:
    found = find_sources(job.source)
    fingerprint_of_job = job_fingerprint(fields)
    sources = split_long(found.sources, job.sharding.split_s, job.limits)
    shards = cut_shards(sources, job.sharding, fingerprint_of_job)
    save_tokenizer_files(folder, tokenizer.files)
    # Listing may take hours; the other run's plan is not to be overwritten.
    check_other_plan(folder, (), [numbered_part(0, shards)])
    card = DatasetCard(
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokenizer=tokenizer.config,
        geometry=tokenizer.geometry,
        tokenizer_note=None if tokenizer.origin is None else tokenizer.origin.note,
        job_fingerprint=fingerprint_of_job,
        fingerprint_fields=fields,
        job=job.model_dump(mode="json", exclude={"output"}),
        source_fields=source_fields(job.source),
        plan=[write_plan(folder, 0, shards)],
        ignored_files=found.ignored_files,
    )
    # The card is written last: a folder without a card is planned from scratch.
    folder.write_bytes(DATASET_FILE, card.to_json())
    return card, shards


def _names_in(folder: Folder) -> set[str]:
    try:
        return folder.top_names()
    except NotADirectoryError as error:
        raise OutputConflictError(f"The output {folder.uri} is a file; give a folder.") from error


def _check_unused(folder: Folder, names: set[str], tokenizer: LoadedTokenizer) -> None:
    """Raise OutputConflictError if the output has files that no run could leave before writing its card."""
    ours = names <= {TOKENIZER_FOLDER, PLAN_FOLDER, STATUS_FILE, TOTALS_FILE}
    weights = tokenizer.files.get(WEIGHTS_FILE)
    if ours and folder.exists(STORED_WEIGHTS_FILE):
        ours = folder.read_bytes(STORED_WEIGHTS_FILE) == weights
    if not ours:
        raise OutputConflictError(
            f"The output {folder.uri} contains files but no dataset; choose a new or empty folder."
        )


def _this_machine_has_gpus() -> bool:
    """Ask torch, which is slow to import, only where the kernel has a driver of a GPU."""
    devices = Path("/dev")
    if not any(True for pattern in _GPU_DEVICES for _ in devices.glob(pattern)):
        return False
    import torch

    return torch.cuda.is_available()


def has_gpus(address: str | None) -> bool:
    """Whether the cluster at ``address`` has GPUs, or this machine if it is None."""
    if address is None:
        return _this_machine_has_gpus()
    from bitmill.jobs.cluster.connection.ray_session import Cluster

    with Cluster(address) as cluster:
        return cluster.count("GPU") > 0
