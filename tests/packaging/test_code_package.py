"""What travels to a cluster: our code, the bundled tokenizer and the job, and nothing else."""

import sys
import zipfile
from pathlib import Path

import pytest

from bitmill.jobs.commands.remote.code_package import JOB_FILE, write_package
from tests.support.commands import finish

JOB = "version: 1\n"


def _package(path: Path, job: str = JOB) -> zipfile.ZipFile:
    write_package(path, job)
    return zipfile.ZipFile(path)


@pytest.mark.slow
def test_it_lists_what_the_wheel_lists_and_the_job(tmp_path, wheel):
    with _package(tmp_path / "p.zip") as archive, zipfile.ZipFile(wheel) as built:
        assert archive.read(JOB_FILE).decode() == JOB
        ours = {name for name in built.namelist() if ".dist-info/" not in name}
        assert set(archive.namelist()) == {*ours, JOB_FILE}
        assert all(archive.read(name) == built.read(name) for name in ours)


@pytest.mark.slow
def test_the_same_job_makes_the_same_package(tmp_path):
    for name, job in (("a", JOB), ("b", JOB), ("c", "version: 2\n")):
        write_package(tmp_path / name, job)
    first, again, other = (tmp_path / name for name in "abc")
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


@pytest.mark.slow
def test_the_package_runs_by_itself(tmp_path):
    with _package(tmp_path / "p.zip") as archive:
        archive.extractall(tmp_path / "run")
    code = "from bitmill.jobs import cli; from bitmill.bsq_model import bundled;"
    code += "bundled.bundled_files('small'); print(cli.__file__)"
    done = finish([sys.executable, "-P", "-c", code], {"PYTHONPATH": str(tmp_path / "run")})
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "run" / "bitmill" / "jobs" / "cli.py")
