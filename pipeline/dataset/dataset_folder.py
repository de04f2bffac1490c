"""A dataset's folder: its card, plan, commits and tokenizer, found and kept on any store."""

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
from bitmill.schemas.errors import FormatError, UsageError

CONFIG_FILE = f"{TOKENIZER_FOLDER}/config.json"
WEIGHTS_FILE = f"{TOKENIZER_FOLDER}/model.safetensors"


def find_card(folder: Folder) -> DatasetCard | None:
    """The card of a dataset folder, or null where there is none. Raises FormatError on a damaged one."""
    try:
        data = folder.read_bytes(DATASET_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return read_card(data, origin=f"{folder.uri}/{DATASET_FILE}")


def require_card(folder: Folder) -> DatasetCard:
    """The card of a dataset folder. Raises UsageError where it is no dataset."""
    card = find_card(folder)
    if card is None:
        raise UsageError(f"{folder.uri} is no bitmill dataset (it has no {DATASET_FILE}).")
    return card


def write_plan(folder: Folder, number: int, shards: list[PlannedShard]) -> PlanPart:
    """Publish plan part ``number`` and give its entry for the card.

    A further part has its content in its name: two that grow a dataset at once replace no file of each other.
    """
    content = f"-{plan_part('', shards).plan_id[:8]}" if number else ""
    part = plan_part(f"{PLAN_FOLDER}/part-{number:05d}{content}.parquet", shards)
    folder.write_bytes(part.file, plan_bytes(shards))
    return part


def load_plan(folder: Folder, card: DatasetCard) -> list[PlannedShard]:
    """All shards of a dataset's plan, in order. Raises FormatError where a part is gone or not the card's."""
    shards: list[PlannedShard] = []
    for part in card.plan:
        origin = f"{folder.uri}/{part.file}"
        try:
            loaded = read_plan(folder.read_bytes(part.file), origin=origin, attempt=part.attempt)
        except FileNotFoundError as error:
            raise FormatError(f"The plan {origin} is missing; the dataset cannot be resumed.") from error
        if plan_part(part.file, loaded) != part:
            raise FormatError(f"The plan {origin} is not the one that dataset.json names.")
        shards.extend(loaded)
    return shards


def publish_totals(folder: Folder, card: DatasetCard, totals: Totals) -> None:
    """Write the totals of a complete dataset into its card, unless its plan has grown meanwhile.

    Then they are no longer the dataset's; the run that grew it sums up.
    """
    stored = find_card(folder)
    if stored is None or stored.plan == card.plan:
        folder.write_bytes(DATASET_FILE, (stored or card).model_copy(update={"totals": totals}).to_json())


def committed_shards(folder: Folder) -> set[str]:
    """Ids of the shards whose token file has appeared."""
    return _ids_in(folder, SHARD_FOLDER)


def committed_ledgers(folder: Folder) -> set[str]:
    """Ids of the shards whose ledger is there."""
    return _ids_in(folder, LEDGER_FOLDER)


def _ids_in(folder: Folder, below: str) -> set[str]:
    return {name.removesuffix(".parquet") for name in folder.list_names(below) if name.endswith(".parquet")}


def load_ledger(folder: Folder, shard_id: str) -> list[LedgerRow]:
    """Ledger rows of a committed shard. Raises FormatError where the ledger is missing or damaged."""
    name = ledger_file(shard_id)
    try:
        return read_ledger(folder.read_bytes(name), origin=f"{folder.uri}/{name}")
    except FileNotFoundError as error:
        raise FormatError(
            f"The ledger {folder.uri}/{name} is missing though its token shard is there; "
            f"remove {shard_file(shard_id)} and run the job again to make both anew."
        ) from error


def save_tokenizer_files(folder: Folder, config: bytes, weights: bytes) -> None:
    """Keep the tokenizer beside the tokens; the config comes last, so that it stands for both."""
    folder.write_bytes(WEIGHTS_FILE, weights)
    folder.write_bytes(CONFIG_FILE, config)
