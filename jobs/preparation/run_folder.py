"""Checks a training run's output folder: new, or of the same run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from bitmill.jobs.preparation.file_arguments import out_folder
from bitmill.jobs.preparation.same_job import differences
from bitmill.jobs.progress.training_view import flat_fields
from bitmill.pipeline.training.extend_run import CHECKPOINTS_FOLDER, SPEC_FILE, keep_earlier
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.staged_file import write_staged
from bitmill.schemas.yaml_text import parse_yaml


def check_run_folder(
    output: str, fixed: dict[str, Any], fixed_of_stored: Callable[[Any], dict[str, Any]]
) -> int | None:
    """Check that an output is new or of this run; returns its step count if that is lower, else None.

    ``fixed`` are the fields that identify the run; ``fixed_of_stored`` returns those of a stored run file,
    and raises ValueError if it is not one. Raises UsageError, or OutputConflictError naming each differing
    field.
    """
    if "://" in output:
        raise UsageError(
            f"output {output} is a URL; training needs a folder on a disk that all processes see."
        )
    folder = out_folder(output)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        stored = fixed_of_stored(parse_yaml((folder / SPEC_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OutputConflictError(
            f"The output {folder} contains files but no such training run; choose a new or empty folder."
        ) from error
    earlier: int | None = stored["steps"] if stored["steps"] < fixed["steps"] else None
    if earlier is not None:
        stored["steps"] = fixed["steps"]
    differing = differences(flat_fields(stored), flat_fields(fixed))
    if differing:
        raise OutputConflictError(
            f"The output {folder} contains another run: {'; '.join(differing)}. Choose another output, or "
            "train with the file that started it."
        )
    return earlier


def raise_steps(output: str, earlier: int, steps: int, results: Sequence[str]) -> str:
    """Prepare a run's folder for more steps, before the run file is written; returns a note for the user.

    Raises UsageError if the run is complete and has no checkpoint.
    """
    folder = Path(output)
    is_complete = (folder / results[0] / "config.json").exists()
    if is_complete and not any((folder / CHECKPOINTS_FOLDER).glob("step-*")):
        raise UsageError(
            f"The run in {folder} is complete at {earlier:,} steps and has no checkpoint to resume from; "
            "choose another output."
        )
    keep_earlier(folder, earlier, results)
    kept = f" The result of {earlier:,} steps is kept in {results[0]}-{earlier:08d}." if is_complete else ""
    return (
        f"steps raised from {earlier:,} to {steps:,}: after the last checkpoint, the learning rate is that "
        f"of a run of {steps:,} steps.{kept}"
    )


def write_spec(folder: Path, spec: BaseModel) -> None:
    """Write the run file, which later runs are compared with."""
    write_staged(folder / SPEC_FILE, yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False).encode())
