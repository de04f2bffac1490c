"""``bitmill audit``: checks a dataset and reports on it as JSON, an HTML page and a summary."""

from typing import Annotated

import typer

from bitmill.jobs.console import Console, print_json
from bitmill.schemas.errors import UsageError


def audit(
    dataset: Annotated[str | None, typer.Argument(help="A dataset folder.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", help="Folder for audit.json and audit.html, local or on a store; default: only print."
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", metavar="COLUMN", help="Also break coverage down by this metadata column; repeatable."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Number of clips to decode, compare and tokenize again.")
    ] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Random seed that selects the sample.")] = 0,
    codes: Annotated[bool, typer.Option("--codes/--no-codes", help="Compute code statistics.")] = True,
    duplicates: Annotated[
        bool, typer.Option("--duplicates/--no-duplicates", help="Find exact and near-duplicate clips.")
    ] = True,
    radius: Annotated[
        float,
        typer.Option(
            "--radius", help="Share of the stored bits (0 to 1) in which near duplicates may differ."
        ),
    ] = 0.05,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against", metavar="DATASET", help="Find clips that are also in this dataset; repeatable."
        ),
    ] = None,
    check_source: Annotated[
        bool, typer.Option("--check-source", help="List the sources and compare them with the plan.")
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Compare two datasets or audit.json files; default: audit DATASET.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="Ray cluster that reads the shards (HOST:PORT, or auto); default: this machine."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Parallel processes (or Ray tasks); default: one per CPU."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read and check every file of a dataset. Exits with 0 if sound, 3 if incomplete, 4 if damaged."""
    from bitmill.jobs.commands.dataset.audit_compare import compare_audits
    from bitmill.jobs.commands.dataset.audit_output import NOT_WRITTEN, show_audit, write_audit
    from bitmill.jobs.commands.dataset.audit_summary import print_summary
    from bitmill.jobs.execution.audit_dataset import AuditRequest
    from bitmill.pipeline.auditing.options import AuditOptions
    from bitmill.pipeline.storage import Folder

    console = Console(soft_wrap=True, stderr=as_json)
    if (dataset is None) == (compare is None):
        raise UsageError("Name one dataset to audit, or two with --compare A B.")
    request = AuditRequest(
        columns=tuple(by or ()),
        asked=AuditOptions(
            codes=codes,
            duplicates=duplicates,
            radius=radius,
            against=tuple(against or ()),
            sample=sample,
            seed=seed,
            check_source=check_source,
        ),
        address=address,
        workers=workers,
    )
    folder = Folder(out) if out is not None else None
    if compare is not None:
        compare_audits(compare, request, folder, console)
        return
    made = show_audit(str(dataset), request, console)
    written = write_audit(made, folder) if folder is not None else []
    if as_json:
        print_json(made.report.to_json().decode())
    else:
        print_summary(made.report, console)
        console.print(f"wrote {', '.join(written)}" if written else NOT_WRITTEN)
    raise typer.Exit(made.report.exit_code)
