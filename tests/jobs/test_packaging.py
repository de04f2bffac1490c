"""What travels to a cluster: our code, the bundled tokenizer and the job, and nothing else."""

import sys
import zipfile
from pathlib import Path

from bsq_model.bundled import BUNDLED
from jobs.packaging import JOB_FILE, PACKAGES, write_package
from tests.support.commands import finish

JOB = "version: 1\n"


def _package(path: Path, job: str = JOB) -> zipfile.ZipFile:
    write_package(path, job)
    return zipfile.ZipFile(path)


def test_only_our_packages_and_the_job_are_in_it(tmp_path):
    with _package(tmp_path / "p.zip") as archive:
        names = archive.namelist()
        assert archive.read(JOB_FILE).decode() == JOB
    assert {name.split("/")[0] for name in names} == {*PACKAGES, JOB_FILE}
    assert not [name for name in names if ".git" in name or "__pycache__" in name or "test" in name]
    for name in BUNDLED:
        assert f"bsq_model/bundled/{name}/model.safetensors" in names


def test_the_same_job_makes_the_same_package(tmp_path):
    for name, job in (("a", JOB), ("b", JOB), ("c", "version: 2\n")):
        write_package(tmp_path / name, job)
    first, again, other = (tmp_path / name for name in "abc")
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_the_package_runs_by_itself(tmp_path):
    with _package(tmp_path / "p.zip") as archive:
        archive.extractall(tmp_path / "run")
    code = "import jobs.cli, bsq_model.bundled as b; b.bundled_files('small'); print(jobs.cli.__file__)"
    done = finish([sys.executable, "-P", "-c", code], {"PYTHONPATH": str(tmp_path / "run")})
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "run" / "jobs" / "cli.py")
