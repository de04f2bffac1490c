"""Stores that tests write to: emulators on this machine, as far as they are installed."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import HTTPServer
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

from tests.support.ports import free_ports

BUCKET = "bitmill-test"
SECRET = "c2VjcmV0LXRoYXQtbm8tZmlsZS1tYXktY29udGFpbg=="
"""What a store is reached by, where it asks for something."""

_AZURITE = Path(__file__).parents[2] / ".cache" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_START_S = 300


@dataclass(frozen=True)
class Emulator:
    """A running store; ``environment`` is what a user would export to reach it."""

    scheme: str
    endpoint: str
    environment: dict[str, str]

    @property
    def bucket(self) -> str:
        return f"{self.scheme}://{BUCKET}"


def forget_clients() -> None:
    """Clients remember by which environment they were made."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    if "gcsfs.core" in sys.modules:
        sys.modules["gcsfs.core"].GCSFileSystem.clear_instance_cache()
    if "adlfs" in sys.modules:
        sys.modules["adlfs"].AzureBlobFileSystem.clear_instance_cache()


def environment_of(scheme: str, endpoint: str) -> dict[str, str]:
    """How a user reaches a store at ``endpoint`` (http://host:port)."""
    if scheme == "s3":
        return {
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    if scheme == "gs":
        # Without credentials gcsfs would look for a machine of Google's to ask.
        return {"STORAGE_EMULATOR_HOST": endpoint, "NO_GCE_CHECK": "true"}
    account = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={SECRET}"
    return {"AZURE_STORAGE_CONNECTION_STRING": f"{account};BlobEndpoint={endpoint}/account;"}


@contextmanager
def _moto(_: Path) -> Generator[str]:
    """Another S3 than JuiceFS' gateway: keys are flat, multipart uploads and pages are S3's."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
    try:
        yield endpoint
    finally:
        server.stop()


@contextmanager
def _gcs(_: Path) -> Generator[str]:
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    class Server(HTTPServer):
        # gcsfs asks two things at once, and hangs up on the answer that it does not need.
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    for name in ("api.object", "api.bucket", "gcp_storage_emulator.storage"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    storage = Storage(use_memory_fs=True)
    create_bucket(BUCKET, storage)
    server = Server(("127.0.0.1", 0), partial(RequestHandler, storage))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _azurite(folder: Path) -> Generator[str]:
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [
            str(azurite_binary()),
            *("--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
            *("--blobPort", str(port)),
        ],
        env={**os.environ, "AZURITE_ACCOUNTS": f"account:{SECRET}"},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                break
        endpoint = f"http://127.0.0.1:{port}"
        from adlfs import AzureBlobFileSystem

        connection = environment_of("az", endpoint)["AZURE_STORAGE_CONNECTION_STRING"]
        AzureBlobFileSystem(connection_string=connection, skip_instance_cache=True).mkdir(BUCKET)
        yield endpoint
    finally:
        process.terminate()
        process.wait(timeout=20)


def azurite_binary() -> Path | None:
    """Azurite's program, from ``make azurite`` or the PATH."""
    found = shutil.which("azurite-blob")
    return _AZURITE if _AZURITE.exists() else Path(found) if found else None


_SERVERS: dict[str, tuple[str, Callable[[Path], AbstractContextManager[str]], Callable[[], bool]]] = {
    "moto": ("s3", _moto, lambda: find_spec("moto") is not None and find_spec("flask_cors") is not None),
    "gcs": (
        "gs",
        _gcs,
        lambda: find_spec("gcsfs") is not None and find_spec("gcp_storage_emulator") is not None,
    ),
    "azure": ("az", _azurite, lambda: find_spec("adlfs") is not None and azurite_binary() is not None),
}
EMULATED = [pytest.param(name, marks=pytest.mark.stores) for name in _SERVERS]
STORES = [pytest.param("s3", marks=pytest.mark.s3), *EMULATED]
"""Parameters of the fixture ``store_named``: JuiceFS' gateway and the emulators."""


def is_installed(name: str) -> bool:
    return _SERVERS[name][2]()


@contextmanager
def emulator(name: str, folder: Path) -> Generator[Emulator]:
    """Serve a store with one empty bucket for the length of the block."""
    scheme, server, _ = _SERVERS[name]
    with server(folder) as endpoint:
        yield Emulator(scheme=scheme, endpoint=endpoint, environment=environment_of(scheme, endpoint))
