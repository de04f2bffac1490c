"""Progress of a run: observers, counts, status file, text, terminal."""
