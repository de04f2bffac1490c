"""A run whose ``steps`` are raised: what it was before is kept, and its checkpoints stay its own."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bitmill.schemas.errors import FormatError
from bitmill.schemas.staged_file import write_staged
from bitmill.schemas.yaml_text import parse_yaml

SPEC_FILE = "train.yaml"
CHECKPOINTS_FOLDER = "checkpoints"


def keep_earlier(folder: Path, steps: int, results: Sequence[str]) -> None:
    """Keep the file and the results of a run that had so many steps, under names that tell them.

    ``results`` are the folders that a complete run has; the first one's config.json is what tells of its end.
    Safe to repeat after a crash.
    """
    write_staged(_named(folder / SPEC_FILE, steps), (folder / SPEC_FILE).read_bytes())
    for name in results:
        if (folder / name).exists():
            target = _named(folder / name, steps)
            shutil.rmtree(target, ignore_errors=True)
            (folder / name).rename(target)


def own_runs(folder: Path, run: str, run_of: Callable[[Any], str]) -> set[str]:
    """Ids that the checkpoints in a run's folder may have: its own, and those with the steps of before.

    ``run_of`` gives the id of a stored document, and raises ValueError where it is none.
    """
    runs = {run}
    for path in sorted(folder.glob(f"train-{'[0-9]' * 8}.yaml")):
        try:
            runs.add(run_of(parse_yaml(path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise FormatError(f"{path} is no training file any more; bring it back.") from error
    return runs


def _named(path: Path, steps: int) -> Path:
    return path.with_name(f"{path.stem}-{steps:08d}{path.suffix}")
