"""Lists S3 page by page, keeping only the needed details of each object in memory.

s3fs' own ``find`` keeps a dict of a dozen entries per object until the last page has arrived.
"""

from collections.abc import Iterator
from typing import Any

from bitmill.pipeline.storage.filesystem import Filesystem, retrying, store_errors


def gives_pages(fs: Filesystem) -> bool:
    """True if this is an s3fs filesystem, which allows separate requests per page."""
    return hasattr(fs, "call_s3")


def files_in_pages(fs: Filesystem, inner: str, uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and details of every object below a folder, in the store's order, without folder markers.

    A page that fails is retried separately; errors name ``uri``, like those of ``store_errors``.
    """
    bucket, key, _ = fs.split_path(inner)
    asked = {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else "", **fs.req_kw}

    def ask() -> dict[str, Any]:
        with store_errors(uri):
            return fs.call_s3("list_objects_v2", **asked)

    while True:
        page = retrying(ask)
        for entry in page.get("Contents", ()):
            # An object store's folder marker is an empty object whose name ends in a slash.
            if not entry["Key"].endswith("/"):
                yield f"{bucket}/{entry['Key']}", entry
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
