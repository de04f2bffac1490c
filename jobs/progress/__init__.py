"""Progress of a run: observers, counts, status file, text and terminal output."""
