"""Checks a dataset as a whole: card, plan parts, files listed in its folders, tokenizer, totals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitmill.bsq_model.families import load_files, read_config
from bitmill.pipeline.auditing.result import ShardAtHand
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.auditing.shard.read_shard import damage_kind
from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.dataset_folder import load_tokenizer_files, require_card
from bitmill.pipeline.dataset.plan_file import plan_part, read_plan
from bitmill.pipeline.removing.check_removed import RemovedClips, removed_clips
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import (
    DATASET_FILE,
    LEDGER_FOLDER,
    PLAN_FOLDER,
    SHARD_FOLDER,
    TOKENIZER_FOLDER,
    DatasetCard,
    PlanPart,
    Totals,
)
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.removal import REMOVAL_FOLDER
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.requests.job_fingerprint import job_fingerprint

_SUFFIX = ".parquet"


@dataclass(frozen=True, kw_only=True)
class DatasetAtHand:
    """A dataset as listed in its folder."""

    folder: Folder
    card: DatasetCard
    tokenizer_fingerprint: str
    job_fingerprint: str
    """The job fingerprint that its files should have."""
    plan_is_whole: bool
    shards: tuple[ShardAtHand, ...]
    """In plan order, as far as the plan can be read."""
    over_committed: NewestAttempts
    over_plan: NewestAttempts
    removed: RemovedClips

    @property
    def plan(self) -> list[PlannedShard]:
        """The planned shards."""
        return [shard.planned for shard in self.shards]


def look_at_dataset(folder: Folder, found: FindingTally) -> DatasetAtHand:
    """Read card, plan and tokenizer, and list the files; adds problems to ``found``.

    Raises UsageError if the folder is not a dataset, FormatError if its card is damaged, because nothing can
    be checked without a card.
    """
    card = require_card(folder)
    plan, plan_is_whole = _read_plan(folder, card, found)
    # List ledgers last: a running job publishes a shard's ledger before the shard.
    shard_names, ledger_names = folder.list_names(SHARD_FOLDER), folder.list_names(LEDGER_FOLDER)
    has_shard, has_ledger = set(shard_names), set(ledger_names)
    shards = tuple(
        ShardAtHand(
            planned=shard,
            has_shard=f"{shard.shard_id}{_SUFFIX}" in has_shard,
            has_ledger=f"{shard.shard_id}{_SUFFIX}" in has_ledger,
        )
        for shard in plan
    )
    planned_names = {f"{shard.shard_id}{_SUFFIX}" for shard in plan}
    if plan_is_whole:
        for below, names in ((SHARD_FOLDER, shard_names), (LEDGER_FOLDER, ledger_names)):
            _note_foreign(below, names, planned_names, found)
    planned_files = {part.file.rpartition("/")[2] for part in card.plan}
    _note_foreign(PLAN_FOLDER, folder.list_names(PLAN_FOLDER), planned_files, found)
    tokenizer, job = _fingerprints(card, found)
    _check_tokenizer(folder, card, tokenizer, found)
    return DatasetAtHand(
        folder=folder,
        card=card,
        tokenizer_fingerprint=tokenizer,
        job_fingerprint=job,
        plan_is_whole=plan_is_whole,
        shards=shards,
        over_committed=NewestAttempts(shard.planned for shard in shards if shard.has_shard),
        over_plan=NewestAttempts(plan),
        removed=_removed(folder, found),
    )


def _removed(folder: Folder, found: FindingTally) -> RemovedClips:
    """The clips in removal records; notes damaged records."""
    try:
        removed = removed_clips(folder)
    except FormatError as error:
        found.note(Kind.UNREADABLE, str(error), file=REMOVAL_FOLDER)
        return RemovedClips.none()
    for file in removed.unfinished:
        found.note(Kind.REMOVED_STILL_THERE, "this removal was interrupted", file=file)
    return removed


def check_totals(card: DatasetCard, totals: Totals, found: FindingTally) -> None:
    """Compare the card's totals to the ledgers' sums, once these are complete."""
    if card.totals is None or card.totals == totals:
        return
    told, summed = card.totals.model_dump(), totals.model_dump()
    for name in told:
        if told[name] != summed[name]:
            detail = f"{name}: the card has {told[name]}, the ledgers have {summed[name]}"
            found.note(Kind.TOTALS_DIFFER, detail, file=DATASET_FILE)


def _read_plan(folder: Folder, card: DatasetCard, found: FindingTally) -> tuple[list[PlannedShard], bool]:
    """All shards of the readable plan parts, and whether that is the whole plan."""
    shards: list[PlannedShard] = []
    is_whole = True
    for part in card.plan:
        loaded = _read_part(folder, part, found)
        is_whole &= loaded is not None
        shards.extend(loaded or ())
    if is_whole:
        _check_numbers(shards, found)
        _check_planned_once(shards, found)
    return shards, is_whole


def _read_part(folder: Folder, part: PlanPart, found: FindingTally) -> list[PlannedShard] | None:
    try:
        shards = read_plan(folder.read_bytes(part.file), origin=part.file, attempt=part.attempt)
    except FileNotFoundError:
        found.note(Kind.MISSING_PLAN, "the file is missing", file=part.file)
        return None
    except FormatError as error:
        found.note(damage_kind(error), str(error), file=part.file)
        return None
    if plan_part(part.file, shards) != part:
        found.note(Kind.MISSING_PLAN, "it does not match its entry in dataset.json", file=part.file)
        return None
    return shards


def _check_numbers(shards: Sequence[PlannedShard], found: FindingTally) -> None:
    """Check that shards and sources are numbered consecutively."""
    first_source = 0
    for number, shard in enumerate(shards):
        if (shard.shard_index, shard.first_source_index) != (number, first_source):
            detail = (
                f"it has the numbers {shard.shard_index} and {shard.first_source_index} in the plan, not "
            )
            where = f"shard {shard.shard_id}"
            found.note(Kind.MISSING_PLAN, f"{detail}{number} and {first_source}", where=where)
        first_source += len(shard.sources)


def _check_planned_once(shards: Sequence[PlannedShard], found: FindingTally) -> None:
    """Check that no source is planned twice at one attempt, because its clips would have duplicate ids.

    Compares 64-bit hashes first, which take a tenth of the memory.
    """
    seen: set[int] = set()
    again: set[int] = set()
    for key in _place_hashes(shards):
        (again if key in seen else seen).add(key)
    if not again:
        return
    places: set[tuple[object, ...]] = set()
    for shard in shards:
        for source in shard.sources:
            place = (shard.attempt, *source.place)
            if hash(place) not in again:
                continue
            if place in places:
                detail = "the source is planned twice, so its clips have the same ids"
                found.note(Kind.DUPLICATE_CLIP, detail, where=source.uri)
            places.add(place)


def _place_hashes(shards: Sequence[PlannedShard]) -> Iterator[int]:
    return (hash((shard.attempt, *source.place)) for shard in shards for source in shard.sources)


def _note_foreign(below: str, names: Sequence[str], planned: set[str], found: FindingTally) -> None:
    for name in names:
        if name not in planned:
            found.note(Kind.FOREIGN_FILE, "it is not in the plan", file=f"{below}/{name}")


def _fingerprints(card: DatasetCard, found: FindingTally) -> tuple[str, str]:
    """The fingerprints of the tokenizer and the job, computed from the fields they are derived from."""
    tokenizer: str = card.fingerprint_fields.get("tokenizer", card.tokenizer_fingerprint)
    job = job_fingerprint(card.fingerprint_fields)
    if card.tokenizer_fingerprint != tokenizer:
        detail = f"the card names tokenizer {card.tokenizer_fingerprint}, its fields {tokenizer}"
        found.note(Kind.WRONG_TOKENIZER, detail, file=DATASET_FILE)
    if card.job_fingerprint != job:
        detail = f"the card names job {card.job_fingerprint}, its fields give {job}"
        found.note(Kind.WRONG_JOB, detail, file=DATASET_FILE)
    return tokenizer, job


def _check_tokenizer(
    folder: Folder, card: DatasetCard, expected_fingerprint: str, found: FindingTally
) -> None:
    """Check the files beside the tokens; a plugin need not be installed."""
    try:
        files = load_tokenizer_files(folder)
        config = read_config(files["config.json"])
        own = config if isinstance(config, PluginConfig) else load_files(files)
    except FormatError as error:
        found.note(Kind.MISSING_TOKENIZER, str(error), file=TOKENIZER_FOLDER)
        return
    if own.fingerprint != expected_fingerprint:
        detail = f"its fingerprint is {own.fingerprint}, the dataset's tokenizer has {expected_fingerprint}"
        found.note(Kind.MISSING_TOKENIZER, detail, file=TOKENIZER_FOLDER)
    elif (config, own.geometry) != (card.tokenizer, card.geometry):
        found.note(Kind.MISSING_TOKENIZER, "its config differs from the card's", file=DATASET_FILE)
