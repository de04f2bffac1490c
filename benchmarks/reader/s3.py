"""The contenders' folders behind S3: put below a URI, on a server of the environment or one started here."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import s3fs

from tests.support.s3 import BUCKET, s3_server


@dataclass(frozen=True)
class Served:
    """Where the folders stand, and what a process needs in its environment to read them."""

    uri: str
    environment: Mapping[str, str]


@contextmanager
def served(uri: str, folder: Path, names: Sequence[str]) -> Generator[Served]:
    """Put the folders of ``names`` below ``uri``; without one, on a server for the block's length."""
    if uri:
        _put(s3fs.S3FileSystem(), uri.rstrip("/"), folder, names)
        yield Served(uri.rstrip("/"), {})
        return
    with TemporaryDirectory(dir=folder) as place, s3_server(Path(place)) as server:
        keys = server.environment
        filesystem = s3fs.S3FileSystem(
            key=keys["AWS_ACCESS_KEY_ID"],
            secret=keys["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=server.endpoint,
        )
        _put(filesystem, f"s3://{BUCKET}", folder, names)
        # mosaicml-streaming has a name of its own for the endpoint.
        yield Served(f"s3://{BUCKET}", {**keys, "S3_ENDPOINT_URL": server.endpoint})


def _put(filesystem: s3fs.S3FileSystem, uri: str, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        for file in sorted(path for path in (folder / name).rglob("*") if path.is_file()):
            filesystem.put_file(str(file), f"{uri}/{name}/{file.relative_to(folder / name)}")
