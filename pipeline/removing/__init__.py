"""Takedown: sources and clips taken out of committed shards, kept out of all others, and the record of it."""
