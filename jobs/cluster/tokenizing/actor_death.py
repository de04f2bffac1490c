"""Finds why an actor died: its process, its constructor's error, or its node."""

import importlib
import re
from pathlib import Path
from typing import Any

from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayError

from bitmill.jobs.scheduling.actor_events import Loss

_PROCESS_DIED = "Worker exit type: SYSTEM_ERROR"
"""Ray's text for an actor whose process died while its node is alive."""

_TOLD_TO_END = "receives a SIGTERM"
"""Text that it adds if the process got SIGTERM, as on a node that is being removed."""

_PID = re.compile(r"^\s*pid: (\d+)$", re.MULTILINE)
_DETAIL = re.compile(r"Worker exit detail: (.+)")
_MAX_CHARACTERS = 500


def loss_of(error: RayError) -> Loss:
    """Classify a loss: as process death only if Ray says so, else as a lost node."""
    if isinstance(error, OutOfMemoryError):
        return Loss.OUT_OF_MEMORY
    text = str(error) if isinstance(error, ActorDiedError) else ""
    return Loss.DIED if _PROCESS_DIED in text and _TOLD_TO_END not in text else Loss.NODE_LOST


def left_with_its_node(error: RayError) -> bool:
    """Whether an actor that was starting was lost without a fault of its own."""
    return (
        isinstance(error, RayActorError) and not error.actor_init_failed and loss_of(error) is Loss.NODE_LOST
    )


def cause_of(error: RayError, logs: Path | None = None) -> str:
    """Returns the cause of a death at start in one line; ``logs`` replaces Ray's log folder on this machine.

    Ray's own first line only says that the death was unexpected.
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
    """Returns the last log line of a process on this machine; other machines keep their own logs."""
    for path in logs.glob(f"worker-*-{pid}.err") if logs is not None else ():
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            # Resolved, since the link to Ray's folder is removed with the session.
            return f"its process's last output was: {lines[-1][:_MAX_CHARACTERS]} (in {path.resolve()})."
    return None


def _logs_folder() -> Path | None:
    """Ray has no public API for it; if its internals change, only the last log line is missing."""
    node: Any = getattr(importlib.import_module("ray._private.worker"), "_global_node", None)
    return Path(node.get_logs_dir_path()) if hasattr(node, "get_logs_dir_path") else None
