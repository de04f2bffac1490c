"""The package that travels with a submitted job: our own code and the job file, and nothing else."""

import importlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("schemas", "bsq_model", "pipeline", "jobs")

JOB_FILE = "job.yaml"

_SUFFIXES = {".py", ".yaml", ".json", ".safetensors"}
"""Code, the example job, and the bundled tokenizer. Nothing else of the packages is read by a
job: an audit's page is drawn where the audit was asked for."""

_SAME_TIME = (1980, 1, 1, 0, 0, 0)


def write_package(path: Path, job_file: str) -> None:
    """Write a zip whose bytes depend only on our code and the job, so that Ray uploads the same one once."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in _own_files():
            _add(archive, name, file.read_bytes())
        _add(archive, JOB_FILE, job_file.encode())


def _own_files() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        (root,) = importlib.import_module(package).__path__
        for file in sorted(Path(root).rglob("*")):
            if file.is_file() and file.suffix in _SUFFIXES:
                yield f"{package}/{file.relative_to(root).as_posix()}", file


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _SAME_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)
