"""Why an actor died in starting: what its constructor raised, or the last that its process wrote."""

import importlib
import re
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError

_PID = re.compile(r"^\s*pid: (\d+)$", re.MULTILINE)
_DETAIL = re.compile(r"Worker exit detail: (.+)")
_MAX_CHARACTERS = 500


def cause_of(error: RayError, logs: Path | None = None) -> str:
    """The cause in a line; ``logs`` is the folder of Ray's on this machine where that is not asked of Ray.

    Ray's own first line says of each death that it was unexpected.
    """
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return lines[-1][:_MAX_CHARACTERS]
    pid = _PID.search(text)
    written = _last_words(int(pid[1]), logs or _logs_folder()) if pid else None
    if written:
        return written
    detail = _DETAIL.search(text)
    return (detail[1] if detail else lines[-1])[:_MAX_CHARACTERS]


def _last_words(pid: int, logs: Path | None) -> str | None:
    """Of a process on this machine; those of another have their logs there."""
    for path in logs.glob(f"worker-*-{pid}.err") if logs is not None else ():
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            # Resolved, since a link to Ray's folder goes with the session.
            return f"its process's last words were: {lines[-1][:_MAX_CHARACTERS]} (in {path.resolve()})."
    return None


def _logs_folder() -> Path | None:
    """Ray tells it nowhere; where its internals have changed, the last words are missing, no more."""
    node: Any = getattr(importlib.import_module("ray._private.worker"), "_global_node", None)
    return Path(node.get_logs_dir_path()) if hasattr(node, "get_logs_dir_path") else None
