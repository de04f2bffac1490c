"""A folder of a user whose modules have the names of our rooms and of libraries; none may be imported."""

import shutil
import tempfile
from atexit import register
from functools import cache
from pathlib import Path

ROOMS = ("schemas", "bsq_model", "pipeline", "jobs")

_FILES = (
    # Packages and single files of our rooms' names.
    *("schemas/__init__.py", "jobs/__init__.py", "pipeline.py", "bsq_model.py"),
    # Names of the standard library and of what we build on, and one that begins like ours.
    *("queue.py", "types.py", "torch.py", "numpy.py", "av.py", "ray.py", "bitmill_notes.py"),
)


@cache
def foreign_folder() -> Path:
    """One for the whole run of this process, which removes it at its end."""
    folder = Path(tempfile.mkdtemp(prefix="foreign-"))
    register(shutil.rmtree, folder, ignore_errors=True)
    for name in _FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise SystemExit(f'{__file__}, a file of the user, was imported')\n")
    return folder
