"""Lists a job's sources: files of paths and globs, or the rows of a manifest."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from bitmill.pipeline.sources.braces import expand_braces
from bitmill.pipeline.sources.manifest import read_manifest
from bitmill.pipeline.storage import Listing, ObjectInfo, list_objects, normalise, stat
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadJobError, InfrastructureError, TransientError
from bitmill.schemas.requests.job import SourceSpec

VIDEO_SUFFIXES = frozenset(
    """.3g2 .3gp .asf .avi .f4v .flv .h264 .h265 .hevc .ivf .m1v .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4
    .mpeg .mpg .mts .mxf .nut .obu .ogv .rm .rmvb .ts .vob .webm .wmv .y4m""".split()  # noqa: SIM905
)
IMAGE_SUFFIXES = frozenset(
    """.apng .avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff
    .webp""".split()  # noqa: SIM905
)

_MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
_SOURCE_SUFFIXES = _MEDIA_SUFFIXES | {".tar"}

_STAT_THREADS = 32


@dataclass(frozen=True, kw_only=True)
class SourceList:
    """The sources of a job."""

    sources: tuple[PlannedSource, ...]
    ignored_files: int
    """Files in source folders without a media suffix; they are not planned."""


def find_sources(spec: SourceSpec) -> SourceList:
    """List a job's sources in a stable order: by URI where listed, by row where a manifest names them.

    A folder yields its tars and its files with a media suffix, recursively (others are counted); a file or
    glob yields all its matches; braces are expanded. Raises BadJobError if nothing is found,
    InfrastructureError if the store fails.
    """
    try:
        found = _from_manifest(spec.manifest) if spec.manifest is not None else _from_paths(spec.paths or [])
    except TransientError as error:
        raise InfrastructureError(f"{error} The sources could not be listed; try again later.") from error
    if not found.sources:
        what = spec.manifest if spec.manifest is not None else ", ".join(spec.paths or [])
        ignored = (
            f" ({counted(found.ignored_files, 'file')} without a media name)" if found.ignored_files else ""
        )
        raise BadJobError(f"No media was found at {what}{ignored}; check the path.")
    return found


def refuse_archives(sources: Iterable[PlannedSource], *, purpose: str) -> None:
    """Raise BadJobError if a source is a tar; only ``tokenize`` reads tars."""
    tar = next((source.uri for source in sources if source.is_archive), None)
    if tar is not None:
        raise BadJobError(
            f"{tar} is a tar, and {purpose} reads only plain files; unpack it and give its folder, or use "
            "a glob that excludes tars (folder/*.mp4)."
        )


def _from_paths(paths: list[str]) -> SourceList:
    objects: dict[str, ObjectInfo] = {}
    ignored: set[str] = set()
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        for path in paths:
            for listing in _listings(normalise(path), path.endswith("/"), pool):
                for info in listing.objects:
                    if _is_unwanted(info.uri, listing.kind):
                        ignored.add(info.uri)
                    else:
                        objects[info.uri] = info
    return SourceList(
        sources=tuple(
            PlannedSource(uri=info.uri, size_bytes=info.size_bytes, version=info.version)
            for _, info in sorted(objects.items())
        ),
        ignored_files=len(ignored - objects.keys()),
    )


def _is_unwanted(uri: str, kind: str) -> bool:
    """Whether to ignore a listed file.

    In a folder, files are filtered by suffix, and subfolders that cannot be listed are kept; names and globs
    are taken as given, except for macOS's ``._`` files.
    """
    if kind == "glob":
        return is_mac_leftover(uri)
    return kind == "folder" and not (uri.endswith("/") or _is_source_name(uri))


def _listings(path: str, is_folder: bool, pool: ThreadPoolExecutor) -> Iterable[Listing]:
    """List a path as it is if it exists, else each of its brace expansions."""
    names = [normalise(name) for name in expand_braces(path)]
    listed = partial(_listed, is_folder=is_folder)
    if len(names) == 1:
        return [listed(path)]
    with suppress(BadJobError):
        literal = listed(path)
        if literal.objects:
            return [literal]
    return pool.map(listed, names)


def _listed(path: str, *, is_folder: bool) -> Listing:
    try:
        return list_objects(path, prefer_folder=is_folder)
    except FileNotFoundError as error:
        if path.startswith("hf://"):
            # The hub does not tell private repositories from absent ones.
            raise BadJobError(
                f"The source {path} does not exist, or may not be seen; check the path and HF_TOKEN."
            ) from error
        raise BadJobError(f"The source {path} does not exist; check the path.") from error
    except PermissionError as error:
        raise BadJobError(f"The source {path} may not be listed; check your rights.") from error


def looked_up_again(sources: Sequence[PlannedSource]) -> list[PlannedSource]:
    """Returns planned sources with their current size and version from the store, otherwise unchanged.

    Raises InfrastructureError if the store fails.
    """
    try:
        infos = _identities(source.uri for source in sources)
    except TransientError as error:
        raise InfrastructureError(f"{error} The sources could not be looked up; try again later.") from error
    return [
        replace(source, size_bytes=infos[source.uri].size_bytes, version=infos[source.uri].version)
        for source in sources
    ]


def is_media_name(name: str) -> bool:
    """Whether a name has a video's or image's suffix and is not a macOS ``._`` file."""
    return suffix(name) in _MEDIA_SUFFIXES and not is_mac_leftover(name)


def is_mac_leftover(name: str) -> bool:
    """Whether a name is like ``._clip.mp4``, which macOS writes next to clip.mp4 on other file systems."""
    return name.rsplit("/", 1)[-1].startswith("._")


def is_image_name(uri: str) -> bool:
    """Whether a source's name has an image suffix (including animations)."""
    return suffix(uri) in IMAGE_SUFFIXES


def suffix(uri: str) -> str:
    """Returns the lower-case suffix of a name, with its dot; empty if it has none."""
    name = uri.rsplit("/", 1)[-1]
    return f".{name.rsplit('.', 1)[-1].lower()}" if "." in name else ""


def _is_source_name(uri: str) -> bool:
    return suffix(uri) in _SOURCE_SUFFIXES and not is_mac_leftover(uri)


def _from_manifest(manifest: str) -> SourceList:
    rows = read_manifest(normalise(manifest))
    for row in rows:
        if row.uri.lower().endswith(".tar") and (row.start_ns is not None or row.end_ns is not None):
            raise BadJobError(
                f"Manifest {manifest} gives {row.uri} a start or end, but a tar has no timeline; "
                "leave both empty to take all its items whole."
            )
    infos = _identities(row.uri for row in rows)
    sources = tuple(
        PlannedSource(
            uri=row.uri,
            size_bytes=infos[row.uri].size_bytes,
            version=infos[row.uri].version,
            start_ns=row.start_ns,
            end_ns=row.end_ns,
            metadata=row.metadata,
        )
        for row in rows
    )
    return SourceList(sources=sources, ignored_files=0)


def _identities(uris: Iterable[str]) -> dict[str, ObjectInfo]:
    """Returns each object's identity; queries it once, even for several spans."""
    asked = list(dict.fromkeys(uris))
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        return dict(zip(asked, pool.map(_identity, asked), strict=True))


def _identity(uri: str) -> ObjectInfo:
    """Returns an object's identity; a placeholder if missing or denied, which its ledger row reports."""
    try:
        return stat(uri)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ObjectInfo(uri=uri, size_bytes=0, version="missing")
    except PermissionError:
        return ObjectInfo(uri=uri, size_bytes=0, version="denied")
