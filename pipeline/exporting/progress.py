"""Progress of an export, for display."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """A progress snapshot: shards are listed, clips written, and for an index shards listed again."""

    listed_shards: int = 0
    shards: int = 0
    done_clips: int = 0
    """Clips written by this run; clips in files that existed before do not count."""
    clips: int = 0
    """Number of clips that this run has to write; 0 while shards are listed."""
    done_bytes: int = 0
    """Bytes of tokens as integers."""
