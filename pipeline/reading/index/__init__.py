"""The index of a dataset: what shards hold, found without reading them."""
