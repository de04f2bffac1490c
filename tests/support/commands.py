"""Running ``bitmill`` as a user does: in a process of its own, with its output and exit code."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitmill.schemas.dataset.reading_index import CLIP_INDEX_FILE, INDEX_FILE
from tests.support.foreign import foreign_folder
from tests.support.forked import ForkedCommand

HANGS_S = 900
"""After this long a process is taken to hang; a busy machine may take minutes for what takes seconds."""

_READ_EARLY = {"PYTHONPATH"}
"""Variables that a process reads when it starts, before a forked one begins."""

REPOSITORY = Path(__file__).resolve().parents[2]


WITH_TESTS = {"PYTHONPATH": str(REPOSITORY)}
"""For a process that imports modules of the suite."""


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("bitmill")), *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    # A wide terminal keeps sentences on one line.
    return {**os.environ, "COLUMNS": "400", **(extra or {})}


Running = subprocess.Popen[str] | ForkedCommand


def start(*arguments: str, extra: Mapping[str, str] | None = None) -> Running:
    """Run in a process group of its own, in a folder of foreign modules with the names of ours."""
    if not _READ_EARLY & set(extra or {}):
        return ForkedCommand(command(*arguments), environment(extra), foreign_folder())
    return subprocess.Popen(
        command(*arguments),
        env=environment(extra),
        cwd=foreign_folder(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def bitmill(*arguments: str, extra: Mapping[str, str] | None = None, deadline_s: float = HANGS_S) -> Finished:
    """Run to the end, within a deadline, in a folder of foreign modules with the names of ours."""
    return ended(start(*arguments, extra=extra), deadline_s)


def finish(
    words: Sequence[str],
    extra: Mapping[str, str] | None = None,
    deadline_s: float = HANGS_S,
    cwd: Path | None = None,
) -> Finished:
    done = subprocess.run(
        list(words),
        env=environment(extra),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def script(path: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> ForkedCommand:
    """Start a user's script, in its folder."""
    return ForkedCommand([str(path), *arguments], environment(extra), path.parent)


def run_module(name: str, *arguments: str, extra: Mapping[str, str] | None = None) -> Finished:
    """``python -m`` in the repository, to the end."""
    return ended(ForkedCommand([name, *arguments], environment(extra), REPOSITORY))


def ended(process: Running, deadline_s: float = HANGS_S) -> Finished:
    """How a process ends, within a deadline."""
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Finished(process.returncode or 0, out, err)


def wait_until(condition, what: str, deadline_s: float = HANGS_S) -> None:
    """Poll until ``condition`` holds; fails, naming ``what``, at the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s in vain for {what}")
        time.sleep(0.05)


_LEFT_OUT = {"dataset.json", "status.json", "totals.parquet", INDEX_FILE, CLIP_INDEX_FILE}


def stored_files(dataset: Path) -> dict[str, bytes]:
    """Every file of a dataset, by relative name, but card and status, which tell of the job and the time, and
    remembered totals and readers' indexes, which may be there or not."""
    return {
        str(path.relative_to(dataset)): path.read_bytes()
        for path in sorted(dataset.rglob("*"))
        if path.is_file() and path.name not in _LEFT_OUT
    }


def differences(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> dict[str, str]:
    """How the ``stored_files`` of two datasets differ, by name; of tables, the first values that do."""
    told = dict.fromkeys(sorted(found.keys() - expected.keys()), "not expected")
    told |= dict.fromkeys(sorted(expected.keys() - found.keys()), "missing")
    for name in sorted(found.keys() & expected.keys()):
        if found[name] != expected[name]:
            told[name] = _difference(name, found[name], expected[name])
    return told


def _difference(name: str, found: bytes, expected: bytes) -> str:
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        ours, theirs = (pq.read_table(pa.BufferReader(data)).to_pylist() for data in (found, expected))
        for number, (our, their) in enumerate(zip(ours, theirs, strict=False)):
            if our != their:
                values = {key: (our[key], their.get(key)) for key in our if our[key] != their.get(key)}
                return f"row {number}: {str(values)[:1000]}"
    return f"other bytes, {len(found)} instead of {len(expected)}"
