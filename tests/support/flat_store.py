"""An object store whose names are flat, as S3's are: ``videos`` and ``videos/a.mp4`` may both be objects.

The real server of other tests keeps its objects as files, and so cannot have both. This one is listed only.
"""

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "flat"


@contextmanager
def flat_store(objects: Mapping[str, bytes]) -> Generator[dict[str, str]]:
    """Serve objects by their keys; gives the environment in which ``s3://flat`` is that server."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            data = objects.get(unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/"))
            self._answer(b"" if data is None else data, 404 if data is None else 200)

        def do_GET(self) -> None:
            (prefix,) = parse_qs(urlsplit(self.path).query).get("prefix", [""])
            entries = "".join(
                f"<Contents><Key>{escape(key)}</Key><ETag>x</ETag><Size>{len(data)}</Size></Contents>"
                for key, data in sorted(objects.items())
                if key.startswith(prefix)
            )
            number = entries.count("<Key>")
            text = f"<ListBucketResult><KeyCount>{number}</KeyCount>{entries}</ListBucketResult>"
            self._answer(text.encode(), 200)

        def _answer(self, data: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", "x")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
