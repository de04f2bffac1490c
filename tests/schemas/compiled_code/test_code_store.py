"""Machine code on disk: found again, never another form's, never damaged, and not needed."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numba
import numpy as np
import pytest
from numba.core.bytecode import FunctionIdentity

from bitmill.pipeline.reading.kernels import unpack
from bitmill.schemas.compiled_code.numba_compile import compiled
from bitmill.schemas.dataset.packing import pack_bits, unpack_groups


def add(a: int, b: int) -> int:
    return a + b


def less(a: int, b: int) -> int:
    return a - b


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, as NUMBA_CACHE_DIR gives it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def of_a_read_only_disk(function):
    """The function as if its source lay where nothing can be written."""
    return FunctionType(function.__code__.replace(co_filename="/proc/none/module.py"), {}, function.__name__)


def found(function) -> int:
    return sum(function.stats.cache_hits.values())


def unpacked(bits: int, group: int) -> tuple[bool, int]:
    """Whether a new kernel's groups are NumPy's, and whether it was found on disk."""
    codes = pack_bits(np.random.default_rng(bits).random((37, bits)) < 0.5)
    clip = unpack._kernels.__wrapped__("i", bits, bits // group, None, "most").clip
    out = np.full((37, bits // group), -1, np.int64)
    clip(np.frombuffer(codes + bytes(unpack.SPARE_BYTES), np.uint8), 0, out)
    return np.array_equal(out, unpack_groups(codes, 37, bits, group)), found(clip)


def test_code_is_found_again_and_leaves_no_more_files(folder):
    for number in range(3):
        function = compiled(add)
        assert function(2, 3) == 5
        assert found(function) == bool(number)
        assert len(files(folder)) == 1


@pytest.mark.slow
def test_a_closure_that_holds_a_compiled_function_is_found_again_in_this_process_and_others(folder):
    assert unpacked(12, 12) == (True, 0)
    kept = {path: path.read_bytes() for path in files(folder)}
    assert len(kept) == 1
    assert unpacked(12, 12) == (True, 1)
    again = f"from {__name__} import unpacked; assert unpacked(12, 12) == (True, 1)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", again], check=True, env=environment)
    assert {path: path.read_bytes() for path in files(folder)} == kept


@pytest.mark.slow
def test_forms_of_processes_that_count_alike_do_not_take_each_others_code(folder, monkeypatch):
    """Symbols hold a number that each process counts anew, and the linker takes the first of two alike."""
    for group in (6, 12):
        monkeypatch.setattr(FunctionIdentity, "_unique_ids", itertools.count(10**6))
        assert unpacked(12, group) == (True, 0)
    for group in (12, 6):
        assert unpacked(12, group) == (True, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole, other: b"",
        lambda whole, other: whole[:-1],
        lambda whole, other: whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :],
        lambda whole, other: whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
        lambda whole, other: other,
    ],
    ids=["empty", "short", "zeros", "one bit", "another function's"],
)
def test_damaged_code_is_compiled_anew_and_replaced(folder, damage):
    assert compiled(less)(2, 3) == -1
    (other,) = files(folder)
    assert compiled(add)(2, 3) == 5
    (path,) = (path for path in files(folder) if path != other)
    path.write_bytes(damage(path.read_bytes(), other.read_bytes()))
    for number in range(2):
        function = compiled(add)
        assert function(2, 3) == 5
        assert found(function) == number


def test_code_that_others_can_write_is_not_run(folder):
    assert compiled(add)(2, 3) == 5
    (path,) = files(folder)
    for mode, hits in ((0o666, 0), (0o664, 0), (0o600, 1)):
        path.chmod(mode)
        function = compiled(add)
        assert function(2, 3) == 5
        assert found(function) == hits


def test_code_that_another_user_wrote_is_not_run(folder, monkeypatch):
    assert compiled(add)(2, 3) == 5
    (path,) = files(folder)
    true_stat = os.fstat

    def as_of_another_user(handle: int) -> os.stat_result:
        status = list(true_stat(handle))
        status[4] += 12345
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", as_of_another_user)
    function = compiled(add)
    assert function(2, 3) == 5
    assert found(function) == 0
    assert files(folder) == [path]


def test_a_machine_without_a_folder_to_write_compiles_for_the_process(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/proc/none")
    for _ in range(2):
        function = compiled(add)
        assert function(2, 3) == 5
        assert found(function) == 0


def test_where_the_source_cannot_be_written_code_is_kept_in_the_users_cache(monkeypatch, tmp_path):
    """Packages on a read-only disk, or of another user."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for number in range(2):
        function = compiled(of_a_read_only_disk(add))
        assert function(2, 3) == 5
        assert found(function) == number
        (path,) = files(tmp_path)
        assert path.parent == tmp_path / "bitmill" / "compiled"


def test_a_user_without_a_home_gets_no_folder_in_the_current_one(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/.cache")
    monkeypatch.chdir(tmp_path)
    assert compiled(of_a_read_only_disk(add))(2, 3) == 5
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch):
    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert compiled(add)(2, 3) == 5
    assert files(folder) == []
