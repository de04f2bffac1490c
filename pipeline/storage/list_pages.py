"""Lists object stores page by page, keeping only the needed details of each object in memory.

The clients' own ``find`` keeps a dict of a dozen entries per object until the last page has arrived.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

from fsspec.asyn import sync

from bitmill.pipeline.storage.filesystem import Filesystem
from bitmill.pipeline.storage.retries import retrying
from bitmill.pipeline.storage.store_errors import store_errors

PAGE = 1000
"""Objects a page; also the most that S3 gives."""

_Entries = list[tuple[str, dict[str, Any]]]
"""Key and details of each object of a page."""

_Page = tuple[_Entries, str | None]
"""And the token of the next page, None after the last."""


def gives_pages(fs: Filesystem) -> bool:
    """True if this client allows separate requests per page."""
    return _page_of(fs) is not None


def files_in_pages(fs: Filesystem, inner: str, uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and details of every object below a folder, in the store's order, without folder markers.

    A page that fails is retried separately; errors name ``uri``, like those of ``store_errors``.
    """
    page_of = _page_of(fs)
    assert page_of is not None
    bucket, key, _ = fs.split_path(inner)
    prefix = f"{key.rstrip('/')}/" if key else ""
    token = None

    def ask() -> _Page:
        with store_errors(uri):
            return page_of(fs, bucket, prefix, token)

    while True:
        entries, token = retrying(ask)
        for name, details in entries:
            # An object store's folder marker is an empty object whose name ends in a slash.
            if not name.endswith("/"):
                yield f"{bucket}/{name}", details
        if not token:
            return


def _page_of(fs: Filesystem) -> Callable[[Filesystem, str, str, str | None], _Page] | None:
    """The function that asks s3fs, gcsfs or adlfs for one page."""
    for owned, page_of in (("call_s3", _s3_page), ("batch_url_base", _gcs_page), ("account_name", _az_page)):
        if hasattr(fs, owned):
            return page_of
    return None


def _s3_page(fs: Filesystem, bucket: str, prefix: str, token: str | None) -> _Page:
    asked = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE, **fs.req_kw}
    if token is not None:
        asked["ContinuationToken"] = token
    page = fs.call_s3("list_objects_v2", **asked)
    entries = [(entry["Key"], entry) for entry in page.get("Contents", ())]
    return entries, page["NextContinuationToken"] if page.get("IsTruncated") else None


def _gcs_page(fs: Filesystem, bucket: str, prefix: str, token: str | None) -> _Page:
    asked = {"prefix": prefix, "pageToken": token, "maxResults": PAGE}
    fields = "nextPageToken,items(name,size,generation)"
    page = fs.call("GET", "b/{}/o", bucket, json_out=True, fields=fields, **asked)
    return [(entry["name"], entry) for entry in page.get("items", ())], page.get("nextPageToken")


def _az_page(fs: Filesystem, container: str, prefix: str, token: str | None) -> _Page:
    async def ask() -> _Page:
        async with fs.service_client.get_container_client(container) as client:
            blobs = client.list_blobs(name_starts_with=prefix, include=["metadata"], results_per_page=PAGE)
            pages = blobs.by_page(token)
            # An account with a hierarchical namespace lists folders as blobs of their own.
            entries: _Entries = [
                (blob.name, {"size": blob.size, "etag": blob.etag})
                async for blob in await anext(pages)
                if (blob.metadata or {}).get("hdi_isfolder") != "true"
            ]
            return entries, pages.continuation_token

    return cast(_Page, sync(fs.loop, ask))
