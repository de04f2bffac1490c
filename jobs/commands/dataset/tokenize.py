"""``bitmill tokenize``: runs the job, shows its progress and prints a summary."""

from bitmill.jobs.console import Console
from bitmill.jobs.execution.tokenize_dataset import tokenize_dataset
from bitmill.jobs.preparation.append_and_retry import Growth
from bitmill.jobs.progress.progress_text import stage_times
from bitmill.jobs.progress.summary import summary
from bitmill.jobs.progress.terminal import Progress
from bitmill.pipeline.dataset.without_pandas import without_pandas
from bitmill.schemas.requests.job import JobSpec


def tokenize_job(
    job: JobSpec, *, address: str | None, console: Console, growth: Growth | None = None
) -> bool:
    """Run a job to its end and print the summary. Returns whether every item of every source is ok."""

    def notify(sentence: str) -> None:
        console.print(sentence, soft_wrap=True)

    without_pandas()
    with Progress(console) as progress:
        result = tokenize_dataset(
            job, address=address, growth=growth, on_progress=progress.show, notify=notify
        )
    if result.seconds:
        notify(f"time of {stage_times(result.seconds)}")
    summary(result.card, result.totals, console)
    if not result.all_ok:
        notify(f"not ok     bitmill inspect {result.dataset} names the items")
    notify(f"dataset    {result.dataset}")
    return result.all_ok
