"""Pictures and token shards as compressed streams, and back."""
