"""One shard, from sources to a committed file, and the way back; knows no cluster."""
