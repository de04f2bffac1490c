"""Builds the package uploaded with a submitted job: bitmill's own code and the job file only."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import bitmill

JOB_FILE = "job.yaml"

_SAME_TIME = (1980, 1, 1, 0, 0, 0)


def write_package(path: Path, job_file: str) -> None:
    """Write a zip whose bytes depend only on the code and the job, so that Ray uploads it only once.

    It contains the files of bitmill's wheel, with the same paths.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(_own_files()):
            _add(archive, name, file.read_bytes())
        _add(archive, JOB_FILE, job_file.encode())


def _own_files() -> Iterator[tuple[str, Path]]:
    root = Path(bitmill.__file__).parent
    # In the repository the four folders are symlinks, which Path.rglob does not follow before Python 3.13.
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            file = Path(folder, name)
            yield f"bitmill/{file.relative_to(root).as_posix()}", file


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _SAME_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)
