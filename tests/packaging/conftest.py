"""The wheel of this tree, and an environment that it is installed in."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.commands import REPOSITORY


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what Git has or would add, as on a machine that has never built it."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if not (REPOSITORY / name).exists():
            continue
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / "tree" / name, follow_symlinks=False)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    words = [*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "tree")]
    subprocess.run(words, check=True)
    (built,) = folder.glob("bitmill-*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel and, from the suite's, all but our own code."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    scripts = folder / "bin"
    words = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "--quiet"]
    subprocess.run([*words, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Behind the environment's own, and its .pth files, which name this repository, are not followed.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return scripts
