"""``bitmill submit``, ``status``, ``logs`` and ``stop``: manage a job on a remote cluster."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.console import Console, print_output
from bitmill.jobs.extras import missing_extra
from bitmill.jobs.preparation.job_files import assignment, read_job
from bitmill.schemas.errors import InfrastructureError, UsageError
from bitmill.schemas.requests.job import JobSpec, load_job
from bitmill.schemas.requests.submission import split_name

if TYPE_CHECKING:
    from bitmill.jobs.cluster.connection.job_api import JobApi
    from bitmill.jobs.commands.remote.status import ClusterWord

JobFile = Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job file.")]
Target = Annotated[str, typer.Argument(metavar="ID | JOB.yaml", help="A submission id, or its job file.")]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        help="The cluster's job server: http://HEAD:8265.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any key of the job, as when it was submitted; repeatable.",
    ),
]


def submit(
    job: JobFile,
    address: Address,
    follow: Annotated[
        bool, typer.Option("--follow/--no-wait", help="Print its log until it ends, or return at once.")
    ] = True,
    set_: Assignments = None,
) -> None:
    """Run a job on a cluster, independent of this machine. Submit again to follow it, or to resume it."""
    spec = _load(job, set_)
    api = _api(address)
    from bitmill.jobs.commands.remote.submitted_jobs import submit as submit_job

    raise typer.Exit(submit_job(spec, api, follow=follow, console=Console(soft_wrap=True)))


def status(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DATASET | JOB.yaml | ID",
            help="A dataset folder, a job file, or (with --address) a submission id.",
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Also query the cluster's job server (http://HEAD:8265); default: only the folder.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    set_: Assignments = None,
) -> None:
    """Show a dataset's progress from its folder alone; --address adds the cluster's state of the job.

    Exit codes: 0 complete, 3 complete but not all items ok, 6 not finished.
    """
    from bitmill.jobs.commands.remote.status import show_status

    known = _resolve(target, set_)
    word: ClusterWord | None = None
    folder = known.folder
    if address is not None and known.name is not None:
        word, output = _ask(address, known)
        folder = folder or output
    if folder is None:
        raise UsageError(
            f"{target} is a submission id; give its cluster with --address, or give the dataset's folder."
        )
    raise typer.Exit(show_status(folder, as_json=as_json, console=Console(soft_wrap=True), cluster=word))


def logs(
    target: Target,
    address: Address,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until the job ends.")
    ] = False,
    set_: Assignments = None,
) -> None:
    """Print a submitted job's log."""
    name = _name(target, set_)
    api = _api(address)
    from bitmill.jobs.commands.remote.submitted_jobs import print_log, require_job

    job = require_job(api, name)
    if follow:
        print_log(api, job.submission_id)
    else:
        print_output(api.logs(job.submission_id))


def stop(target: Target, address: Address, set_: Assignments = None) -> None:
    """Stop a submitted job. Committed shards stay; unfinished shards are discarded."""
    name = _name(target, set_)
    api = _api(address)
    from bitmill.jobs.commands.remote.submitted_jobs import stop as stop_job

    stop_job(api, name, Console(soft_wrap=True))


COMMANDS = (submit, status, logs, stop)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A command's parsed target: a submission id, a dataset folder, or from a job file both."""

    name: str | None = None
    folder: str | None = None


def _resolve(target: str, assignments: list[str] | None) -> _Known:
    if split_name(target) is not None and not Path(target).exists():
        return _Known(name=target)
    if Path(target).suffix in {".yaml", ".yml"} and not Path(target).is_dir():
        from bitmill.jobs.preparation.submission_id import submission_of

        job = _load(target, assignments)
        return _Known(name=submission_of(job), folder=job.output)
    return _Known(folder=target)


def _name(target: str, assignments: list[str] | None) -> str:
    name = _resolve(target, assignments).name
    # Also accepts ids that others chose for their submissions.
    return target if name is None else name


def _ask(address: str, known: _Known) -> tuple["ClusterWord", str | None]:
    """Returns the cluster's state of a job, and the dataset's folder from the job's metadata."""
    from bitmill.jobs.commands.remote.status import ClusterWord

    try:
        api = _api(address)
        from bitmill.jobs.commands.remote.submitted_jobs import OUTPUT_KEY, require_job

        job = require_job(api, known.name or "")
    except (InfrastructureError, UsageError) as error:
        # With a job file the folder is known, so the cluster is optional.
        if known.folder is None:
            raise
        return ClusterWord(address=address, name=known.name or "", state=str(error), has_ended=False), None
    word = ClusterWord(address=address, name=job.submission_id, state=job.state, has_ended=job.has_ended)
    return word, job.metadata.get(OUTPUT_KEY)


def _api(address: str) -> "JobApi":
    if importlib.util.find_spec("requests") is None or importlib.util.find_spec("aiohttp") is None:
        raise missing_extra("cluster", what="Ray's job client")
    from bitmill.jobs.cluster.connection.job_api import JobApi

    return JobApi(address)


def _load(path: str, assignments: list[str] | None) -> JobSpec:
    overrides = dict(assignment(text) for text in assignments or [])
    return load_job(read_job(path), origin=path, overrides=overrides)
