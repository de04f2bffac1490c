"""``bitmill audit``: what a dataset holds, lacks and is worth, as a report, a page and a summary."""

from typing import Annotated

import typer

from bitmill.jobs.console import Console, print_json
from bitmill.schemas.errors import UsageError


def audit(
    dataset: Annotated[str | None, typer.Argument(help="A dataset folder.")] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", help="Folder for audit.json and audit.html, local or on a store; else none."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="Break coverage down by a metadata column, too."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Clips to decode, compare and tokenize again.")
    ] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Which clips are in the sample.")] = 0,
    codes: Annotated[bool, typer.Option("--codes/--no-codes", help="Statistics of the codes.")] = True,
    duplicates: Annotated[
        bool, typer.Option("--duplicates/--no-duplicates", help="Look for clips that are alike.")
    ] = True,
    radius: Annotated[
        float, typer.Option("--radius", help="Share of bits in which near duplicates may differ.")
    ] = 0.05,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="DATASET", help="Find clips that another dataset holds already."),
    ] = None,
    check_source: Annotated[
        bool, typer.Option("--check-source", help="List the sources and compare them with the plan.")
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", metavar="A B", help="Two datasets, or audit.json files, side by side."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Have a Ray cluster read the shards.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes (or Ray tasks) at once; default: one a CPU."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read every file of a dataset and say whether it is whole: 0 sound, 3 incomplete, 4 damaged."""
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
