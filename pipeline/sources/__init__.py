"""Sources: listed from folders, patterns and manifests."""
