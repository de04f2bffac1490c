"""Reads a dataset's status from its folder alone: planned and committed shards, and the driver's status."""

from dataclasses import dataclass

from bitmill.pipeline.dataset.dataset_folder import committed_shards, find_card, load_plan
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.dataset.totals_cache import remembered_totals
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard, Totals
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.reports.status_file import STATUS_FILE, JobStatus, read_status


@dataclass(frozen=True, kw_only=True)
class DatasetStatus:
    """A dataset folder's status; counts come from plan and ledgers, never from the status file."""

    uri: str
    card: DatasetCard | None
    """None while the first plan is being made."""
    num_committed: int
    """Planned shards whose token file exists."""
    totals: Totals
    """Sums over the ledgers of these shards."""
    status: JobStatus | None
    status_problem: str | None
    """Why the status file cannot be used, if it exists but is damaged."""

    @property
    def is_complete(self) -> bool:
        """Whether every planned shard is committed and the card has the totals."""
        card = self.card
        return card is not None and card.totals is not None and self.num_committed == card.num_shards

    @property
    def all_ok(self) -> bool:
        """Whether it is complete and every planned item is ok."""
        return self.is_complete and self.card is not None and self.totals.ok == self.totals.items


def dataset_status(folder: Folder, *, required: bool = True) -> DatasetStatus:
    """Read a folder's status. If ``required``, raises UsageError unless it is or is becoming a dataset.

    The status file is read before the others: if the driver ends in between, the other files show it and take
    precedence.
    """
    status, problem = find_status(folder)
    card = find_card(folder)
    if card is None:
        if required and status is None and problem is None:
            raise UsageError(f"{folder.uri} is not a bitmill dataset (it has no dataset.json).")
        return DatasetStatus(
            uri=folder.uri, card=None, num_committed=0, totals=Totals(), status=status, status_problem=problem
        )
    plan = load_plan(folder, card)
    planned = {shard.shard_id for shard in plan}
    committed = planned & committed_shards(folder)
    if card.totals is not None and committed == planned:
        totals = card.totals
    else:
        # The current contents: an item that is planned for a retry counts with its old result.
        there = [shard for shard in plan if shard.shard_id in committed]
        totals = committed_totals(folder, there, committed, remembered_totals(folder))
    return DatasetStatus(
        uri=folder.uri,
        card=card,
        num_committed=len(committed),
        totals=totals,
        status=status,
        status_problem=problem,
    )


def find_status(folder: Folder) -> tuple[JobStatus | None, str | None]:
    """Returns the last driver's status, or a sentence on why the file is unusable; Nones without a file."""
    try:
        return read_status(folder.read_bytes(STATUS_FILE), origin=f"{folder.uri}/{STATUS_FILE}"), None
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except FormatError as error:
        return None, str(error)
