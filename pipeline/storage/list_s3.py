"""Listing S3 page by page: of a million objects only what is kept of each stays in memory.

s3fs' own ``find`` holds a dict of a dozen entries for each object until the last page is there.
"""

from collections.abc import Iterator
from typing import Any

from bitmill.pipeline.storage.filesystem import Filesystem, retrying, store_errors


def gives_pages(fs: Filesystem) -> bool:
    """Whether this is a filesystem of s3fs, which lets its calls be made one by one."""
    return hasattr(fs, "call_s3")


def files_in_pages(fs: Filesystem, inner: str, uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and details of every object below a folder, in the store's order; folder markers are left out.

    A page that fails is asked for again by itself; errors name ``uri``, as those of ``store_errors``.
    """
    bucket, key, _ = fs.split_path(inner)
    asked = {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else "", **fs.req_kw}

    def ask() -> dict[str, Any]:
        with store_errors(uri):
            return fs.call_s3("list_objects_v2", **asked)

    while True:
        page = retrying(ask)
        for entry in page.get("Contents", ()):
            # A folder marker of an object store is an empty object whose name ends in a slash.
            if not entry["Key"].endswith("/"):
                yield f"{bucket}/{entry['Key']}", entry
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
