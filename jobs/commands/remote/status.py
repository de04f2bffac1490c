"""``bitmill status``: shows a dataset's progress from its files; the status file adds rates and liveness."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bitmill.jobs.console import Console, print_json
from bitmill.jobs.progress.progress_text import stage_times, tokenized_text
from bitmill.jobs.progress.summary import print_pairs, print_reasons
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.pipeline.dataset.dataset_status import DatasetStatus, dataset_status
from bitmill.pipeline.storage import Folder
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import InfrastructureError, TransientError
from bitmill.schemas.reports.status_file import (
    EXIT_COMPLETE,
    EXIT_NOT_ALL_OK,
    EXIT_UNFINISHED,
    DriverState,
    JobStatus,
)

State = Literal[
    "complete", "complete_with_failures", "planning", "running", "silent", "stopped", "failed", "unfinished"
]

_AGAIN = "Run the same command again to resume."


@dataclass(frozen=True, kw_only=True)
class ClusterWord:
    """A cluster's state of the job that writes the dataset."""

    address: str
    name: str
    state: str
    """Ray's job state, or why the cluster did not answer."""
    has_ended: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A dataset's status as a state, a sentence and an exit code."""

    state: State
    sentence: str
    exit_code: int


def show_status(place: str, *, as_json: bool, console: Console, cluster: ClusterWord | None = None) -> int:
    """Print the status of the dataset in a folder; returns the exit code.

    Raises UsageError if the folder is not a dataset and no cluster knows of one, InfrastructureError if the
    store does not answer.
    """
    try:
        seen = dataset_status(Folder(place), required=cluster is None)
    except TransientError as error:
        raise InfrastructureError(str(error)) from error
    verdict = judge(seen, datetime.now(UTC), cluster)
    if as_json:
        print_json(json.dumps(_document(seen, verdict, cluster), indent=2))
    else:
        _print(seen, verdict, cluster, console)
    return verdict.exit_code


def judge(seen: DatasetStatus, now: datetime, cluster: ClusterWord | None = None) -> Verdict:
    """Judge a dataset's status at time ``now``. The files take precedence over the driver and the cluster."""
    if seen.is_complete:
        if seen.all_ok:
            return Verdict(state="complete", sentence="Every planned item is ok.", exit_code=EXIT_COMPLETE)
        return Verdict(
            state="complete_with_failures",
            sentence="Finished; some items are not ok, see the ledger.",
            exit_code=EXIT_NOT_ALL_OK,
        )
    state, sentence = _unfinished(seen, now, cluster)
    return Verdict(state=state, sentence=sentence, exit_code=EXIT_UNFINISHED)


def _unfinished(seen: DatasetStatus, now: datetime, cluster: ClusterWord | None) -> tuple[State, str]:
    status = seen.status
    if status is None:
        if cluster is not None and not cluster.has_ended:
            return "unfinished", f"The driver has written no status here yet; Ray says {cluster.state}."
        return "unfinished", f"No driver is known. {_AGAIN}"
    if status.state.is_end:
        return _ended(status, now)
    place = f"process {status.driver.pid} on {status.driver.host}"
    if cluster is not None and cluster.has_ended and status.driver.submission_id == cluster.name:
        return (
            "silent",
            f"The driver ({place}) ended without a final status: Ray says {cluster.state}. {_AGAIN}",
        )
    if _age_s(status, now) > status.silent_after_s():
        return "silent", (
            f"The driver ({place}) last wrote its status {_ago(status, now)}; it has ended, or cannot "
            f"write here. {_AGAIN}"
        )
    state: State = "planning" if status.state is DriverState.PLANNING else "running"
    doing = "is planning" if state == "planning" else "is running"
    waiting = f", {status.note}" if status.note else ""
    sentence = f"The driver ({place}) {doing}{waiting}; last status written {_ago(status, now)}."
    if _is_ahead(status, now):
        wait = duration_text(status.silent_after_s())
        sentence += f" Run this again in {wait}: if that time has not changed, the driver has ended."
    return state, sentence


def _ended(status: JobStatus, now: datetime) -> tuple[State, str]:
    if status.state is DriverState.STOPPED:
        return "stopped", f"Stopped {_ago(status, now)}. {_AGAIN}"
    if status.state is DriverState.FAILED:
        return "failed", f"The driver ended {_ago(status, now)}, exit code {status.exit_code}: {status.error}"
    return "unfinished", f"The driver reported that it finished, but shards or totals are missing. {_AGAIN}"


def _age_s(status: JobStatus, now: datetime) -> float:
    return (now - status.updated_at).total_seconds()


def _is_ahead(status: JobStatus, now: datetime) -> bool:
    """Whether the writer's clock is so far ahead that the status's age cannot show a dead driver."""
    return -_age_s(status, now) > status.silent_after_s()


def _ago(status: JobStatus, now: datetime) -> str:
    age_s = _age_s(status, now)
    if _is_ahead(status, now):
        by_its_clock = status.updated_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"at {by_its_clock} by its clock, {duration_text(-age_s)} ahead of this machine's"
    return f"{duration_text(max(0.0, age_s))} ago"


def _print(seen: DatasetStatus, verdict: Verdict, cluster: ClusterWord | None, console: Console) -> None:
    console.print(f"{verdict.state.replace('_', ' ')}: {verdict.sentence}", soft_wrap=True)
    totals = seen.totals
    rows: list[tuple[str, str]] = [("dataset", seen.uri)]
    if cluster is not None:
        rows.append(("cluster", f"{cluster.name} on {cluster.address}: {cluster.state}"))
    if seen.card is not None:
        planned = counted(seen.card.num_sources, "source")
        rows += [
            ("shards", f"{seen.num_committed} of {seen.card.num_shards} committed"),
            ("items", f"{totals.items} in committed shards; {planned} planned"),
            ("outcomes", f"{totals.ok} ok, {totals.partial} partial, {totals.failed} failed"),
            ("tokenized", tokenized_text(totals.clips, totals.frames, totals.tokens)),
            ("codes", bytes_text(totals.code_bytes)),
        ]
    if seen.status is not None and verdict.state in {"planning", "running"}:
        rows += _driver_rows(seen.status)
    if seen.status_problem is not None:
        rows.append(("note", seen.status_problem))
    print_pairs(rows, console)
    print_reasons(totals, console)


def _driver_rows(status: JobStatus) -> list[tuple[str, str]]:
    rates = status.rates
    rows = [
        (
            "driver says",
            f"{status.items.done} of {counted(status.items.planned, 'item')}, {status.not_ok} not ok",
        ),
        ("rates", f"{rates.clips:.1f} clips/s, {rates.frames:.1f} frames/s, {rates.tokens:.0f} tokens/s"),
        ("left", "?" if status.remaining_s is None else duration_text(status.remaining_s)),
    ]
    if status.seconds:
        rows.append(("time of", stage_times(status.seconds)))
    return rows


def _document(seen: DatasetStatus, verdict: Verdict, cluster: ClusterWord | None) -> dict[str, Any]:
    card = seen.card
    return {
        "dataset": seen.uri,
        "state": verdict.state,
        "sentence": verdict.sentence,
        "exit_code": verdict.exit_code,
        "shards": {"planned": card.num_shards if card else None, "committed": seen.num_committed},
        "items": {"planned": card.num_sources if card else None, "committed": seen.totals.items},
        "totals": seen.totals.model_dump(mode="json"),
        "status": seen.status.model_dump(mode="json") if seen.status is not None else None,
        "status_problem": seen.status_problem,
        "cluster": asdict(cluster) if cluster is not None else None,
    }
