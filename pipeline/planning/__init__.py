"""Planning: cutting shards, splitting videos, appending parts, estimates."""
