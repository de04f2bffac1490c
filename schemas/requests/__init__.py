"""User requests: job files, training files, submissions."""
