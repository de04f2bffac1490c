"""Which frames make which clips."""
