"""Lists sources from folders, patterns and manifests."""
