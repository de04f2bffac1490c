"""Reads videos: containers, timestamps, frames in presentation order."""
