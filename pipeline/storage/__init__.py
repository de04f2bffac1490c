"""Objects on any store: listing, reading, atomic publishing. The only package that uses fsspec."""

from bitmill.pipeline.storage.atomic_folder import STAGING_FOLDER, Folder, StagedFile
from bitmill.pipeline.storage.clients import refuse_writing
from bitmill.pipeline.storage.source_objects import (
    Listing,
    ObjectInfo,
    StagedObject,
    list_objects,
    room_for,
    stage,
    stat,
    sweep_copies,
)
from bitmill.pipeline.storage.staging_space import Room
from bitmill.pipeline.storage.store_errors import full_disk_told, store_errors
from bitmill.pipeline.storage.temporary_folders import scratch_folder
from bitmill.pipeline.storage.uri import is_local, join, normalise

__all__ = [
    "STAGING_FOLDER",
    "Folder",
    "Listing",
    "ObjectInfo",
    "Room",
    "StagedFile",
    "StagedObject",
    "full_disk_told",
    "is_local",
    "join",
    "list_objects",
    "normalise",
    "refuse_writing",
    "room_for",
    "scratch_folder",
    "stage",
    "stat",
    "store_errors",
    "sweep_copies",
]
