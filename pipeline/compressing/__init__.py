"""Compresses pictures and token shards to streams, and restores them."""
