"""Videos: containers, timestamps, frames in order."""
