"""Reads and writes a dataset folder on any store: card, plan, commits, ledgers, tokenizer."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from bitmill.pipeline.dataset.ledger import LedgerRow, read_ledger
from bitmill.pipeline.dataset.plan_file import plan_bytes, plan_part, read_plan
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
    ledger_file,
    read_card,
    shard_file,
)
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import FormatError, OutputConflictError, UsageError

CONFIG_FILE = f"{TOKENIZER_FOLDER}/config.json"
WEIGHTS_FILE = f"{TOKENIZER_FOLDER}/model.safetensors"


def find_card(folder: Folder) -> DatasetCard | None:
    """Returns the card of a dataset folder, or None if it has none. Raises FormatError if it is damaged."""
    try:
        data = folder.read_bytes(DATASET_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return read_card(data, origin=f"{folder.uri}/{DATASET_FILE}")


def require_card(folder: Folder) -> DatasetCard:
    """Returns the card of a dataset folder. Raises UsageError if it is not a dataset."""
    card = find_card(folder)
    if card is None:
        raise UsageError(f"{folder.uri} is not a bitmill dataset (it has no {DATASET_FILE}).")
    return card


def write_plan(folder: Folder, number: int, shards: list[PlannedShard]) -> PlanPart:
    """Publish plan part ``number`` and return its entry for the card."""
    part = numbered_part(number, shards)
    folder.write_bytes(part.file, plan_bytes(shards))
    return part


def numbered_part(number: int, shards: list[PlannedShard]) -> PlanPart:
    """Returns the card's entry of plan part ``number``.

    Later parts have a content hash in their name, so that concurrent runs that grow a dataset never overwrite
    each other's files.
    """
    content = f"-{plan_part('', shards).plan_id[:8]}" if number else ""
    return plan_part(f"{PLAN_FOLDER}/part-{number:05d}{content}.parquet", shards)


def load_plan(folder: Folder, card: DatasetCard) -> list[PlannedShard]:
    """Returns all shards of a dataset's plan, in order. Raises FormatError if a part is lost or altered."""
    shards: list[PlannedShard] = []
    for part in card.plan:
        origin = f"{folder.uri}/{part.file}"
        try:
            loaded = read_plan(folder.read_bytes(part.file), origin=origin, attempt=part.attempt)
        except FileNotFoundError as error:
            raise FormatError(f"The plan {origin} is missing; the dataset cannot be resumed.") from error
        if plan_part(part.file, loaded) != part:
            raise FormatError(f"The plan {origin} does not match dataset.json.")
        shards.extend(loaded)
    return shards


def check_other_plan(folder: Folder, known: Sequence[PlanPart], new: Sequence[PlanPart]) -> None:
    """Raise OutputConflictError if another run has written a plan that is neither ``known`` nor ``new``."""
    stored = find_card(folder)
    if list(stored.plan if stored else ()) not in (list(known), list(new)):
        raise _other_plan(folder)


def publish_totals(folder: Folder, card: DatasetCard, totals: Totals) -> None:
    """Write a complete dataset's totals to its card, unless its plan has grown meanwhile.

    In that case the totals are out of date, and the run that grew the plan writes them. Raises
    OutputConflictError if a part of this run's plan is gone.
    """
    stored = find_card(folder)
    if stored is None or stored.plan == card.plan:
        folder.write_bytes(DATASET_FILE, (stored or card).model_copy(update={"totals": totals}).to_json())
    elif {part.file for part in card.plan} - {part.file for part in stored.plan}:
        raise _other_plan(folder)


def _other_plan(folder: Folder) -> OutputConflictError:
    return OutputConflictError(
        f"Another run has written a plan of {folder.uri} meanwhile; run this command again, which continues "
        "with that plan."
    )


def committed_shards(folder: Folder) -> set[str]:
    """Returns the ids of shards whose token file exists."""
    return _ids_in(folder, SHARD_FOLDER)


def committed_ledgers(folder: Folder) -> set[str]:
    """Returns the ids of shards whose ledger exists."""
    return _ids_in(folder, LEDGER_FOLDER)


def _ids_in(folder: Folder, below: str) -> set[str]:
    return {name.removesuffix(".parquet") for name in folder.list_names(below) if name.endswith(".parquet")}


def load_ledger(folder: Folder, shard_id: str) -> list[LedgerRow]:
    """Returns a committed shard's ledger rows. Raises FormatError if the ledger is missing or damaged."""
    name = ledger_file(shard_id)
    try:
        return read_ledger(folder.read_bytes(name), origin=f"{folder.uri}/{name}")
    except FileNotFoundError as error:
        raise FormatError(
            f"The ledger {folder.uri}/{name} is missing but its token shard exists; "
            f"remove {shard_file(shard_id)} and run the job again to recreate both."
        ) from error


def save_tokenizer_files(folder: Folder, files: Mapping[str, bytes]) -> None:
    """Store a tokenizer's files, by name; config.json is written last, so it implies the others."""
    for name in sorted(files, key=lambda name: (name == "config.json", name)):
        folder.write_bytes(f"{TOKENIZER_FOLDER}/{name}", files[name])


def load_tokenizer_files(folder: Folder) -> dict[str, bytes]:
    """Returns the files of a dataset's tokenizer, by name. Raises FormatError if config.json is missing."""
    try:
        config = folder.read_bytes(CONFIG_FILE)
    except FileNotFoundError as error:
        raise FormatError(f"The tokenizer of {folder.uri} is missing from its folder tokenizer/.") from error
    files = {"config.json": config}
    with suppress(FileNotFoundError):
        files["model.safetensors"] = folder.read_bytes(WEIGHTS_FILE)
    return files
