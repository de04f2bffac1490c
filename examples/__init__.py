"""Programs that show bitmill at work."""
