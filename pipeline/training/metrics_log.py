"""Logs metrics to ``metrics.jsonl`` and TensorBoard files, without gaps or duplicates on resuming."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from bitmill.schemas.staged_file import write_staged

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


class MetricsLog(AbstractContextManager["MetricsLog"]):
    """Appends rows, after deleting those later than ``steps_done``; a context manager."""

    def __init__(self, folder: Path, steps_done: int) -> None:
        self._path = folder / METRICS_FILE
        keep_rows_until(self._path, steps_done)
        self._file = self._path.open("a", encoding="utf-8")
        # TensorBoard hides events that an earlier process wrote from this step on.
        self._board = SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=steps_done)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write one row: ``step`` is the number of steps done, ``values`` finite numbers by name."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the complete rows of a metrics file, in order; skips a row truncated by a crash."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


def keep_rows_until(path: Path, steps_done: int) -> None:
    """Rewrite a metrics file without the rows after ``steps_done``, because those steps will be repeated."""
    rows = [row for row in read_metrics(path) if row["step"] <= steps_done]
    write_staged(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
