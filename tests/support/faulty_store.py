"""A proxy before a real S3 server that makes chosen calls fail, as throttled and distant stores do."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal["slow_down", "reset_before", "reset_after", "truncated", "slow"]
FAULTS: tuple[Fault, ...] = ("slow_down", "reset_before", "reset_after", "truncated", "slow")

_SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


@dataclass
class FaultyStore:
    """The running proxy. ``plan`` says of each call, numbered from 0, what goes wrong with it."""

    endpoint: str = ""
    plan: Callable[[int], Fault | None] = lambda _: None
    calls: list[str] = field(default_factory=list)
    """Method and path of each call, in order of arrival."""
    ranges: list[str] = field(default_factory=list)
    """The bytes that each call asks for (``bytes=0-99``), empty where it asks for all."""
    injected: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, plan: Callable[[int], Fault | None]) -> None:
        """Number calls from 0 again, by another plan."""
        with self.lock:
            self.plan = plan
            self.calls.clear()
            self.ranges.clear()
            self.injected.clear()

    def arrived(self, call: str, asked_range: str) -> Fault | None:
        with self.lock:
            fault = self.plan(len(self.calls))
            self.calls.append(call)
            self.ranges.append(asked_range)
            if fault is not None:
                self.injected.append(fault)
            return fault


@contextmanager
def faulty_store(upstream: str) -> Generator[FaultyStore]:
    """Serve a proxy to ``upstream`` (http://host:port) on a free port for the length of the block."""
    store = FaultyStore()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store, urlsplit(upstream).netloc))
    server.daemon_threads = True
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


def _handler(store: FaultyStore, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            # The body is read whatever happens, as a store does that refuses after listening.
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = store.arrived(f"{self.command} {self.path}", self.headers.get("Range") or "")
            if fault == "slow_down":
                self._answer(503, "Slow Down", [("Content-Type", "application/xml")], _SLOW_DOWN)
                return
            if fault == "reset_before":
                self._reset()
                return
            status, reason, headers, answer = self._forward(body)
            if fault == "reset_after":
                self._reset()
            elif fault == "truncated" and len(answer) > 1:
                self._answer(status, reason, headers, answer, sent=len(answer) // 2)
                self._reset()
            elif fault == "slow":
                self._answer(status, reason, headers, answer, pause_s=0.05)
            else:
                self._answer(status, reason, headers, answer)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        def _forward(self, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(upstream, timeout=60)
            try:
                # The Host header stays the proxy's: it is part of what the client has signed.
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, answer.reason, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def _answer(
            self,
            status: int,
            reason: str,
            headers: list[tuple[str, str]],
            body: bytes,
            *,
            sent: int | None = None,
            pause_s: float = 0.0,
        ) -> None:
            self.send_response_only(status, reason)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            length = {n.lower(): v for n, v in headers}.get("content-length", str(len(body)))
            if status != 204:
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            step = max(1, len(body) // 4) if pause_s else max(1, len(body))
            for place in range(0, len(body) if sent is None else sent, step):
                self.wfile.write(body[place : min(place + step, len(body) if sent is None else sent)])
                self.wfile.flush()
                time.sleep(pause_s)

        def _reset(self) -> None:
            """End the connection by RST, not by an orderly close."""
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                return

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
