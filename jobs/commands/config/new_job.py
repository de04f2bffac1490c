"""``bitmill config new``: writes a job file for sources of which it has looked at a sample."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.job_request import source_kind
from bitmill.jobs.preparation.models.find_tokenizers import tokenizer_spec
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.dataset.dataset_folder import find_card
from bitmill.pipeline.planning.estimate_job import spread, strata
from bitmill.pipeline.planning.probe_sources import Found, Probed, ProbedArchive, probe_sources
from bitmill.pipeline.sources.listing import SourceList, find_sources
from bitmill.pipeline.span_bytes import object_bytes
from bitmill.pipeline.storage import Folder
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.requests.job import JobSpec, LimitsSpec, SourceSpec, load_job

_TEXT = """\
# {sources}
{found}
# Try:  bitmill plan {file} --estimate    clips, tokens, disk and time, before anything is written
# Run:  bitmill tokenize {file}           again to resume
# Every other key: bitmill config keys. Relative paths are those of the folder in which a command runs.

version: 1
source: {source}
output: {output}
tokenizer: {tokenizer}

sampling:
  fps: {fps:<13} # frames a second; null takes every frame{rates}
  clip_frames: null  # frames of a clip; null: as many as the tokenizer takes, up to 16 or 17

frames:
  # Squares of this side; null: the tokenizer's own. buckets or native instead keep shapes (docs/geometry.md).
  size_px: null{sizes}

compute:
  device: auto       # cuda where the cluster has GPUs
  actors: null       # tokenizers at work; null: as many as there is room for

max_failures: null   # 0.1 stops the job when a tenth of the items has failed; null never stops it
"""

_FOR_DATASET = """\
# {sources}
{found}
# Run:  bitmill tokenize {file}           again to resume; with --append for sources that are not in it yet
# Every other key: bitmill config keys

{settings}"""


def write_new_job(
    source: str, output: str, *, out: Path, fps: float | None, tokenizer: str, sample: int
) -> None:
    """Write the job file and print what was found.

    Raises UsageError or OutputConflictError before anything is read, BadJobError if there is no media.
    """
    if out.exists():
        raise OutputConflictError(f"{out} exists; choose another file with --out.")
    named = tokenizer_spec(tokenizer).model_dump(exclude_unset=True)
    where = {source_kind(source): [source] if source_kind(source) == "paths" else source}
    listed, console = find_sources(SourceSpec.model_validate(where)), Console(soft_wrap=True)
    looked = _look(listed, sample, console)
    found = _found(looked)
    shared = {
        "sources": f"{counted(len(listed.sources), 'source')}, {bytes_text(object_bytes(listed.sources))}",
        "file": out,
    }
    if (card := find_card(Folder(output))) is not None:
        found.append(f"{output} already contains a dataset: the file has its settings, which cannot change")
        settings = _settings(card, where, output)
        text = _FOR_DATASET.format(found=_comments(found), settings=settings, **shared)
    else:
        text = _TEXT.format(
            found=_comments(found),
            source=_inline(where),
            output=_inline(output),
            fps=_inline(fps),
            tokenizer=_inline(named),
            rates=f"; these have mostly {_most(rates)}" if (rates := _rates(looked)) else "",
            sizes=f"  # these are mostly {_most(_shapes(looked))}" if _members(looked) else "",
            **shared,
        )
    load_job(text, origin=str(out))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error
    for line in found:
        console.print(line)
    console.print(f"wrote {out}; next: bitmill plan {out} --estimate")


def _settings(card: DatasetCard, source: dict[str, Any], output: str) -> str:
    """Return a job like the one that a dataset was made by, with all that is not a default, for a source."""
    job = JobSpec.model_validate({**card.job, "source": source, "output": output})
    given = job.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump({"version": job.version, **given}, sort_keys=False, allow_unicode=True)


def _comments(lines: Sequence[str]) -> str:
    return "\n".join(f"# {line}" for line in lines)


def _look(listed: SourceList, sample: int, console: Console) -> list[Found]:
    chosen = [source for group in strata(listed.sources) for source in spread(group, sample)]
    workers = max(1, min(available_cpus(), len(chosen)))
    looked: list[Found] = []
    with LiveLine(console) as line:
        for _, found in probe_sources(chosen, LimitsSpec(), workers=workers):
            looked.append(found)
            line.show(lambda: f"{len(looked)} of {counted(len(chosen), 'source')} looked at")
    return looked


def _members(looked: Sequence[Found]) -> list[Probed]:
    inside = [one for found in looked if isinstance(found, ProbedArchive) for one in found.members]
    return [*inside, *(found for found in looked if isinstance(found, Probed))]


def _found(looked: Sequence[Found]) -> list[str]:
    """Return lines that tell what the sample has."""
    lines = [f"looked at {len(looked)} of them, without decoding:"]
    members = _members(looked)
    videos = [one for one in members if one.media != "image"]
    if videos:
        seconds = sorted((one.end_ns - one.start_ns) / 1e9 for one in videos)
        span = f"{duration_text(seconds[0])} to {duration_text(seconds[-1])}"
        lines.append(f"  {counted(len(videos), 'video')} of {span}")
    if len(videos) < len(members):
        lines.append(f"  {counted(len(members) - len(videos), 'picture')}")
    unread = sum(found is None for found in looked)
    if unread:
        lines.append(f"  {unread} that cannot be read: they will be rows of the ledger, with the reason")
    return lines


def _rates(looked: Sequence[Found]) -> Counter[str]:
    """Count the frame rates of videos, rounded."""
    return Counter(
        str(round((one.num_frames - 1) / ((one.end_ns - one.start_ns) / 1e9)))
        for one in _members(looked)
        if one.num_frames > 1 and one.end_ns > one.start_ns
    )


def _shapes(looked: Sequence[Found]) -> Counter[str]:
    """Count the frame sizes, height×width."""
    return Counter(f"{one.height}×{one.width}" for one in _members(looked))


def _most(counted: Counter[str]) -> str:
    return ", ".join(text for text, _ in counted.most_common(3))


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
