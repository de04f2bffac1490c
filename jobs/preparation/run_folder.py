"""A training run's own folder: new, or that of the same run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from bitmill.jobs.preparation.field_differences import differences
from bitmill.jobs.progress.training_view import flat_fields
from bitmill.pipeline.training.extend_run import SPEC_FILE, keep_earlier
from bitmill.schemas.errors import OutputConflictError, UsageError

CHECKPOINTS_FOLDER = "checkpoints"


def check_run_folder(
    output: str, fixed: dict[str, Any], fixed_of_stored: Callable[[Any], dict[str, Any]]
) -> int | None:
    """Refuse an output that holds anything but this run, or this run with fewer steps, which it gives.

    ``fixed`` are the fields that make the run what it is; ``fixed_of_stored`` gives those of a folder's
    document, and raises ValueError where it is none. Raises UsageError, also OutputConflictError that names
    each differing field.
    """
    if "://" in output:
        raise UsageError(f"output {output} is a URL; training writes to a disk that all processes see.")
    folder = Path(output)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        stored = fixed_of_stored(yaml.safe_load((folder / SPEC_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OutputConflictError(
            f"The output {folder} holds files but no such training run; choose a new or empty folder."
        ) from error
    earlier: int | None = stored["steps"] if stored["steps"] < fixed["steps"] else None
    if earlier is not None:
        stored["steps"] = fixed["steps"]
    differing = differences(flat_fields(stored), flat_fields(fixed))
    if differing:
        raise OutputConflictError(
            f"The output {folder} holds another run: {'; '.join(differing)}. Choose another output, or train "
            "with the file that began it."
        )
    return earlier


def raise_steps(output: str, earlier: int, steps: int, results: Sequence[str]) -> str:
    """Prepare a run's folder to go on to more steps; gives what to tell of it. The file comes after this.

    Raises UsageError for a complete run that has no checkpoint left.
    """
    folder = Path(output)
    is_complete = (folder / results[0] / "config.json").exists()
    if is_complete and not any((folder / CHECKPOINTS_FOLDER).glob("step-*")):
        raise UsageError(
            f"The run in {folder} is complete at {earlier:,} steps and has no checkpoint to go on from; "
            "choose another output."
        )
    keep_earlier(folder, earlier, results)
    kept = f" What {earlier:,} steps gave is kept in {results[0]}-{earlier:08d}." if is_complete else ""
    return (
        f"steps raised from {earlier:,} to {steps:,}: what follows the last checkpoint has the learning rate "
        f"of a run of {steps:,} steps.{kept}"
    )
