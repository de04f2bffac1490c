"""Shards' bytes: files, ranges, Parquet pages, buffers."""
