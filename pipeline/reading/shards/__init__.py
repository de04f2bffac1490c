"""Reads shard bytes: files, byte ranges, Parquet pages, buffers."""
