"""The config files that the families' authors publish, read to our configs."""
