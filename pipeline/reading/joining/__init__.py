"""Columns of other Parquet files, joined to clips by clip id when reading."""
