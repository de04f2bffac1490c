"""Reading tokens for training: bitmill against other formats and readers; ``python -m benchmarks.reader``."""
