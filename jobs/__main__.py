"""``python -m jobs``: the same as ``bitmill``."""

from jobs.cli import main

main()
