"""How far an export is, for whoever shows it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """A moment of an export: shards are listed, clips written, and for an index shards listed again."""

    listed_shards: int = 0
    shards: int = 0
    done_clips: int = 0
    """Of this run; those of files that were there already do not count."""
    clips: int = 0
    """What this run has to write in all; 0 while shards are listed."""
    done_bytes: int = 0
    """Of tokens as integers."""
