"""Fixtures of the whole suite, and skips that turn into failures where CI has the part."""

import ctypes
import gc
import multiprocessing.util
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
from hypothesis import settings

from benchmarks.scheduling import scheduling_kept
from tests.support.browser import chromium_binary, chromium_browser
from tests.support.s3 import BUCKET, S3Server, juicefs_binary, s3_server
from tests.support.stores import STORES, Emulator, emulator, forget_clients, is_installed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Until the tests are collected, which makes millions of objects and no garbage: a third of the time.
gc.disable()

# Deadlines of single examples would time the machine, which is shared.
settings.register_profile("bitmill", deadline=None)
settings.load_profile("bitmill")

# A shell starts jobs in the background with Ctrl-C ignored, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads that wait for each other would keep the cores busy that the other processes of the suite need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Beside other processes, two threads of torch take twice the CPU time of one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# NumPy's threads wait busily whatever they are told. Read when it is imported, which nothing above does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# glibc's malloc gives large blocks back at once, and the kernel would clear the pages of every tensor anew.
_mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_mallopt(_M_MMAP_MAX, 0)
_mallopt(_M_TRIM_THRESHOLD, 1 << 30)

# Ray's workers have a niceness of 15: beside a process of the suite that computes, they would hardly run.
os.environ.setdefault("RAY_worker_niceness", "0")

# On a busy machine a head's first process takes more than Ray's 30 s to tell its port.
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "300")

# Ray would start a worker for each of a node's CPUs with the first job, whether it has work for them or not.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")

# Ray Train would start a process that looks whether nodes are about to be taken away.
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")

# Hugging Face's libraries read these when they are imported; nothing here is fetched from the hub.
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


_MARKED_BY_FIXTURE = ("s3", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a part of the environment by the fixture that gives it, which has the mark's name."""
    for item in items:
        for name in _MARKED_BY_FIXTURE:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)


def pytest_collection_finish() -> None:
    """Each look for garbage would go through modules and tests, for a fifth of a second."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Of this process and all that it starts: another bitmill on the machine, or another process of the
    suite, has files of the same names. Ray's sockets lie in it, so its own name is short."""
    # Places that outlive it: of pytest, and of multiprocessing in this process.
    tmp_path_factory.getbasetemp()
    multiprocessing.util.get_temp_dir()
    folder = tempfile.mkdtemp(prefix="bm-", dir="/tmp")
    before, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), folder
    tempfile.tempdir = None
    yield
    tempfile.tempdir = None
    del os.environ["TMPDIR"]
    if before is not None:
        os.environ["TMPDIR"] = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _only_marked_tests_start_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make check` leaves out what is marked, so what starts Ray unmarked fails, wherever it runs."""
    if request.node.get_closest_marker("ray") is None:
        monkeypatch.setenv("RAY_TMPDIR", "/dev/null/not-marked-as-ray")


@pytest.fixture(autouse=True)
def _own_path_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets it for its children; what is called in this process would leave it behind."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")


@pytest.fixture(autouse=True)
def _no_real_time_priority() -> Generator[None]:
    """A library that takes it for the thread that calls it would starve all that runs beside the suite."""
    policy = os.sched_getscheduler(0)
    with scheduling_kept():
        yield
        left = os.sched_getscheduler(0)
    assert left == policy, "the test left its thread in another scheduling policy"


@pytest.fixture
def forked_children(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process starts to decode or to write is forked from the process that has imported the
    libraries, where it would be spawned and import them, for a second or more of a core each."""
    if any(map(request.node.get_closest_marker, ("s3", "stores"))):
        # They need this test's environment, which says how to reach the store; the forked have an older one.
        return
    # It keeps the environment as it finds it, and so is imported when all of the above is set.
    from tests.support import forked

    monkeypatch.setattr("bitmill.pipeline.isolation.child_process._SPAWN", forked.context())


@pytest.fixture
def briefly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates time a tokenizer for one batch, not for seconds."""
    monkeypatch.setattr("bitmill.jobs.preparation.models.measure_tokenizer._TIMED_S", 0.0)


@pytest.fixture(scope="session")
def _s3_process(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    if juicefs_binary() is None:
        if os.environ.get("REQUIRE_S3") == "1":
            pytest.fail("REQUIRE_S3=1, but juicefs is not installed")
        pytest.skip("juicefs is not installed")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(
    _s3_process: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> str:
    """A fresh prefix on a real S3 server, with the environment set up to reach it."""
    for name, value in _s3_process.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[str], Emulator]]:
    with ExitStack() as running:
        yield cache(lambda name: running.enter_context(emulator(name, tmp_path_factory.mktemp(name))))


@pytest.fixture
def store_named(
    request: pytest.FixtureRequest,
    emulators: Callable[[str], Emulator],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[[str], str]:
    """Gives a fresh prefix on one of ``STORES``, with the environment set up to reach it."""

    def prefix(name: str) -> str:
        if name == "s3":
            return request.getfixturevalue("s3")
        if not is_installed(name):
            refused = pytest.fail if os.environ.get("REQUIRE_STORES") == "1" else pytest.skip
            refused(f"the emulator of {name} is not installed")
        running = emulators(name)
        for key, value in running.environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        forget_clients()
        return f"{running.bucket}/{tmp_path.name}"

    return prefix


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, store_named: Callable[[str], str]) -> str:
    """A fresh prefix on each store in turn."""
    return store_named(request.param)


@pytest.fixture(scope="module")
def browser() -> Generator["Browser"]:
    """Headless Chromium; for a module only, since Playwright keeps an event loop running while it is open."""
    if chromium_binary() is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("REQUIRE_BROWSER=1, but Chromium is not installed")
        pytest.skip("Chromium is not installed")
    with chromium_browser() as started:
        yield started


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A fresh cache for Hugging Face's datasets, in the place of the user's."""
    import datasets

    cache = tmp_path / "hub-cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "downloads")
    datasets.disable_progress_bars()
    return cache
