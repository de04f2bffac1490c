"""Tars as sources with many items: member index, assignment of sidecars to media, and source events."""
