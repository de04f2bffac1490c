"""The reading index of a dataset: row groups and clip shapes, known without reading shards."""
