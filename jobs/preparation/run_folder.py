"""A training run's own folder: new, or that of the same run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bitmill.jobs.preparation.field_differences import differences
from bitmill.jobs.progress.training_view import flat_fields
from bitmill.schemas.errors import OutputConflictError, UsageError

SPEC_FILE = "train.yaml"


def check_run_folder(
    output: str, fixed: dict[str, Any], fixed_of_stored: Callable[[Any], dict[str, Any]]
) -> None:
    """Refuse an output that holds anything but this run.

    ``fixed`` are the fields that make the run what it is; ``fixed_of_stored`` gives those of a folder's
    document, and raises ValueError where it is none. Raises UsageError, also OutputConflictError that names
    each differing field.
    """
    if "://" in output:
        raise UsageError(f"output {output} is a URL; training writes to a disk that all processes see.")
    folder = Path(output)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        stored = fixed_of_stored(yaml.safe_load((folder / SPEC_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OutputConflictError(
            f"The output {folder} holds files but no such training run; choose a new or empty folder."
        ) from error
    differing = differences(flat_fields(stored), flat_fields(fixed))
    if differing:
        raise OutputConflictError(
            f"The output {folder} holds another run: {'; '.join(differing)}. Choose another output, or train "
            "with the file that began it."
        )
