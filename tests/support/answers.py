"""What real stores answer to wrong credentials, as their documentation has it, from a server on this machine.

Emulators ask for none, or take any.
"""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer to every request."""

    status: int
    headers: dict[str, str]
    body: bytes


def _xml(status: int, code: str, **headers: str) -> Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>No.</Message></Error>'
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/xml", **named}, body.encode())


def _json(status: int, message: str) -> Answer:
    body = json.dumps({"error": {"code": status, "message": message}}).encode()
    return Answer(status, {"Content-Type": "application/json"}, body)


DENIALS = {
    "s3-unknown-key": _xml(403, "InvalidAccessKeyId"),
    "s3-wrong-secret": _xml(403, "SignatureDoesNotMatch"),
    "s3-no-right": _xml(403, "AccessDenied"),
    "gs-anonymous": _json(401, "Anonymous caller does not have storage.objects.get access to the object."),
    "gs-no-right": _json(403, "someone@example.com does not have storage.objects.get access."),
    "az-wrong-key": _xml(403, "AuthenticationFailed", x_ms_error_code="AuthenticationFailed"),
    "az-no-right": _xml(403, "AuthorizationFailure", x_ms_error_code="AuthorizationFailure"),
    "az-anonymous": _xml(401, "NoAuthenticationInformation", x_ms_error_code="NoAuthenticationInformation"),
}
"""By scheme and cause."""


@contextmanager
def answering(answer: Answer) -> Generator[str]:
    """A server that gives one answer for the length of the block; its endpoint, http://host:port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that is refused may hang up."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
