"""What travels to a cluster: our code, the bundled tokenizer and the job, and nothing else."""

import sys
import zipfile
from pathlib import Path

import pytest

from bitmill.jobs.commands.remote.code_package import JOB_FILE, write_package
from tests.support.commands import finish

JOB = "version: 1\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "p.zip"
    write_package(path, JOB)
    return path


@pytest.mark.slow
def test_it_lists_what_the_wheel_lists_and_the_job(package, wheel):
    with zipfile.ZipFile(package) as archive, zipfile.ZipFile(wheel) as built:
        assert archive.read(JOB_FILE).decode() == JOB
        ours = {name for name in built.namelist() if ".dist-info/" not in name}
        assert set(archive.namelist()) == {*ours, JOB_FILE}
        assert all(archive.read(name) == built.read(name) for name in ours)


@pytest.mark.slow
def test_the_same_job_makes_the_same_package(package, tmp_path):
    write_package(tmp_path / "again", JOB)
    assert (tmp_path / "again").read_bytes() == package.read_bytes()


@pytest.mark.slow
def test_the_package_runs_by_itself(package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "run")
    code = "from bitmill.jobs import cli; from bitmill.bsq_model import bundled;"
    code += "bundled.bundled_files('small'); print(cli.__file__)"
    done = finish([sys.executable, "-P", "-c", code], {"PYTHONPATH": str(tmp_path / "run")})
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "run" / "bitmill" / "jobs" / "cli.py")
