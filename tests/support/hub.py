"""The few answers of the Hugging Face Hub that reading a repository's files takes, from this machine.

One data set, ``user/clips``, with one branch; listings have two entries a page.
"""

import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = "hf://datasets/user/clips"
_API = "/api/datasets/user/clips"
_FILES = "/datasets/user/clips/resolve/main/"
_PAGE = 2


@contextmanager
def hub(files: dict[str, bytes], *, token: str) -> Generator[str]:
    """Serve a private repository for the length of the block; its endpoint, for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            place, asked = unquote(url.path), parse_qs(url.query)
            if place in (_API, f"{_API}/revision/main") and self._may_enter():
                self._tell({"id": "user/clips", "private": True, "tags": [], "downloads": 0, "likes": 0})
            elif place.startswith(f"{_API}/tree/main") and self._may_enter():
                self._tell_page(place.removeprefix(f"{_API}/tree/main").strip("/"), url.path, asked)
            elif place.startswith(_FILES) and self._may_enter():
                self._send(files.get(place.removeprefix(_FILES)))
            else:
                self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

        def do_POST(self) -> None:
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if self._may_enter():
                self._tell([_entry(path, files) for path in body["paths"] if path in _tree(files)])

        def _may_enter(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {token}":
                return True
            # The hub does not say whether a private repository exists.
            self._answer(401, b"Invalid username or password.", {"X-Error-Code": "RepoNotFound"})
            return False

        def _tell_page(self, folder: str, path: str, asked: dict[str, list[str]]) -> None:
            below = [one for one in _tree(files) if not folder or one.startswith(f"{folder}/")]
            if asked.get("recursive", ["false"])[0].lower() != "true":
                below = [one for one in below if "/" not in one[len(folder) :].lstrip("/")]
            if folder and not below:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            start = int(asked.get("cursor", ["0"])[0])
            headers = {}
            if start + _PAGE < len(below):
                query = f"recursive={asked.get('recursive', ['false'])[0]}&cursor={start + _PAGE}"
                headers["Link"] = f'<http://{self.headers["Host"]}{path}?{query}>; rel="next"'
            self._tell([_entry(one, files) for one in below[start : start + _PAGE]], headers)

        def _send(self, data: bytes | None) -> None:
            if data is None:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            elif asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or ""):
                start, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
                self._answer(
                    206, data[start : last + 1], {"Content-Range": f"bytes {start}-{last}/{len(data)}"}
                )
            else:
                self._answer(200, data)

        def _tell(self, told: Any, headers: dict[str, str] | None = None) -> None:
            self._answer(
                200, json.dumps(told).encode(), {"Content-Type": "application/json", **(headers or {})}
            )

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _tree(files: dict[str, bytes]) -> list[str]:
    folders = {path[: place.start()] for path in files for place in re.finditer("/", path)}
    return sorted({*files, *folders})


def _entry(path: str, files: dict[str, bytes]) -> dict[str, Any]:
    if path not in files:
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
    data = files[path]
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return {"type": "file", "oid": oid, "size": len(data), "path": path}
