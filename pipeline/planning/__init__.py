"""From sources to a plan: shards, split videos, appended parts, estimates."""
