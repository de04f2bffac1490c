"""Takedown: removes sources and clips from committed shards, keeps them out of others, and records it."""
